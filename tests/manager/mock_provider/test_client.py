"""The client's request is read up to a limit, and its leaving is noticed."""

import asyncio
from typing import Any

import pytest

from manager.mock_provider.client import MAX_BODY, Client, ClientGone
from manager.mock_provider.errors import ProviderError

GONE = {"type": "http.disconnect"}


def part(body: bytes, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def telling(*messages: dict[str, Any]) -> Client:
    queue = asyncio.Queue[dict[str, Any]]()
    for message in messages:
        queue.put_nowait(message)
    return Client(queue.get)


async def test_a_body_in_parts_is_read_whole() -> None:
    assert await telling(part(b"one ", True), part(b"two", False)).body() == b"one two"


async def test_a_body_of_any_size_comes_in_pieces() -> None:
    client = telling(*[part(bytes(MAX_BODY // 2), True) for _ in range(3)], part(b"end", False))

    assert [len(piece) async for piece in client.pieces()] == [MAX_BODY // 2] * 3 + [3]


async def test_a_client_that_leaves_before_the_end_is_gone() -> None:
    with pytest.raises(ClientGone):
        await telling(part(b"one", True), GONE).body()


@pytest.mark.parametrize(("declared", "sent"), [(MAX_BODY + 1, b""), (0, bytes(MAX_BODY // 2 + 1))])
async def test_a_body_over_the_limit_is_refused_as_soon_as_that_is_known(declared: int, sent: bytes) -> None:
    with pytest.raises(ProviderError) as refused:
        await telling(part(sent, True), part(sent, True)).body(declared)

    assert (refused.value.status, refused.value.headers) == (413, ((b"connection", b"close"),))


async def test_a_client_that_stays_stays() -> None:
    client = telling()

    assert await client.stays(0)
    assert await client.stays(0.001)
    assert not client.gone
    client.forget()


async def test_leaving_ends_even_a_long_wait_at_once() -> None:
    client = telling(part(b"", False), GONE)

    async with asyncio.timeout(5):
        assert not await client.stays(3600)

    assert client.gone


def test_a_client_nobody_looked_for_is_not_known_to_be_gone() -> None:
    client = Client(asyncio.Queue[dict[str, Any]]().get)

    assert not client.gone
    client.forget()
