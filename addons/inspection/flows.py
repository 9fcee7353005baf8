"""What a worker tells of a request, as the flow that mitmweb shows. Nothing of it is trusted to be sensible."""

from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from mitmproxy import connection, http
from mitmproxy.flow import Error
from mitmproxy.net.http import status_codes

from shared.flow_schema import FlowRecord, Message, Phase, remark
from shared.models import Outcome

METADATA = "llm_proxy"
# A body is decoded when we get it. mitmproxy would decode it once more, to any size, if its head still said so.
_ENCODING, _WAS_ENCODING = "content-encoding", "content-encoding-was"
# Nor is a body as long as it was, where something in it is hidden.
_LENGTH, _WAS_LENGTH = "content-length", "content-length-was"
_MISSED = "not shown: it went by before this inspector looked"
# How a request has ended of whose end nobody has told, though its worker is there.
UNTOLD = "untold"
_BROKEN = {
    Outcome.CLIENT_ABORTED: "The client has gone.",
    Outcome.UPSTREAM_ABORTED: "The provider broke off.",
    Outcome.CUT: "Cut by an operator.",
    Outcome.LOST: "Its worker died.",
    UNTOLD: "It has ended; how, has not been told.",
}
_FACTS = (
    *("request_id", "provider", "dialect", "route", "model", "status", "outcome", "prompt_tokens", "completion_tokens"),
    *("cost_nano_usd", "first_byte_ms", "duration_ms", "chunks", "attempts", "held_until", "rule"),
)
HELD_MARK, BROKEN_MARK, REFUSED_MARK, TAGGED_MARK = ":hand:", ":x:", ":no_entry:", ":label:"


@dataclass(frozen=True, slots=True)
class Body:
    """What may be shown of a body; None: nothing, for the reason in `note`. `size` is what has passed, in bytes."""

    content: bytes | None = None
    size: int = 0
    is_cut: bool = False
    note: str = ""

    @property
    def explanation(self) -> str:
        """Why not all of it is there; empty if all of it is."""
        if self.content is None:
            return self.note or "not shown"
        return f"cut: {len(self.content)} of {self.size} bytes" if self.is_cut else ""


def body_of(message: Message, before: Body | None) -> Body:
    """Return the body of a message; one that has not changed is the one from before."""
    if not message.is_unchanged:
        return Body(message.body, message.size, message.is_cut, message.note)
    return replace(before, size=message.size) if before else Body(None, message.size, note=_MISSED)


def flow_of(record: FlowRecord) -> http.HTTPFlow:
    """Return a new flow about a request, of which nothing is shown yet."""
    host, port = _target(record.url)[1:3]
    client = connection.Client(peername=(record.client, 0), sockname=("", 0), timestamp_start=record.started_at)
    flow = http.HTTPFlow(client, connection.Server(address=(host, port)))
    flow.id, flow.timestamp_created = record.request_id, record.started_at
    return flow


def show(flow: http.HTTPFlow, record: FlowRecord, request: Body, response: Body | None, link: str) -> None:
    """Bring a flow up to date. `link` is the admin UI's page of the request."""
    flow.request = _request(record, request)
    flow.response = _response(record, response) if response is not None or record.status else None
    flow.error = _error(record)
    flow.live = record.phase is not Phase.ENDED
    flow.intercepted = record.phase is Phase.HELD
    flow.comment, flow.marked = remark(record), mark(record)
    flow.metadata[METADATA] = facts(record, request, response, link)


def mark(record: FlowRecord) -> str:
    """Return the marker of what deserves to be looked at, empty for all else."""
    if record.phase is Phase.HELD:
        return HELD_MARK
    if _error(record) is not None:
        return BROKEN_MARK
    if record.error_code or record.outcome == Outcome.REFUSED:
        return REFUSED_MARK
    return TAGGED_MARK if record.tags else ""


def facts(record: FlowRecord, request: Body, response: Body | None, link: str) -> dict[str, str | int | float]:
    """Return what content views read of a flow: a flat dict, without what is not known."""
    found = {name: getattr(record, name) for name in _FACTS}
    found |= {"project": record.project_name or record.project_id, "token": record.token_label or record.token_id}
    found |= {"code": record.error_code, "is_estimate": int(record.is_estimate), "request_url": link}
    found |= {"tags": ", ".join(record.tags), "phase": str(record.phase)}
    found |= {"request_note": request.explanation, "response_note": response.explanation if response else ""}
    return {name: value for name, value in found.items() if value is not None and value != ""}


def _request(record: FlowRecord, body: Body) -> http.Request:
    scheme, host, port, path = _target(record.url)
    return http.Request(
        host,
        port,
        _bytes(record.method),
        _bytes(scheme),
        b"",
        _bytes(path),
        _bytes(record.http_version),
        _headers(record.request, body),
        body.content,
        None,
        record.started_at,
        record.started_at,
    )


def _response(record: FlowRecord, body: Body | None) -> http.Response:
    ended = None if record.duration_ms is None else record.started_at + record.duration_ms / 1000
    return http.Response(
        _bytes(record.http_version),
        record.status,
        _bytes(status_codes.RESPONSES.get(record.status, "")),
        _headers(record.response, body or Body()) if record.response else http.Headers(),
        body.content if body else None,
        None,
        record.started_at + (record.first_byte_ms or record.duration_ms or 0) / 1000,
        ended,
    )


def _error(record: FlowRecord) -> Error | None:
    told = _BROKEN.get(record.outcome)
    if record.phase is not Phase.ENDED or (told is None and record.status):
        return None
    code = f" ({record.error_code})" if record.error_code else ""
    return Error((told or "It ended without an answer.") + code, record.started_at + (record.duration_ms or 0) / 1000)


def _headers(message: Message, body: Body) -> http.Headers:
    fields = [(_WAS_ENCODING if name.lower() == _ENCODING else name, value) for name, value in message.headers]
    length = None if body.content is None else str(len(body.content))
    if any(name.lower() == _LENGTH and value != length for name, value in fields):
        fields = [(_WAS_LENGTH if name.lower() == _LENGTH else name, value) for name, value in fields]
        fields += [] if length is None else [(_LENGTH, length)]
    return http.Headers([(_bytes(name), _bytes(value)) for name, value in fields])


def _target(url: str) -> tuple[str, str, int, str]:
    """Return scheme, host, port and path of a URL, whatever it is."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return "http", "", 80, url
    path = url.partition("://")[2].removeprefix(parts.netloc) if parts.netloc else url
    return parts.scheme or "http", host, port, path or "/"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
