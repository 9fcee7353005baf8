"""The way to the provider and back: who may go, wearing which key, and JSON for every error made on the way.

mitmproxy builds its own errors and writes requests in its HTTP layer, below the hooks; so this room subclasses that
layer and chooses it in `next_layer`. The provider key is on the request only while the head is written: hooks, views
and saved flows never meet it.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

from mitmproxy import http
from mitmproxy.proxy import events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import modes
from mitmproxy.proxy.layers.http import (
    DropStream,
    HttpLayer,
    HTTPMode,
    HttpStream,
    SendHttp,
)
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestHeaders,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._hooks import HttpResponseHeadersHook, HttpResponseHook

from addons.call import Call, Calls, UpstreamCredential
from addons.client_connection import ClientConnection, StopReading
from addons.refusal import REQUEST_TOO_LARGE, SERVICE_UNAVAILABLE, UPSTREAM_ERROR, Refusal, invalid_request, respond

_CLIENT_FAULTS = {ErrorCode.GENERIC_CLIENT_ERROR, ErrorCode.REQUEST_VALIDATION_FAILED, ErrorCode.DESTINATION_UNKNOWN}


@contextmanager
def worn(credential: UpstreamCredential, request: http.Request) -> Iterator[None]:
    """Put the provider key on a request, and off again."""
    request.headers[credential.header] = credential.value
    try:
        yield
    finally:
        del request.headers[credential.header]


class ProxyStream(HttpStream):
    """One request and its answer."""

    def __init__(self, context: Context, stream_id: int, calls: Calls) -> None:
        super().__init__(context, stream_id)
        self._calls = calls

    @property
    def _call(self) -> Call:
        return self._calls.of(self.flow)

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, RequestProtocolError):
            self._call.ended_by_client = True
        if isinstance(event, RequestData) and self._outgrows_its_limit(event):
            self.flow.response = respond(REQUEST_TOO_LARGE, self._call)
        else:
            yield from self._watch(super()._handle_event(event))
        if self.client_state == self.state_consume_request_body and self._more_is_coming(event) and self.flow.response:
            yield from self._refuse_early(self.flow.response)

    def make_server_connection(self) -> layer.CommandGenerator[bool]:
        """Connect for admitted requests only: whatever may have gone wrong before, nobody else gets through here."""
        if self._call.credential is None:
            error = ResponseProtocolError(self.stream_id, "not admitted", ErrorCode.CONNECT_FAILED)
            yield from self.handle_protocol_error(error)
            return False
        return (yield from super().make_server_connection())

    def _watch(self, steps: Generator[Any, Any, Any]) -> layer.CommandGenerator[None]:
        reply: Any = None
        while True:
            try:
                command = steps.send(reply)
            except StopIteration:
                return
            if isinstance(command, SendHttp):
                reply = None
                yield from self._send(command)
            else:
                reply = yield command

    def _send(self, command: SendHttp) -> layer.CommandGenerator[None]:
        if isinstance(command.event, RequestHeaders) and self._call.credential is not None:
            with worn(self._call.credential, self.flow.request):
                yield command
        elif isinstance(command.event, ResponseProtocolError) and self._may_explain(command.event):
            yield from self._answer(respond(self._refusal_for(command.event), self._call))
        else:
            self._call.head_sent |= isinstance(command.event, ResponseHeaders)
            yield command

    def _may_explain(self, error: ResponseProtocolError) -> bool:
        return error.code.http_status_code() is not None and not self._call.head_sent

    def _refusal_for(self, error: ResponseProtocolError) -> Refusal:
        if error.code in _CLIENT_FAULTS:
            return invalid_request("The request is not well-formed HTTP.")
        return UPSTREAM_ERROR if self._call.credential else SERVICE_UNAVAILABLE

    def _outgrows_its_limit(self, event: RequestData) -> bool:
        if self.client_state != self.state_consume_request_body or self._call.route is None:
            return False
        return len(self.request_body_buf) + len(event.data) > self._call.route.max_body_bytes

    @staticmethod
    def _more_is_coming(event: events.Event) -> bool:
        return isinstance(event, RequestData) or (isinstance(event, RequestHeaders) and not event.end_stream)

    def _refuse_early(self, response: http.Response) -> layer.CommandGenerator[None]:
        self.client_state = self.server_state = self.state_errored
        response.headers["connection"] = "close"
        yield HttpResponseHeadersHook(self.flow)
        yield HttpResponseHook(self.flow)
        yield from self._answer(response)
        self.flow.live = False
        yield DropStream(self.stream_id)

    def _answer(self, response: http.Response) -> layer.CommandGenerator[None]:
        client = self.context.client
        self._call.head_sent = True
        yield SendHttp(ResponseHeaders(self.stream_id, response, False), client)
        if self.flow.request.method != "HEAD":
            yield SendHttp(ResponseData(self.stream_id, response.raw_content or b""), client)
        yield SendHttp(ResponseEndOfMessage(self.stream_id), client)
        yield SendHttp(StopReading(self.stream_id), client)


class ProxyLayer(HttpLayer):
    """One client connection with its streams."""

    def __init__(self, context: Context, calls: Calls) -> None:
        super().__init__(context, HTTPMode.transparent)
        self._calls = calls

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Start):
            self.connections[self.context.client] = ClientConnection(self.context.fork())
        yield from super()._handle_event(event)

    def make_stream(self, stream_id: int) -> layer.CommandGenerator[None]:
        """Open a stream of our kind."""
        self.streams[stream_id] = ProxyStream(self.context.fork(), stream_id, self._calls)
        yield from self.event_to_child(self.streams[stream_id], events.Start())


class Upstream:
    """Chooses our HTTP layer for everything that arrives on the reverse port: other protocols are answered with 400."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    def next_layer(self, choice: layer.NextLayer) -> None:
        """Answer mitmproxy's question for the next layer of a reverse connection."""
        if isinstance(choice.context.layers[0], modes.ReverseProxy):
            choice.layer = ProxyLayer(choice.context, self.calls)
