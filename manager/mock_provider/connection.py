"""uvicorn's HTTP/1.1 connection, kept for the next request only as long as the behaviour of the last answer allows."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from manager.mock_provider.behaviour import WELL_BEHAVED, Behaviour

BEHAVIOUR = "mock_provider.behaviour"


class Connection(HttpToolsProtocol):
    """Takes the behaviour from the ASGI scope's ``state``; control requests leave none there, and do not count."""

    _behaviour: Behaviour = WELL_BEHAVED
    _answered = 0

    def on_response_complete(self) -> None:
        if BEHAVIOUR in self.scope["state"]:
            self._behaviour = self.scope["state"][BEHAVIOUR]
            self._answered += 1
        super().on_response_complete()
        if self.timeout_keep_alive_task is not None and self._behaviour.keep_alive_s is not None:
            self.timeout_keep_alive_task.cancel()
            self.timeout_keep_alive_task = self.loop.call_later(
                self._behaviour.keep_alive_s, self.timeout_keep_alive_handler
            )

    def data_received(self, data: bytes) -> None:
        if self._is_stale():
            self.transport.abort()
        else:
            super().data_received(data)

    def _is_stale(self) -> bool:
        most = self._behaviour.answers_per_connection
        return most is not None and self._answered >= most and self.cycle.response_complete
