"""The top level of a body, read only if it can be read in one way.

Parsers differ: over a name that comes twice the first or the last value may win, some take names in another case or
spelling for the same, and some see a part of a form where others see text. A policy that reads one value while the
provider reads another would be no policy. So whatever is ambiguous is refused here, by readers that know no leniency.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from addons import media_types
from addons.refusal import Refused, invalid_request

# A longer value is no model's name and no number.
LONGEST_VALUE = 1024
_KEY = re.compile(rb'[ \t\r\n]*("[^"\\]*(?:\\.[^"\\]*)*")[ \t\r\n]*:[ \t\r\n]*')
_NEXT = re.compile(rb"[ \t\r\n]*([,}])")
_DISPOSITION = re.compile(
    r"""form-data; *name=(?:"([^"\\%\r\n]*)"|([\w.\[\]-]+))((?:; *filename\*?=(?:"[^"\r\n]*"|[^\s";]+)){0,2}) *""",
    re.IGNORECASE | re.ASCII,
)
# RFC 7578 section 4.6: its value is the charset of all the others.
_CHARSET_FIELD = "_charset_"
_PLAIN = ("7bit", "8bit", "binary")
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])

AMBIGUOUS = invalid_request("The request can be read in more than one way.")


class Opaque:
    """Stands for a value that is too long to be looked at, or a file."""


OPAQUE = Opaque()


def json_object(body: bytes) -> dict[str, msgspec.Raw]:
    """Return the top level of a JSON object in UTF-8, its values unread. Raises Refused for anything else."""
    try:
        if not body.isascii():
            body.decode()  # The decoder skips what it does not need without looking whether it is text.
        return _FIELDS.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Refused(invalid_request("The request body must be a JSON object.")) from None


def value(raw: msgspec.Raw | None) -> Any:
    """Return a value of a JSON object; None if it is not there."""
    if raw is None:
        return None
    if len(raw) > LONGEST_VALUE:
        return OPAQUE
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, RecursionError):
        return OPAQUE


def json_fields(body: bytes, governed: Collection[str]) -> dict[str, Any]:
    """Return the governed fields of a JSON object by name. Raises Refused if another parser could find others."""
    fields = json_object(body)
    places_of(body, fields)
    check_spelling(fields, governed)
    return {name: value(fields[name]) for name in governed if name in fields}


def places_of(body: bytes, fields: Mapping[str, msgspec.Raw]) -> dict[str, slice]:
    """Return where in the body each of its fields has its value. Raises Refused if a name repeats.

    Of names that repeat only the last one is among the fields, so the walk over the body does not find just these.
    """
    place, walked = body.find(b"{") + 1, dict[str, slice]()
    while key := _KEY.match(body, place):
        name = msgspec.json.decode(key[1])
        written = bytes(fields[name])
        end = _NEXT.match(body, key.end() + len(written))
        if name in walked or not body.startswith(written, key.end()) or end is None:
            raise Refused(AMBIGUOUS)
        walked[name] = slice(key.end(), end.start())
        place = end.end()
        if end[1] == b"}":
            break
    if len(walked) != len(fields):
        raise Refused(AMBIGUOUS)
    return walked


def check_spelling(names: Collection[str], governed: Collection[str]) -> None:
    """Raise Refused if one of the names could be taken for a governed one that it is not."""
    spellings = {_folded(name) for name in governed}
    for name in names:
        if not name.isprintable() or (name not in governed and _folded(name) in spellings):
            raise Refused(AMBIGUOUS)


def _folded(name: str) -> str:
    # Go takes names in any case, protobuf takes maxTokens for max_tokens, and form parsers take model[] for model.
    return re.sub(r"[\s_-]|[\[.].*", "", name.casefold())


def form_fields(body: bytes, boundary: str, governed: Collection[str]) -> dict[str, Any]:
    """Return the governed fields of a form by name, as text. Raises Refused if another parser could find others."""
    fields: dict[str, Any] = {}
    names = []
    for name, content in _parts(body, b"--" + boundary.encode()):
        names.append(name)
        if name.casefold() == _CHARSET_FIELD:
            raise Refused(AMBIGUOUS)
        if name in governed:
            if name in fields:
                raise Refused(AMBIGUOUS)
            fields[name] = content
    check_spelling(names, governed)
    return fields


def _parts(body: bytes, delimiter: bytes) -> Iterator[tuple[str, Any]]:
    # RFC 2046 section 5.1.1, with nothing before, between and after the parts.
    if not body.startswith(delimiter):
        raise Refused(invalid_request("The request body is not a form with this boundary."))
    place, found = len(delimiter), 1
    while body.startswith(b"\r\n", place):
        start = place + 2
        end = body.find(b"\r\n" + delimiter, start)
        blank = body.find(b"\r\n\r\n", start, end)
        if end < 0 or blank < 0:
            raise Refused(AMBIGUOUS)
        yield _part(body[start:blank], body, blank + 4, end)
        place, found = end + 2 + len(delimiter), found + 1
    is_closed = body[place:] in (b"--", b"--\r\n")
    # A boundary in another place could be one for a parser that takes bare line feeds.
    if not is_closed or body.count(delimiter) != found:
        raise Refused(AMBIGUOUS)


def _part(head: bytes, body: bytes, start: int, end: int) -> tuple[str, Any]:
    headers: dict[str, str] = {}
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, colon, said = line.partition(":")
        name = name.lower()
        if not colon or name in headers or not name.replace("-", "").isalpha():
            raise Refused(AMBIGUOUS)
        headers[name] = said.strip(" \t")
    disposition = _DISPOSITION.fullmatch(headers.get("content-disposition", ""))
    if disposition is None or headers.get("content-transfer-encoding", "binary").lower() not in _PLAIN:
        raise Refused(AMBIGUOUS)
    name = disposition[1] or disposition[2] or ""
    if disposition[3]:
        return name, OPAQUE
    if "content-type" in headers and not media_types.parse(headers["content-type"]).is_utf_8:
        raise Refused(AMBIGUOUS)
    if end - start > LONGEST_VALUE:
        return name, OPAQUE
    return name, body[start:end].decode("utf-8", "replace")
