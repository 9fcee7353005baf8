"""Takes a stream of server-sent events apart, though it may break off anywhere."""

from typing import Any

from addons.dialects.conversation import cut_json
from addons.dialects.conversation.plain import fields
from addons.dialects.sse import EventReader

_STARTS = (b"data:", b"event:", b"id:", b"retry:", b":")


def is_stream(content_type: str, body: bytes) -> bool:
    """Tell whether a body is a stream of events: it is said to be one, or looks like one."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "text/event-stream" or body.lstrip()[:8].startswith(_STARTS)


def may_begin(body: bytes) -> bool:
    """Tell whether a body, however short, can be the beginning of a stream."""
    start = body.lstrip()
    return any(start.startswith(name[: len(start)]) for name in _STARTS)


def read(body: bytes) -> tuple[list[dict[str, Any]], bool]:
    """Return the objects of the events, and whether the last one breaks off. What is no object is passed over."""
    reader = EventReader()
    whole = [found for data in reader.feed(body) if (found := _object(data)[0])]
    for data in reader.feed(b"\n\n"):
        found, is_cut = _object(data)
        return (whole + [found] if found else whole), is_cut
    return whole, False


def _object(data: bytes) -> tuple[dict[str, Any], bool]:
    if not data.lstrip().startswith(b"{"):
        return {}, False  # [DONE], a ping.
    try:
        document, is_cut = cut_json.read(data)
    except ValueError:
        return {}, True
    return fields(document), is_cut
