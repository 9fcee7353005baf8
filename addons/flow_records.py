"""Tells of a request what may be shown of it: a record made of its flow and its call, whenever it is asked for.

Nothing here is done on a request's way. While that is under way, the room only notes (see inspector.py).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache

import msgspec
from mitmproxy import http

from addons.call import Call
from addons.findings import Finder, UnreadablePattern, Wanted, find_with, finders
from addons.hiding import shown, shown_form, shown_path
from addons.meter import error_code_of, outcome_of, shortened
from addons.secret_names import is_secret_name
from addons.shown_bodies import Tapped, grows, shown_body
from shared.flow_schema import FlowRecord, Message, Phase
from shared.inspection import MOST_BODY_BYTES, Capture, Inspection
from shared.models import Project, UsageEvent

_UNREADABLE = "(what is to be hidden cannot be read)"
_WITHHELD = "withheld by a rule"
_STRANGER = Project("", "", True, "", (), 0)
_MOST_KNOWN, _LONGEST_KNOWN = 2000, 200
_LONGEST_METHOD = 32
# Of requests that nobody was let in with: headers, and characters of a header or path.
_MOST_OF_STRANGER, _LONGEST_OF_STRANGER = 20, 120
_HOST_MARKS = frozenset(".-:[]")

type Fields = tuple[tuple[bytes, bytes], ...]


class Allowance:
    """How many bytes of bodies the room may keep; shared by all that are being tapped."""

    def __init__(self, left: int) -> None:
        self.left = left


class Tap:
    """Keeps the beginning of a body that passes by, and counts it."""

    def __init__(self, most: int, allowance: Allowance) -> None:
        self._most = most
        self._allowance = allowance
        self.start = bytearray()
        self.size = 0

    def add(self, chunk: bytes) -> None:
        """See one chunk."""
        self.size += len(chunk)
        room = min(self._most - len(self.start), self._allowance.left)
        if room > 0:
            taken = chunk[:room]
            self.start += taken
            self._allowance.left -= len(taken)

    def let_go(self) -> None:
        """Keep nothing any longer."""
        self._allowance.left += len(self.start)
        self.start, self._most = bytearray(), 0

    def __del__(self) -> None:
        self._allowance.left += len(self.start)


@dataclass(slots=True, eq=False, weakref_slot=True)
class Noted:
    """What the room knows of a request beside its flow and call. Bodies are tapped only if they may be shown.

    An `is_upload` streams while it comes. `is_due`: it stands among those of which a record is to be made. `ended_ms`
    is set when it has ended.
    The flow itself, with all that hangs on it, is not kept: it can go as soon as its request has ended.
    """

    request: http.Request
    client: tuple[str, int] | None
    call: Call
    inspection: Inspection
    response: http.Response | None = None
    status: int = 0
    has_bodies: bool = False
    is_upload: bool = False
    request_tap: Tap | None = None
    response_tap: Tap | None = None
    is_held: bool = False
    is_due: bool = False
    is_broken: bool = False
    ended_ms: float | None = None
    revision: int = 0
    told_at: float = 0.0
    told_chunks: int = -1
    has_told_request: bool = False

    def let_go(self) -> None:
        """Keep no bodies: it has ended and been told of. mitmproxy keeps its flow until the garbage collector comes."""
        for tap in (self.request_tap, self.response_tap):
            if tap is not None:
                tap.let_go()

    @property
    def phase(self) -> Phase:
        """How far the request has come."""
        if self.ended_ms is not None:
            return Phase.ENDED
        if self.is_held:
            return Phase.HELD
        return Phase.STREAMING if self.call.head_sent else Phase.WAITING


def takes_bodies(inspection: Inspection, request_id: str) -> bool:
    """Tell whether a request is among those whose bodies are captured; the same ones for everybody who asks."""
    if inspection.capture is Capture.SAMPLED:
        return int(request_id[-8:], 16) < inspection.share * 2**32
    return inspection.capture is Capture.FULL


def most_of(inspection: Inspection) -> int:
    """Return how many bytes of a body are kept."""
    return min(inspection.max_body_bytes, MOST_BODY_BYTES)


class Words:
    """What may be shown of names, paths and headers under one inspection; it remembers those that come often."""

    def __init__(self, inspection: Inspection) -> None:
        self._inspection = inspection
        self._finders: tuple[Finder, ...] | None = None
        try:
            self._finders = finders(inspection)
        except UnreadablePattern:
            pass
        self._headers: dict[tuple[bytes, bytes], tuple[str, str]] = {}
        self._known_word = lru_cache(maxsize=1024)(self._word)
        self._known_path = lru_cache(maxsize=1024)(self._path)

    def word(self, text: str) -> str:
        """Return what may be shown of a name."""
        return self._known_word(text) if len(text) < _LONGEST_KNOWN else self._word(text)

    def path(self, path: bytes, has_query: bool) -> str:
        """Return what may be shown of a path, with its query or without."""
        if not has_query:
            path = path.partition(b"?")[0]
        return self._known_path(path, has_query) if len(path) < _LONGEST_KNOWN else self._path(path, has_query)

    def _word(self, text: str) -> str:
        return _UNREADABLE if self._finders is None else shown(text, self._inspection)

    def _path(self, path: bytes, has_query: bool) -> str:
        if self._finders is None:
            return "/" + _UNREADABLE
        place, mark, query = path.decode("utf-8", "replace").partition("?")
        told = shown_path(place, self._inspection)
        return told + mark + shown_form(query, self._inspection) if has_query else told

    def head(self, fields: Fields) -> list[tuple[str, str]]:
        """Return headers. Most come again and again; the others are looked through as one text, which is quicker."""
        known = self._headers
        told = [known.get(field) for field in fields]
        if None in told:
            new = tuple([field for field, each in zip(fields, told, strict=True) if each is None])
            shown = dict(zip(new, self._head(new), strict=True))
            told = [each or shown[field] for field, each in zip(fields, told, strict=True)]
            if len(known) > _MOST_KNOWN:
                known.clear()
            known.update([pair for pair in shown.items() if len(pair[0][0]) + len(pair[0][1]) < _LONGEST_KNOWN])
        return told  # type: ignore[return-value]

    def _head(self, fields: Fields) -> list[tuple[str, str]]:
        text = b"\0".join([part for field in fields for part in field]).decode("utf-8", "replace")
        parts = text.split("\0")
        if len(parts) != 2 * len(fields) or any(map(is_secret_name, parts[::2])) or self._may_hide(text):
            return [self._header(name.decode("utf-8", "replace"), value) for name, value in fields]
        return list(zip(parts[::2], parts[1::2], strict=True))

    def _may_hide(self, text: str) -> bool:
        return self._finders is None or bool(self._inspection.patterns) or bool(find_with(self._finders, text))

    def _header(self, name: str, value: bytes) -> tuple[str, str]:
        text = value.decode("utf-8", "replace")
        if is_secret_name(name) and "****" not in text:  # Keys that callers are known by have been masked before.
            return self._word(name), "****"
        return self._word(name), self._word(text)


@lru_cache(maxsize=256)
def _wanted(inspection: Inspection, secrets: tuple[str, ...]) -> Inspection:
    """Return what is hidden of a request that has such secrets of its own."""
    if not secrets:
        return inspection
    chosen = {each.name: getattr(inspection, each.name) for each in fields(Inspection)}
    return Wanted(**chosen, secrets=secrets)


words_of = lru_cache(maxsize=256)(Words)


@dataclass(frozen=True, slots=True)
class Draft:
    """A record without its bodies, and what is known of these; `finish` puts them in."""

    noted: Noted
    record: FlowRecord
    request: Tapped | None = None
    response: Tapped | None = None


def draft_of(noted: Noted, worker: str, cost: Callable[[UsageEvent], int | None]) -> Draft:
    """Return the next record of a request, without bodies yet."""
    call = noted.call
    words, project, event = words_of(_wanted(noted.inspection, call.secrets)), call.project or _STRANGER, call.event
    has_ended = noted.ended_ms is not None
    has_bodies = noted.has_bodies and not call.is_hidden
    outcome = (event.outcome if event else outcome_of(call, noted.is_broken)) if has_ended else None
    usage = event.usage if event else call.answer.usage
    noted.revision += 1
    noted.told_chunks = call.chunks
    model = shortened(call.answer.model, 256) or call.model
    request, response = noted.request.data, noted.response
    record = FlowRecord(
        request_id=call.request_id,
        revision=noted.revision,
        phase=noted.phase,
        worker=worker,
        started_at=call.occurred_at.timestamp(),
        project_id=call.project_id,
        project_name=words.word(project.name),
        token_id=call.token_id,
        token_label=words.word(call.token_label),
        provider=call.provider.name if call.provider else project.provider,
        dialect=call.dialect,
        route=call.route.name if call.route else "",
        model=words.word(model) if model else None,
        method=words.word(request.method.decode("ascii", "replace"))[:_LONGEST_METHOD],
        url=_url(noted, words, has_bodies),
        http_version=request.http_version.decode("ascii", "replace")[:_LONGEST_METHOD],
        client=f"{noted.client[0]}:{noted.client[1]}" if noted.client else "",
        request=Message(
            _head(words, call, call.head),
            call.request_bytes or (noted.request_tap.size if noted.request_tap else 0),
            note=_WITHHELD if call.is_hidden else "",
        ),
        response=None
        if response is None
        else Message(
            _head(words, call, response.data.headers.fields),
            call.response_bytes or (len(response.raw_content or b"") if call.refused_with else 0),
            note=_WITHHELD if call.is_hidden else "",
        ),
        status=event.status if event else noted.status,
        is_stream=call.is_stream,
        chunks=call.chunks,
        first_byte_ms=call.first_byte_ms,
        duration_ms=noted.ended_ms,
        outcome=outcome.value if outcome else "",
        error_code=(event.error_code if event else error_code_of(call, outcome)) if outcome else None,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        is_estimate=usage.is_estimate,
        cost_nano_usd=cost(event) if event else None,
        attempts=call.attempts.count,
        upstream_key_id=call.credential.key_id if call.credential else None,
        tags=[words.word(tag) for tag in call.tags],
        rule=words.word(call.rule),
        held_until=call.held_until.timestamp() if call.held_until and noted.is_held else None,
        has_bodies=has_bodies,
    )
    if not has_bodies:
        return Draft(noted, record)
    return Draft(noted, record, _request_body(noted), _response_body(noted))


def _head(words: Words, call: Call, fields: Fields) -> list[tuple[str, str]]:
    """Return headers. Who was not let in has little room: otherwise anybody could fill the feed, and empty it so."""
    if call.caller is not None:
        return words.head(fields)
    told = words.head(fields)[:_MOST_OF_STRANGER]
    return [(name[:_LONGEST_OF_STRANGER], value[:_LONGEST_OF_STRANGER]) for name, value in told]


def _url(noted: Noted, words: Words, has_query: bool) -> str:
    request = noted.request.data
    path = words.path(request.path, has_query)
    if noted.call.caller is None:
        path = path[:_LONGEST_OF_STRANGER]
    return _origin(request.scheme, _host(noted), request.port) + path


def _host(noted: Noted) -> str:
    """Return where the request goes; while that is not known, where the client believes it goes."""
    if noted.call.attempts.base_url or noted.call.credential:
        return noted.request.data.host
    named = next((value for name, value in noted.call.head if name.lower() in (b"host", b":authority")), b"")
    host = named.decode("ascii", "replace")
    is_host = 0 < len(host) < _LONGEST_KNOWN and all(
        (mark.isascii() and mark.isalnum()) or mark in _HOST_MARKS for mark in host
    )
    return host if is_host else "unknown.invalid"


@lru_cache(maxsize=1024)
def _origin(scheme: bytes, host: str, port: int) -> str:
    name = scheme.decode("ascii", "replace") or "http"
    has_port = ":" in host.rpartition("]")[2]
    return f"{name}://{host}" if has_port or port == {"http": 80, "https": 443}.get(name) else f"{name}://{host}:{port}"


def _request_body(noted: Noted) -> Tapped | None:
    tap = noted.request_tap
    if tap is None:
        return None
    is_over = not noted.is_upload or noted.ended_ms is not None
    return Tapped(bytes(tap.start), tap.size, *_types(noted.call.head), is_over=is_over)


def _response_body(noted: Noted) -> Tapped | None:
    response, has_ended = noted.response, noted.ended_ms is not None
    if response is None:
        return None
    told = _types(response.data.headers.fields)
    if noted.response_tap is not None:
        may_be_shown = has_ended or grows(told[0], noted.call.dialect, noted.inspection)
        start, size = bytes(noted.response_tap.start), noted.response_tap.size
        return Tapped(start, size, *told, is_over=has_ended) if may_be_shown else None
    if has_ended and noted.call.refused_with is not None:
        content = response.raw_content or b""
        return Tapped(content[: most_of(noted.inspection)], len(content), *told)
    return None


def _types(fields: Fields) -> tuple[str, str]:
    """Return a body's type and its content coding."""
    named = {name.lower(): value.decode("utf-8", "replace") for name, value in fields}
    return named.get(b"content-type", ""), named.get(b"content-encoding", "")


def finish(draft: Draft) -> FlowRecord:
    """Return the record with what may be shown of its bodies; that of a request is told once, and at the end."""
    noted, record = draft.noted, draft.record
    wanted = _wanted(noted.inspection, noted.call.secrets)
    request, response = record.request, record.response
    if draft.request is not None:
        if noted.has_told_request and record.phase is not Phase.ENDED:
            request = msgspec.structs.replace(request, is_unchanged=True)
        else:
            request = _with_body(request, draft.request, wanted)
            noted.has_told_request = draft.request.is_over
    if draft.response is not None and response is not None:
        response = _with_body(response, draft.response, wanted)
    return msgspec.structs.replace(record, request=request, response=response)


def _with_body(message: Message, tapped: Tapped, inspection: Inspection) -> Message:
    told = shown_body(tapped, inspection)
    return msgspec.structs.replace(message, body=told.body, is_cut=told.is_cut, note=told.note)
