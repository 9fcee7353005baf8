"""Messages are read ahead, and a client that leaves is noticed behind them."""

import asyncio
from typing import Any

import pytest

from manager.mock_provider.mailbox import ClientLeft, Mailbox

SAID = {"type": "websocket.receive", "text": "{}"}
GONE = {"type": "websocket.disconnect", "code": 1005}


def holding(*messages: dict[str, Any]) -> Mailbox:
    queue = asyncio.Queue[Any]()
    for message in messages:
        queue.put_nowait(message)
    return Mailbox(queue.get)


async def test_messages_come_in_order() -> None:
    mailbox = holding(SAID, GONE)

    assert [await mailbox.take(), await mailbox.take()] == [SAID, GONE]


async def test_leaving_ends_even_a_long_pause_whatever_was_said_before() -> None:
    mailbox = holding(SAID, SAID, GONE)

    async with asyncio.timeout(5):
        with pytest.raises(ClientLeft):
            await mailbox.pause(3600)


@pytest.mark.parametrize("seconds", [0, 0.001])
async def test_a_client_that_stays_is_waited_for_no_longer_than_wished(seconds: float) -> None:
    mailbox = holding(SAID)

    await mailbox.pause(seconds)

    mailbox.close()
