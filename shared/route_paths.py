"""Base URLs, path templates, and the tree that finds which template a raw request path fits.

The provider must read a path exactly as the proxy did, or a route that is refused here could be reached under
another spelling. So nothing is normalised: a path of which two readings are thinkable fits no template.
"""

import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes, urlsplit

# A template as it is matched: literal segments, with None in place of each parameter.
type Shape = tuple[str | None, ...]
# A segment of a request path: its raw spelling, and its value after decoding once.
type Segment = tuple[str, str]

LONGEST_SEGMENT = 512
MOST_SEGMENTS = 16
_LONGEST_PATH = MOST_SEGMENTS * (LONGEST_SEGMENT + 1)

_DOTS = frozenset((".", ".."))
# RFC 3986 section 3.3 pchar without ";": servers that know path parameters take `..;` for `..`.
_PLAIN = re.compile(r"[A-Za-z0-9._~!$&'()*+,=:@-]+")
_ENCODED = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-Fa-f]{2})+")
# What would split or end a segment, or be decoded once more, for a server that decodes before it routes.
_SEPARATORS = frozenset("/\\%;?# ")
_LITERAL = re.compile(r"[A-Za-z0-9._~-]+")
_PARAMETER = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}")


def shape_of(template: str) -> Shape:
    """Parse a template such as `/v1/models/{model}`. Raises ValueError with the reason if it is not one."""
    if not template.startswith("/"):
        raise ValueError("must start with /")
    segments = template[1:].split("/")
    if len(segments) > MOST_SEGMENTS:
        raise ValueError(f"must have at most {MOST_SEGMENTS} segments")
    return tuple(_shape_of_segment(segment) for segment in segments)


def _shape_of_segment(segment: str) -> str | None:
    if _PARAMETER.fullmatch(segment):
        return None
    if not segment:
        raise ValueError("must not have an empty segment or a trailing slash")
    if segment in _DOTS or len(segment) > LONGEST_SEGMENT or not _LITERAL.fullmatch(segment):
        raise ValueError(f"segment {segment!r} must be letters, digits and ._~- or one {{parameter}}")
    return segment


def check_base_url(url: str) -> None:
    """Raise ValueError with the reason if a URL is more or less than scheme, host, port and path prefix."""
    if not re.fullmatch(r"https?://[!-~]+", url) or "\\" in url:
        raise ValueError("must be an http:// or https:// URL in printable ASCII")
    parts = urlsplit(url)
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise ValueError("must have no user, query or fragment")
    if not _is_host(parts.hostname or "") or parts.netloc.endswith(":") or parts.port == 0:
        raise ValueError("must name a host, with a valid port if any")
    if parts.path and None in shape_of(parts.path):
        raise ValueError("must have no parameter in its path prefix")


def _is_host(host: str) -> bool:
    # Container networks have underscores in their service names. IPv6 addresses were checked by urlsplit.
    return ":" in host or re.fullmatch(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?", host) is not None


def decode(segment: str) -> str | None:
    """Return a raw segment decoded once; None if it is empty, too long, malformed or dangerous."""
    if len(segment) > LONGEST_SEGMENT:
        return None
    if _PLAIN.fullmatch(segment):
        return None if segment in _DOTS else segment
    return _decode_percents(segment) if _ENCODED.fullmatch(segment) else None


def _decode_percents(segment: str) -> str | None:
    try:
        value = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        return None
    return value if _is_harmless(value) else None


def _is_harmless(value: str) -> bool:
    # A server that folds compatibility characters makes "/" of a fullwidth solidus: check that form too.
    folded = unicodedata.normalize("NFKC", value)
    return value.isprintable() and folded not in _DOTS and _SEPARATORS.isdisjoint(value + folded)


def split(path: str) -> list[Segment] | None:
    """Return the segments of a raw path without its query; None unless it starts with / and all are safe."""
    if not path.startswith("/") or len(path) > _LONGEST_PATH or path.count("/") > MOST_SEGMENTS:
        return None
    segments = []
    for raw in path[1:].split("/"):
        value = decode(raw)
        if value is None:
            return None
        segments.append((raw, value))
    return segments


class PathTree[T]:
    """Finds an entry by path in one step per segment. A literal always wins over a parameter in its place."""

    def __init__(self, entries: Iterable[tuple[Shape, T]] = ()) -> None:
        self._literals: dict[str, PathTree[T]] = {}
        self._parameter: PathTree[T] | None = None
        self._entry: T | None = None
        for shape, entry in entries:
            self._add(shape, entry)

    def _add(self, shape: Shape, entry: T) -> None:
        node = self
        for literal in shape:
            node = node._child(literal)
        node._entry = entry

    def _child(self, literal: str | None) -> "PathTree[T]":
        if literal is not None:
            return self._literals.setdefault(literal, PathTree())
        self._parameter = self._parameter or PathTree()
        return self._parameter

    def find(self, segments: list[Segment]) -> T | None:
        """Return the entry whose shape the segments fit, or None."""
        node = self
        for raw, value in segments:
            child = node._literals.get(raw)
            # An encoded spelling of a literal is no parameter: the provider would decode it to that literal.
            if child is None and value not in node._literals:
                child = node._parameter
            if child is None:
                return None
            node = child
        return node._entry
