"""What a `Content-Type` says about a body, as far as it decides how the body is read (RFC 9110 section 8.3)."""

import re
from dataclasses import dataclass
from functools import lru_cache

from addons.refusal import Refused, invalid_request, unsupported_media_type
from shared.providers import BodyKind

_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # noqa: S105 - a grammar
_TYPE = re.compile(rf"\s*({_TOKEN}/{_TOKEN})\s*")
_PARAMETER = re.compile(rf'\s*;\s*(?:({_TOKEN})=(?:({_TOKEN})|"([^"\\]*)"))?\s*')
# RFC 2046 section 5.1.1
_BOUNDARY = re.compile(r"[A-Za-z0-9'()+_,./:=? -]{0,69}[A-Za-z0-9'()+_,./:=?-]")
# What says the same as UTF-8 for a text that has been checked to be UTF-8.
_UTF_8 = ("utf-8", "utf8", "us-ascii")


@dataclass(frozen=True, slots=True)
class MediaType:
    """`name` in lower case; `charset` and `boundary` empty if not given."""

    name: str
    charset: str = ""
    boundary: str = ""

    @property
    def is_utf_8(self) -> bool:
        """Whether its text is UTF-8, as far as it says."""
        return self.charset in ("", *_UTF_8)

    @property
    def is_json(self) -> bool:
        """Whether it is JSON in UTF-8, perhaps of a special kind (RFC 6839 section 3.1)."""
        is_json = self.name == "application/json" or (self.name.endswith("+json") and "/" in self.name)
        return is_json and self.is_utf_8

    @property
    def is_form(self) -> bool:
        """Whether it is a form in parts."""
        return self.name == "multipart/form-data"

    def delimiting(self) -> str:
        """Return the boundary of its parts. Raises Refused if there is none, or none that could be."""
        if not _BOUNDARY.fullmatch(self.boundary):
            raise Refused(invalid_request("Content-Type needs the boundary of its parts."))
        return self.boundary


@lru_cache(maxsize=64)
def parse(content_type: str) -> MediaType:
    """Return the media type of a header. Raises Refused for one that is malformed or says a thing twice."""
    start = _TYPE.match(content_type)
    if start is None:
        raise Refused(invalid_request("Content-Type is malformed."))
    said: dict[str, str] = {}
    place = start.end()
    while place < len(content_type):
        found = _PARAMETER.match(content_type, place)
        # `boundary*0=` would be a second boundary for who knows RFC 2231.
        if found is None or (found[1] or "").lower() in said or "*" in (found[1] or ""):
            raise Refused(invalid_request("Content-Type is malformed."))
        if found[1]:
            said[found[1].lower()] = found[2] or found[3] or ""
        place = found.end()
    return MediaType(start[1].lower(), said.get("charset", "").lower(), said.get("boundary", ""))


def check(content_type: str | None, kind: BodyKind) -> None:
    """Raise Refused for a header that does not fit what a route takes. Without one, the body has to tell."""
    if content_type is None or kind not in ("json", "multipart"):
        return
    media_type = parse(content_type)
    if kind == "json" and not media_type.is_json:
        raise Refused(unsupported_media_type("application/json in UTF-8"))
    if kind == "multipart" and not media_type.is_form:
        raise Refused(unsupported_media_type("multipart/form-data"))
    if kind == "multipart":
        media_type.delimiting()
