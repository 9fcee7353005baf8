"""Delivers one reply: piece by piece, paced, held, cut, and stopped as soon as the client has gone."""

import time
from dataclasses import dataclass

from manager.mock_provider.behaviour import Behaviour
from manager.mock_provider.client import Client, Send
from manager.mock_provider.holds import Holds
from manager.mock_provider.ledger import Entry, Outcome
from manager.mock_provider.replies import Headers, Reply

_CLOSE = (b"connection", b"close")


@dataclass(slots=True)
class Delivery:
    """The way one reply takes; ``began`` is when the request came, in seconds of ``time.perf_counter``."""

    send: Send
    client: Client
    entry: Entry
    holds: Holds
    began: float

    async def deliver(self, reply: Reply, behaviour: Behaviour) -> Outcome:
        """Sends the reply, noting in the entry what was sent; returns how it ended."""
        if behaviour.latency_ms and not await self.client.stays(behaviour.latency_ms / 1000):
            return Outcome.DISCONNECTED
        await self._start(reply, (_CLOSE,) if behaviour.close_after_answer else ())
        if len(reply.pieces) == 1 and not reply.stream:
            await self._write(reply.pieces[0], last=not reply.cut)
            return Outcome.ABORTED if reply.cut else Outcome.FINISHED
        return await self._pieces(reply, behaviour)

    async def _start(self, reply: Reply, more: Headers) -> None:
        self.entry.status = reply.status
        self.entry.stream = reply.stream
        spent = (time.perf_counter() - self.began) * 1000
        own = ((b"x-request-id", self.entry.id.encode()), (b"openai-processing-ms", b"%d" % spent))
        headers = [*reply.headers, *own, *more]
        await self.send({"type": "http.response.start", "status": reply.status, "headers": headers})

    async def _write(self, piece: bytes, *, last: bool) -> None:
        await self.send({"type": "http.response.body", "body": piece, "more_body": not last})
        if not self.client.gone:
            self.entry.wrote(piece)

    async def _pieces(self, reply: Reply, behaviour: Behaviour) -> Outcome:
        pause, allowed = behaviour.chunk_interval_ms / 1000, behaviour.hold_after
        departure = self.client.departure()
        for left, piece in zip(range(len(reply.pieces) - 1, -1, -1), reply.pieces, strict=True):
            if allowed == 0:
                allowed = await self.holds.hold(departure)
            if not self.client.gone:
                await self._write(piece, last=not left and not reply.cut)
            if self.client.gone or (left and not await self.client.stays(pause)):
                return Outcome.DISCONNECTED
            allowed = allowed and allowed - 1
        return Outcome.ABORTED if reply.cut else Outcome.FINISHED
