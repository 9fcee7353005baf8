"""Makes records of flows for whoever inspects them: what is known of a request now, as far as it may be shown."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from mitmproxy import http

from addons.call import Call
from addons.capture import Capture
from addons.hiding import shown, shown_form, shown_path
from addons.meter import error_code_of, outcome_of, shortened, status_of
from addons.shown_bodies import ShownBody, Tapped, grows, shown_body
from addons.unsaid import completion_so_far
from shared import logs
from shared.flow_schema import FlowRecord, Message, Phase
from shared.inspection import Capture as Captured
from shared.inspection import Inspection
from shared.models import UsageEvent

# What tells who somebody is, besides the credentials that other rooms mask.
_PRIVATE = frozenset({"cookie", "set-cookie", "authorization", "proxy-authorization", "x-api-key", "api-key"})
_METADATA_ONLY = "only metadata is captured"
_WITHHELD = "withheld by a rule"
_LONGEST_VALUE, _MOST_HEADERS, _LONGEST_PATH = 4096, 200, 4096
_NOBODYS = Inspection()


@dataclass(slots=True, eq=False)
class Seen:
    """A flow that is told of: what has been told, and the taps on its bodies if they are captured."""

    flow: http.HTTPFlow
    call: Call
    inspection: Inspection = _NOBODYS
    has_bodies: bool = False
    asked: Capture | None = None
    answered: Capture | None = None
    revision: int = 0
    is_ended: bool = False
    is_broken: bool = False
    has_told_request: bool = False
    has_request: bool = False
    told_chunks: int = -1
    told_at: float = field(default=0.0)

    @property
    def phase(self) -> Phase:
        """How far it has come."""
        if self.is_ended:
            return Phase.ENDED
        if self.call.held_until is not None:
            return Phase.HELD
        return Phase.STREAMING if self.call.head_sent else Phase.WAITING


def captures_bodies(call: Call) -> bool:
    """Tell whether bodies of a request are captured: always, or by chance that its id decides."""
    inspection = call.caller.project.inspection if call.caller else _NOBODYS
    if inspection.capture is not Captured.SAMPLED:
        return inspection.capture is Captured.FULL
    # The end of an id is random, and the same for all workers.
    return int(call.request_id[-6:], 16) < inspection.share * 0x1000000


def record_of(seen: Seen, worker: str, cost: Callable[[UsageEvent], int | None]) -> FlowRecord:
    """Return what is told of a flow now."""
    call, flow, inspection = seen.call, seen.flow, seen.inspection
    caller, phase = call.caller, seen.phase
    project = caller.project if caller else None
    seen.revision += 1
    outcome = outcome_of(call, seen.is_broken) if seen.is_ended else None
    event = call.event
    usage = event.usage if event else call.answer.usage
    model = shortened(call.answer.model, 256) or call.model
    return FlowRecord(
        call.request_id,
        seen.revision,
        phase,
        worker,
        call.occurred_at.timestamp(),
        project.id if project else "",
        project.name if project else "",
        call.token_id,
        _word(call.token_label, inspection),
        project.provider if project else "",
        call.dialect,
        call.route.name if call.route else "",
        _word(model, inspection) if model else None,
        flow.request.method,
        _url(seen),
        flow.request.http_version,
        _address(flow),
        _request(seen),
        _response(seen),
        status_of(call, flow) if seen.is_ended or flow.response is not None else 0,
        call.is_stream,
        call.chunks,
        call.first_byte_ms,
        call.elapsed_ms() if event is None else event.duration_ms,
        outcome.value if outcome else "",
        error_code_of(call, outcome) if outcome else None,
        usage.prompt_tokens,
        usage.completion_tokens if event else (completion_so_far(call) or None),
        usage.is_estimate or event is None,
        cost(event) if event else None,
        call.attempts.count,
        call.credential.key_id if call.credential else None,
        [_word(tag, inspection) for tag in call.tags],
        _word(call.rule, inspection),
        call.held_until.timestamp() if call.held_until else None,
        seen.has_bodies,
    )


def _request(seen: Seen) -> Message:
    request, call = seen.flow.request, seen.call
    headers, size = _headers(request.headers, seen.inspection), call.request_bytes
    if seen.asked is not None:
        size = seen.asked.size
    elif request.raw_content is not None:
        size = len(request.raw_content)
    if (reason := _reason(seen)) or not seen.has_request:
        return Message(headers, size, note=reason or "not all of it has come")
    if seen.has_told_request and not seen.is_ended:
        return Message(headers, size, is_unchanged=True)
    seen.has_told_request = True
    return _message(headers, shown_body(_tapped(seen, request, seen.asked, is_over=True), seen.inspection), size)


def _response(seen: Seen) -> Message | None:
    response = seen.flow.response
    if response is None:
        return None
    headers, size = _headers(response.headers, seen.inspection), seen.call.response_bytes
    if not size and response.raw_content:
        size = len(response.raw_content)
    if reason := _reason(seen):
        return Message(headers, size, note=reason)
    kind = response.headers.get("content-type", "")
    if not seen.is_ended and not grows(kind, seen.call.dialect, seen.inspection):
        return Message(headers, size, note="shown when all of it has come")
    is_over = seen.is_ended and not seen.is_broken
    return _message(headers, shown_body(_tapped(seen, response, seen.answered, is_over), seen.inspection), size)


def _reason(seen: Seen) -> str:
    """Return why no body is shown, empty if it is."""
    if seen.call.is_hidden:
        return _WITHHELD
    return "" if seen.has_bodies else _METADATA_ONLY


def _tapped(seen: Seen, message: http.Message, capture: Capture | None, is_over: bool) -> Tapped:
    kind, coding = message.headers.get("content-type", ""), message.headers.get("content-encoding", "")
    if capture is not None:
        return Tapped(capture.start, capture.size, kind, coding, is_over)
    content = message.raw_content or b""
    # A little more than is shown: it is what is shown that is counted, without its coding.
    return Tapped(content[: seen.inspection.max_body_bytes + 1], len(content), kind, coding, is_over)


def _message(headers: list[tuple[str, str]], body: ShownBody, size: int) -> Message:
    return Message(headers, size, body.body, body.is_cut, body.note)


def _headers(headers: http.Headers, inspection: Inspection) -> list[tuple[str, str]]:
    return [_header(name, value, inspection) for name, value in headers.fields[:_MOST_HEADERS]]


@lru_cache(maxsize=4096)
def _header(name: bytes, value: bytes, inspection: Inspection) -> tuple[str, str]:
    # They come again and again: the same agents, types and hosts.
    field, text = name.decode("latin-1"), value[:_LONGEST_VALUE].decode("utf-8", "backslashreplace")
    if field.lower() in _PRIVATE:
        return field, text if "****" in text else "****"
    return shown(logs.redact(field), inspection), shown(logs.redact(text), inspection)


@lru_cache(maxsize=4096)
def _word(text: str, inspection: Inspection) -> str:
    return shown(logs.redact(text), inspection) if text else text


def _url(seen: Seen) -> str:
    call, request = seen.call, seen.flow.request
    base = call.attempts.base_url
    if not base and call.caller is not None:
        base = call.caller.project.base_url or (call.provider.base_url if call.provider else "")
    path, mark, query = (call.path or request.path)[:_LONGEST_PATH].partition("?")
    told = _path(path, seen.inspection)
    if mark and seen.has_bodies and not call.is_hidden:
        told += "?" + shown_form(logs.redact(query), seen.inspection)
    return (base or "http://nowhere.invalid") + told


@lru_cache(maxsize=4096)
def _path(path: str, inspection: Inspection) -> str:
    return shown_path(logs.redact(path), inspection)


def _address(flow: http.HTTPFlow) -> str:
    peer = flow.client_conn.peername
    return str(peer[0]) if peer else ""
