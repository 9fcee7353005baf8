"""Shows uploads, sound, pictures and films by kind and size."""

import re
from collections.abc import Iterator

from mitmproxy import http
from mitmproxy.contentviews import Contentview, Metadata

from addons.dialects import forms
from addons.dialects.conversation import cut_json, events
from addons.dialects.conversation.plain import plain, pretty, size, word
from addons.dialects.forms import Part
from addons.views import about, writing
from addons.views.conversation_view import NOT_OURS, PRIORITY
from addons.views.placing import path_of, route_of

MOST_READ = 2 << 20
MOST_EVENTS = 100

_ROUTE = re.compile(r"(audio|images|files|uploads|videos|skills)(\.[a-z_.]{1,60})?|[a-z_.]{1,60}\.content")
_PATH = re.compile(r"/(?:.{1,200}/)?v\d[\w.]{0,20}/(audio|images|files|uploads|videos)(/.{0,200})?")
# JSON of these has pictures or sound in base64; that of the others is read better as JSON.
_HAS_BASE64 = ("audio", "images")


def _group(metadata: Metadata) -> str:
    route = route_of(metadata)
    found = _ROUTE.fullmatch(route) if route else _PATH.fullmatch(path_of(metadata)[:500])
    return (found[1] or "content") if found else ""


def _is_json(metadata: Metadata) -> bool:
    return (metadata.content_type or "").lower().endswith("json")


def _is_text(metadata: Metadata) -> bool:
    kind = (metadata.content_type or "").lower()
    return kind.startswith("text/") and kind != "text/event-stream"


class FilesView(Contentview):
    """Files, and forms that carry them."""

    name = "LLM files"

    def render_priority(self, data: bytes, metadata: Metadata) -> float:
        """Claim what is sent to and from the routes for files, unless it is text or JSON that others show better."""
        group = _group(metadata)
        if metadata.http_message is None or not group or _is_text(metadata):
            return NOT_OURS
        is_better_as_json = _is_json(metadata) and group not in _HAS_BASE64
        return NOT_OURS if is_better_as_json or metadata.http_message.content is None else PRIORITY

    def prettify(self, data: bytes, metadata: Metadata) -> str:
        """Return what the body consists of. Raises ValueError for what says to be a form or JSON and is not."""
        lines = about.lines(about.about(metadata.flow))
        return writing.joined([*lines, "", *(_told(data, metadata) if data else ())])


def _told(data: bytes, metadata: Metadata) -> Iterator[str]:
    kind = (metadata.content_type or "").lower()
    if kind.startswith("multipart/"):
        head = _content_type(metadata.http_message)
        yield from (line for part in forms.parts(data[:MOST_READ], head) for line in _part(part))
    elif kind.endswith("json"):
        document, is_cut = cut_json.read(data[:MOST_READ])
        yield from pretty(document).split("\n")
        yield "(it goes on, or breaks off here)" if is_cut else ""
    elif kind == "text/event-stream":
        for event in events.read(data[:MOST_READ])[0][:MOST_EVENTS]:
            yield from (*pretty(event).split("\n"), "")
    else:
        yield f"+ {word(kind) or 'bytes of an unknown kind'}, {size(len(data))}"


def _content_type(message: http.Message | None) -> str:
    # The boundary is in the parameters, which the metadata leaves out.
    return message.headers.get("content-type", "") if message is not None else ""


def _part(part: Part) -> Iterator[str]:
    name = word(part.name) or "unnamed"
    if part.value is not None:
        value = plain(part.value)
        yield from (
            [f"{name}:", *(f"    {line}" for line in value.split("\n"))] if "\n" in value else [f"{name}: {value}"]
        )
        return
    more = " or more" if part.is_cut else ""
    about_it = (word(part.filename), word(part.content_type), size(part.size) + more)
    yield f"+ {name}: " + ", ".join(each for each in about_it if each)
