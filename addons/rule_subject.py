"""A request that is about to go out, as the filters of rules see it."""

from collections.abc import Sequence

from mitmproxy import http

from addons import media_types
from addons.asked import model_of_body, model_of_head
from addons.call import Call
from addons.filter_subject import Subject
from addons.refusal import Refused
from addons.request_body import is_compressed
from addons.request_policy import has_model_in_path
from addons.targets import base_urls
from shared import logs
from shared.flow_schema import FlowRecord, Message, Phase, remark


def subject_of(flow: http.HTTPFlow, call: Call) -> Subject:
    """Return a request as it will go out. Its body counts as one that cannot be read if it has not come yet."""
    request = flow.request
    base_url = (call.attempts.base_url or base_urls(call)[0]).rstrip("/")
    fields = [(_text(name), _text(value)) for name, value in request.headers.fields]
    peer = flow.client_conn.peername
    source = f"{peer[0]}:{peer[1]}" if peer else ""
    body = None if is_compressed(request) else request.raw_content

    def described(tags: Sequence[str]) -> str:
        return remark(_record(flow, call, base_url, tags))

    return Subject(request.method, base_url + request.path, fields, source, body, _is_clear(request, body), described)


def model_of(flow: http.HTTPFlow, call: Call) -> str | None:
    """Return the model that a request asks for, wherever it names it."""
    if call.route is None:
        return call.model
    if has_model_in_path(call.route):
        return model_of_head(call.route, flow.request.method, flow.request.path)
    return call.model or (model_of_body(flow.request) if flow.request.raw_content else None)


def _record(flow: http.HTTPFlow, call: Call, base_url: str, tags: Sequence[str]) -> FlowRecord:
    project = call.caller.project if call.caller else None
    model = model_of(flow, call)
    return FlowRecord(
        request_id=call.request_id,
        revision=0,
        phase=Phase.WAITING,
        worker="",
        started_at=call.occurred_at.timestamp(),
        project_id=call.project_id,
        project_name=logs.redact(project.name) if project else "",
        token_id=call.token_id,
        token_label=logs.redact(call.token_label),
        provider=call.provider.name if call.provider else "",
        dialect=call.dialect,
        route=call.route.name if call.route else "",
        model=logs.redact(model) if model else None,
        method=flow.request.method,
        url=base_url + flow.request.path,
        http_version=flow.request.http_version,
        client="",
        request=Message([]),
        tags=list(tags),
    )


def _is_clear(request: http.Request, body: bytes | None) -> bool:
    """Tell whether a body can only be read in one way: JSON in another charset than UTF-8 would hide what it says."""
    if not body:
        return body is not None
    content_type = request.headers.get("content-type")
    try:
        kind = None if content_type is None else media_types.parse(content_type)
    except Refused:
        return False
    if kind is not None and not kind.is_utf_8:
        return False
    return (kind is not None and not kind.is_json) or (b"\0" not in body and _is_utf_8(body))


def _is_utf_8(body: bytes) -> bool:
    try:
        return body.isascii() or bool(body.decode())
    except UnicodeDecodeError:
        return False


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
