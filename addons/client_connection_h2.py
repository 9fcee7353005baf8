"""The client's HTTP/2 connection, within TLS."""

import h2.errors
import h2.events
from mitmproxy import http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import ErrorCode, RequestProtocolError, ResponseHeaders
from mitmproxy.proxy.layers.http._http2 import Http2Server

from addons.answer_head import without_needless_framing
from addons.client_connection import StopReading

# RFC 9113 section 8.2.2: an answer with one of these is malformed.
_HTTP1_ONLY = ("connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade")


def as_http2(response: http.Response) -> http.Response:
    """Return an answer's head without what only HTTP/1 knows."""
    plain = without_needless_framing(response)
    for name in _HTTP1_ONLY:
        plain.headers.pop(name, None)
    return plain


class Http2ClientConnection(Http2Server):
    """mitmproxy's HTTP/2 server side, with our manners."""

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, ResponseHeaders):
            head = ResponseHeaders(event.stream_id, as_http2(event.response), event.end_stream)
            yield from super()._handle_event(head)
        elif isinstance(event, StopReading):
            yield from self._stop_reading(event)
        else:
            yield from super()._handle_event(event)

    def handle_h2_event(self, event: h2.events.Event) -> layer.CommandGenerator[bool]:
        """Pass on what h2 has understood. A reset that came with the end of its request is one, too."""
        if isinstance(event, h2.events.StreamReset) and event.stream_id not in self.streams:
            gone = RequestProtocolError(event.stream_id, "stream reset by client", ErrorCode.CANCEL)
            yield ReceiveHttp(gone)
        return (yield from super().handle_h2_event(event))

    def retire(self, is_idle: bool) -> layer.CommandGenerator[None]:
        """Say goodbye and close as soon as no stream is left (RFC 9113 section 6.8).

        Not before: Python's h2, and with it the OpenAI SDK, gives up its running streams when it hears GOAWAY.
        """
        if is_idle:
            self.h2_conn.close_connection()
            yield commands.SendData(self.conn, self.h2_conn.data_to_send())
            yield commands.CloseConnection(self.conn)

    def _stop_reading(self, event: StopReading) -> layer.CommandGenerator[None]:
        # RFC 9113 section 8.1: the answer is complete, so the client need not send the rest of its request.
        if not self.is_closed(event.stream_id):
            self.h2_conn.reset_stream(event.stream_id, h2.errors.ErrorCodes.NO_ERROR)
            yield commands.SendData(self.conn, self.h2_conn.data_to_send())
