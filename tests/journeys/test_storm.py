"""Limits hold exactly while many call at once, on several workers, and while everything around them is killed."""

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from uuid import UUID

import pytest
import sqlalchemy as sa

from manager import db
from manager.tables import Request
from shared import redis_schema
from shared.models import Outcome
from tests.journeys.conftest import Installation, Token, installed, kill, until

WORKERS = 4
CLIENTS = 500
BODY = b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"count me"}]}'


@pytest.fixture(scope="module")
def four_workers() -> Iterator[Installation]:
    # Hundreds begin at once on a machine that may have other things to do; that is no outage.
    with installed(workers=WORKERS, redis_timeout_ms=20_000) as running:
        yield running


async def one(port: int, secret: str) -> int:
    """Send one chat on a connection of its own; returns the status, 0 if the connection broke."""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: proxy\r\nauthorization: Bearer {secret}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(BODY)}\r\nconnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(60):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head.encode() + BODY)
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
    except OSError:
        return 0
    return int(answer[9:12]) if answer else 0


def storm(running: Installation, secret: str, count: int, clients: int = CLIENTS) -> Counter[int]:
    """Send so many chats, by so many clients at once, over all workers; returns how often each status came."""
    ports = [int(url.rpartition(":")[2]) for url in running.proxy_urls]

    async def client(numbers: Iterator[int], statuses: Counter[int]) -> None:
        for number in numbers:
            statuses[await one(ports[number % len(ports)], secret)] += 1

    async def everybody() -> Counter[int]:
        numbers, statuses = iter(range(count)), Counter[int]()
        await asyncio.gather(*(client(numbers, statuses) for _ in range(clients)))
        return statuses

    return asyncio.run(everybody())


@pytest.mark.parametrize("limit", [1, 100, 1000])
def test_a_limit_lets_exactly_as_many_through_ten_times(four_workers: Installation, limit: int) -> None:
    project = four_workers.project(f"storm-{limit}")
    sent = max(CLIENTS, limit * 3 // 2)
    for _ in range(10):
        token = four_workers.token(project, max_requests=limit)
        four_workers.forget_ledger()

        statuses = storm(four_workers, token.secret, sent)

        assert statuses == {200: limit, 429: sent - limit}
        assert four_workers.ledger()["requests"] == limit


def admitted_of(running: Installation, token: Token) -> int:
    """Return how many requests of a token Redis has counted."""
    for key in running.redis().scan_iter(f"{redis_schema.TOKEN_PREFIX}*"):
        found, counted = running.redis().hmget(key, "id", "requests")
        if found == token.id.encode():
            return int(counted)
    return 0


def outcomes_of(running: Installation, token: Token) -> Counter[str]:
    """Return how the requests of a token in SQL have ended."""
    engine = db.create_engine(running.settings.database_url)
    with engine.connect() as connection:
        found = connection.scalars(sa.select(Request.outcome).where(Request.token_id == UUID(token.id)))
        counted = Counter(found)
    engine.dispose()
    return counted


def is_running(pid: int) -> bool:
    """Tell whether one of our children has not ended."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


class Havoc:
    """Kills a worker each second, now and then the collector, and once Redis; whoever is down is left alone."""

    def __init__(self, running: Installation) -> None:
        self._running = running
        self._turns = 0
        self._next = time.monotonic() + 1.0
        self.kills = Counter[str]()

    def cause(self) -> None:
        """Kill who is next, if it is time."""
        if time.monotonic() < self._next:
            return
        names = [f"proxy-{self._turns % WORKERS}"] + (["jobs"] if self._turns % 3 == 1 else [])
        for name in names + (["valkey"] if self._turns == 4 else []):
            if is_running(pid := self._running.supervisor.pids()[name]):
                kill(pid)
                self.kills[name.partition("-")[0]] += 1
        self._turns += 1
        self._next += 1.0


def test_killed_workers_collectors_and_redis_neither_loosen_nor_lose_anything() -> None:
    with installed(workers=WORKERS) as running:
        limit = 2_000
        token = running.token(running.project("havoc"), max_requests=limit)
        running.forget_ledger()
        havoc, statuses = Havoc(running), Counter[int]()
        calm, give_up = time.monotonic() + 20, time.monotonic() + 120

        def send() -> None:
            while (statuses[429] == 0 or time.monotonic() < calm) and time.monotonic() < give_up:
                statuses.update(storm(running, token.secret, 200, 20))

        sending = threading.Thread(target=send)
        sending.start()
        while sending.is_alive():
            if time.monotonic() < calm:
                havoc.cause()
            running.supervisor.tend()
            sending.join(0.05)
        assert havoc.kills["valkey"] == 1 and havoc.kills["proxy"] >= 8 and havoc.kills["jobs"] >= 3

        def is_settled() -> bool:
            running.supervisor.tend()
            client = running.redis()
            return client.zcard(redis_schema.OPEN) == 0 and client.xlen(redis_schema.USAGE_STREAM) == 0

        until(is_settled, 90)
        admitted, outcomes, called = admitted_of(running, token), outcomes_of(running, token), running.ledger()
        assert admitted == limit and outcomes.total() == limit
        # Of those whose worker died, nobody knows whether they had got through.
        known = outcomes.total() - outcomes[Outcome.LOST]
        assert known <= called["requests"] <= limit
        # A worker may die between an answer and its settlement.
        assert statuses[200] <= outcomes[Outcome.FINISHED] + outcomes[Outcome.LOST]
