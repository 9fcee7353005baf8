"""Forms in parts, for showing: what each part is called, of which kind it is and how large; read though cut off.

What decides about a request reads forms by itself, and strictly: see addons/body_fields.py.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

MOST_PARTS = 100
# Longer values of fields are told by their size.
LONGEST_VALUE = 2000
_MOST_HEAD = 4096
_NAME = re.compile(r'[;\s]name="?([^";\r\n]{0,200})', re.IGNORECASE)
_FILENAME = re.compile(r'[;\s]filename="?([^";\r\n]{0,200})', re.IGNORECASE)
_TYPE = re.compile(r"^content-type:[ \t]*([^\r\n;]{0,200})", re.IGNORECASE | re.MULTILINE)
_BOUNDARY = re.compile(r'[;\s]boundary="?([^";\r\n]{1,70})', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """A part. `size` in bytes, as far as it has come if it `is_cut`; `value` is that of a short field."""

    name: str
    filename: str
    content_type: str
    size: int
    value: str | None
    is_cut: bool


def parts(body: bytes, content_type: str) -> list[Part]:
    """Return the parts of a form, so many at most. Raises ValueError if it is none."""
    boundary = _BOUNDARY.search(content_type)
    delimiter = b"--" + (boundary[1].strip().encode() if boundary else b"")
    if boundary is None or not body.startswith(delimiter):
        raise ValueError("not a form with its boundary")
    return list(_parts(body, delimiter))


def _parts(body: bytes, delimiter: bytes) -> Iterator[Part]:
    start = len(delimiter)
    for _ in range(MOST_PARTS):
        if start >= len(body) or body.startswith(b"--", start):
            return
        end = body.find(b"\r\n" + delimiter, start)
        is_cut, until = end < 0, end if end >= 0 else len(body)
        blank = body.find(b"\r\n\r\n", start, min(until + 4, start + _MOST_HEAD))
        if blank < 0:
            return
        yield _part(body[start:blank].decode("utf-8", "replace"), body, min(blank + 4, until), until, is_cut)
        start = until + 2 + len(delimiter)


def _part(head: str, body: bytes, start: int, end: int, is_cut: bool) -> Part:
    name, filename, kind = (found[1].strip() if (found := e.search(head)) else "" for e in (_NAME, _FILENAME, _TYPE))
    is_short = not filename and end - start <= LONGEST_VALUE
    value = body[start:end].decode("utf-8", "replace") if is_short else None
    return Part(name, filename, kind, end - start, value, is_cut)
