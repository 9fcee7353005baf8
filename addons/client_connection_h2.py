"""The client's HTTP/2 connection, where TLS is configured, and the answer to those who come without TLS there."""

import h2.errors
from hyperframe.frame import GoAwayFrame
from mitmproxy import http
from mitmproxy.net.http import http1
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http._events import ResponseHeaders
from mitmproxy.proxy.layers.http._http2 import Http2Server

from addons.call import Call
from addons.client_connection import StopReading
from addons.refusal import invalid_request, respond

# RFC 9113 section 8.2.2: an answer with one of these is malformed.
_HTTP1_ONLY = ("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade")

# What a client has already sent is served.
_ANY_STREAM = (1 << 31) - 1


def as_http2(response: http.Response) -> http.Response:
    """Return an answer's head without what only HTTP/1 knows."""
    plain = response.copy()
    for name in _HTTP1_ONLY:
        plain.headers.pop(name, None)
    return plain


class Http2ClientConnection(Http2Server):
    """mitmproxy's HTTP/2 server side, with our manners."""

    _is_retiring = False

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, ResponseHeaders):
            head = ResponseHeaders(event.stream_id, as_http2(event.response), event.end_stream)
            yield from super()._handle_event(head)
        elif isinstance(event, StopReading):
            yield from self._stop_reading(event)
        else:
            yield from super()._handle_event(event)

    def retire(self, is_idle: bool) -> layer.CommandGenerator[None]:
        """Tell the client to open no more streams here (RFC 9113 section 6.8); close if there are none."""
        if not self._is_retiring:
            self._is_retiring = True
            # h2 would end the connection for itself, too, and with it the streams that are still running.
            frame = GoAwayFrame(0, last_stream_id=_ANY_STREAM, error_code=h2.errors.ErrorCodes.NO_ERROR)
            yield commands.SendData(self.conn, frame.serialize())
        if is_idle:
            yield commands.CloseConnection(self.conn)

    def _stop_reading(self, event: StopReading) -> layer.CommandGenerator[None]:
        # RFC 9113 section 8.1: the answer is complete, so the client need not send the rest of its request.
        if not self.is_closed(event.stream_id):
            self.h2_conn.reset_stream(event.stream_id, h2.errors.ErrorCodes.NO_ERROR)
            yield commands.SendData(self.conn, self.h2_conn.data_to_send())


class TlsRequired(layer.Layer):
    """Answers whatever comes without TLS once, and closes."""

    _has_answered = False

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.DataReceived) and not self._has_answered:
            self._has_answered = True
            response = respond(invalid_request("This port takes HTTPS only."), Call())
            response.headers["connection"] = "close"
            response.timestamp_end = response.timestamp_start
            yield commands.SendData(event.connection, http1.assemble_response(response))
            yield commands.CloseConnection(event.connection)
