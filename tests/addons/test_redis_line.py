"""Rules of the line to Redis: calls of one turn leave together, replies find their callers, a break heals by itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import redis.asyncio
import redis.exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from addons.redis_line import RedisLine
from shared.redis_servers import YOUNG_SECONDS

Server = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def line_to(url: str, seconds: float = 5.0) -> AsyncIterator[RedisLine]:
    client = redis.asyncio.Redis.from_url(
        url, socket_timeout=seconds, socket_connect_timeout=seconds, retry=Retry(NoBackoff(), 0), protocol=2
    )
    line = RedisLine(client.connection_pool, seconds)
    try:
        yield line
    finally:
        await line.close()
        await client.aclose()


@asynccontextmanager
async def playing(server: Server, folder: Path) -> AsyncIterator[str]:
    """A Redis made of bytes, which greets as redis-py wants it."""
    path = folder / "fake.sock"
    async with await asyncio.start_unix_server(server, path):
        yield f"unix://{path}"


async def test_every_caller_gets_its_own_reply(valkey_url: str) -> None:
    async with line_to(valkey_url) as line:
        replies = await asyncio.gather(*[line.call("ECHO", f"call-{number}") for number in range(200)])

    assert replies == [f"call-{number}".encode() for number in range(200)]


async def test_an_error_is_the_reply_of_one_call_only(valkey_url: str) -> None:
    async with line_to(valkey_url) as line:
        good, unknown, missing = await asyncio.gather(
            line.call("PING"), line.call("NONSENSE"), line.call("EVALSHA", "0" * 40, 0), return_exceptions=True
        )

    assert good == "PONG" or good == b"PONG"
    assert isinstance(unknown, redis.exceptions.ResponseError)
    assert isinstance(missing, redis.exceptions.NoScriptError)


async def test_a_caller_that_went_away_does_not_shift_the_replies(valkey_url: str) -> None:
    async with line_to(valkey_url) as line:
        await line.call("PING")
        gone = line.call("ECHO", "gone")
        await asyncio.sleep(0)
        gone.cancel()

        assert await line.call("ECHO", "here") == b"here"


async def _answer_greeting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Say OK to what redis-py sends when it connects; return the first call that is not of that kind."""
    while received := await reader.read(65536):
        if b"CLIENT" not in received:
            return received
        writer.write(b"+OK\r\n" * received.count(b"CLIENT\r\n"))
    return b""


async def test_calls_of_one_turn_leave_in_one_write(tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await _answer_greeting(reader, writer))
        writer.write(b":1\r\n:2\r\n:3\r\n")
        await reader.read()
        writer.close()

    async with playing(server, tmp_path) as url, line_to(url) as line:
        assert await asyncio.gather(*[line.call("INCR", "x") for _ in range(3)]) == [1, 2, 3]

    assert seen[0].count(b"INCR") == 3


@pytest.mark.parametrize("says", [b"", b"nonsense\r\n", b":1\r\n:2\r\n:3\r\n:4\r\n"], ids=["end", "nonsense", "more"])
async def test_a_connection_that_breaks_is_replaced(tmp_path: Path, says: bytes) -> None:
    connections = 0

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await _answer_greeting(reader, writer)
        writer.write(says if connections == 1 else b":7\r\n")
        if says or connections > 1:
            await reader.read()
        writer.close()

    async with playing(server, tmp_path) as url, line_to(url) as line:
        first = await asyncio.gather(line.call("INCR", "x"), return_exceptions=True)
        await asyncio.sleep(0.05)  # Long enough for the end to arrive; what follows does not depend on it.
        second = await asyncio.wait_for(line.call("INCR", "x"), 5)

    assert isinstance(first[0], Exception) or first == [1]
    assert second == 7 and connections == 2


async def _turned_away_at(folder: Path, code: str, age: float) -> int:
    """Return how many connections it takes to hear this answer on one that is so old, and then to call again."""
    connections = 0

    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        call = await _answer_greeting(reader, writer)
        while call:
            writer.write(f"-{code} 1165 127.0.0.1:7000\r\n".encode() if b"FIRST" in call else b":7\r\n")
            call = await reader.read(65536)
        writer.close()

    folder.mkdir()
    async with playing(server, folder) as url, line_to(url) as line:
        assert await line.call("PING") == 7
        await asyncio.sleep(age)
        with pytest.raises(redis.exceptions.ResponseError, match=code):
            await line.call("FIRST")
        assert await line.call("SECOND") == 7
    return connections


@pytest.mark.parametrize(("age", "connections"), [(0.0, 1), (YOUNG_SECONDS, 2)], ids=["young", "old"])
async def test_a_server_that_turns_us_away_costs_an_old_connection_but_not_a_young_one(
    tmp_path: Path, age: float, connections: int
) -> None:
    codes = ["READONLY", "MOVED", "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS", "LOADING"]

    taken = await asyncio.gather(*[_turned_away_at(tmp_path / code, code, age) for code in codes])

    assert dict(zip(codes, taken, strict=True)) == dict.fromkeys(codes, connections)


async def test_an_error_of_one_call_costs_no_connection(tmp_path: Path) -> None:
    assert await _turned_away_at(tmp_path / "ERR", "ERR", YOUNG_SECONDS) == 1


async def test_silence_is_a_time_out_for_all_who_wait(tmp_path: Path) -> None:
    async def server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _answer_greeting(reader, writer)
        await reader.read()
        writer.close()

    async with playing(server, tmp_path) as url, line_to(url, 0.2) as line:
        calls = [line.call("INCR", "x"), line.call("INCR", "y")]
        outcomes = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)

    assert [type(outcome) for outcome in outcomes] == [TimeoutError, TimeoutError]


async def test_nobody_there_is_an_error_each_time() -> None:
    async with line_to("unix:///nobody.sock") as line:
        for _ in range(2):
            with pytest.raises((redis.exceptions.RedisError, OSError)):
                await asyncio.wait_for(line.call("PING"), 5)
