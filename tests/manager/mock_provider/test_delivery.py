"""Delivery: what the client did not wait for is not counted as sent."""

import asyncio
from typing import Any

from manager.mock_provider.answers.files import Content
from manager.mock_provider.behaviour import WELL_BEHAVED, Behaviour
from manager.mock_provider.client import Client
from manager.mock_provider.delivery import Delivery
from manager.mock_provider.holds import Holds
from manager.mock_provider.keys import presented
from manager.mock_provider.ledger import Ledger, Outcome
from manager.mock_provider.replies import download_reply, stream_reply

EVENTS = [b"data: one\n\n", b"data: two\n\n", b"data: [DONE]\n\n"]
STREAM = stream_reply(EVENTS, squeeze=False, cut=False)


class Leaving:
    """A client that leaves while the piece numbered ``during`` (from 1) is being written."""

    def __init__(self, during: int) -> None:
        self._during = during
        self._left = asyncio.Event()
        self.got: list[bytes] = []

    async def receive(self) -> dict[str, Any]:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            self.got.append(message["body"])
            if len(self.got) == self._during:
                self._left.set()
                await asyncio.sleep(0.001)


async def deliver(leaving: Leaving, behaviour: Behaviour = WELL_BEHAVED) -> tuple[Outcome, Any]:
    entry = Ledger().open("POST", "/v1/chat/completions", presented([]))
    client = Client(leaving.receive)
    try:
        outcome = await Delivery(leaving.send, client, entry, Holds(), 0).deliver(STREAM, behaviour)
    finally:
        client.forget()
    return outcome, entry.shown()


async def test_a_client_that_stays_gets_everything() -> None:
    client = Leaving(during=99)

    outcome, shown = await deliver(client)

    assert (outcome, client.got, shown["events_sent"]) == (Outcome.FINISHED, EVENTS, 3)


async def test_an_event_under_way_when_the_client_leaves_is_not_counted() -> None:
    client = Leaving(during=2)

    outcome, shown = await deliver(client)

    assert (outcome, client.got, shown["events_sent"]) == (Outcome.DISCONNECTED, EVENTS[:2], 1)


async def test_leaving_during_the_last_event_is_leaving_too() -> None:
    outcome, shown = await deliver(Leaving(during=3))

    assert (outcome, shown["events_sent"]) == (Outcome.DISCONNECTED, 2)


async def test_a_download_is_held_like_a_stream() -> None:
    client, holds = Leaving(during=99), Holds()
    entry = Ledger().open("GET", "/v1/files/f/content", presented([]))
    delivery = Delivery(client.send, Client(client.receive), entry, holds, 0)
    task = asyncio.ensure_future(delivery.deliver(download_reply(Content(100_000), cut=False), Behaviour(hold_after=1)))
    async with asyncio.timeout(5):
        while not holds.release():
            await asyncio.sleep(0)

        assert await task is Outcome.FINISHED

    delivery.client.forget()
    assert ([len(piece) for piece in client.got], entry.shown()["events_sent"]) == ([65_536, 34_464], 0)


async def test_a_hold_past_the_end_holds_nothing() -> None:
    outcome, shown = await deliver(Leaving(during=99), Behaviour(hold_after=3))

    assert (outcome, shown["events_sent"]) == (Outcome.FINISHED, 3)
