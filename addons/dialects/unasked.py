"""Takes the usage out of one event's JSON, as OpenAI's API would have sent it unasked."""

import re
from collections.abc import Mapping

import msgspec

_NULL = b',"usage":null}'
# A member before the end of the outermost object, but for OpenAI's padding.
_LAST = re.compile(rb'"usage"[ \t]*:[ \t]*null(?=[ \t]*(?:,[ \t]*"obfuscation"[ \t]*:[ \t]*"[^"\\]*"[ \t]*)?}\Z)')
_MEMBER = re.compile(rb'[ \t]*("[^"\\]*(?:\\.[^"\\]*)*")[ \t]*:[ \t]*')
_NEXT = re.compile(rb"[ \t]*([,}])[ \t]*")
_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


def without_usage(document: bytes) -> bytes | None:
    """Return an event's JSON without its usage of null, None if nothing is left to say, or the same document.

    >>> without_usage(b'{"choices":[{"index":0}],"usage":null}')
    b'{"choices":[{"index":0}]}'
    >>> without_usage(b'{"choices":[],"usage":{"total_tokens":3}}') is None
    True
    """
    place = document.rfind(b'"usage"')
    if place < 0:
        return document
    if document.endswith(_NULL):
        return document[: -len(_NULL)] + b"}"
    before = document[:place].rstrip(b" \t")
    if before.endswith(b",") and (last := _LAST.match(document, place)):
        return before[:-1] + document[last.end() :]
    return _without_other(document)


def _without_other(document: bytes) -> bytes | None:
    try:
        fields = _decoder.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return document
    usage, choices = bytes(fields.get("usage", b"")), bytes(fields.get("choices", b""))
    if usage == b"null":
        return _cut_out(document, fields)
    is_added = usage.startswith(b"{") and choices.translate(None, b" \t") == b"[]"
    return None if is_added else document


def _cut_out(document: bytes, fields: Mapping[str, msgspec.Raw]) -> bytes:
    """Cut the usage, and the comma that parts it from its neighbour, out of a JSON object."""
    place, comma = document.find(b"{") + 1, -1
    while member := _MEMBER.match(document, place):
        length = len(bytes(fields[msgspec.json.decode(member[1])]))
        end = _NEXT.match(document, member.end() + length)
        if end is None:
            break  # A name that comes twice.
        if member[1] == b'"usage"':
            after = end.end() if end[1] == b"," else end.start()
            return document[:place] + document[after:] if comma < 0 else document[:comma] + document[end.start() :]
        comma, place = end.start(), end.end()
    return document
