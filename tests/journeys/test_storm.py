"""Limits hold exactly while many call at once, on several workers, and while everything around them is killed."""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from manager import db
from manager.tables import Request
from shared import redis_schema
from shared.models import Outcome
from tests.journeys.conftest import Installation, Token, installed, kill, until
from tests.journeys.storm import CLIENTS, chat, storm

WORKERS = 4


@pytest.fixture(scope="module")
def four_workers() -> Iterator[Installation]:
    # Hundreds begin at once on a machine that may have other things to do; that is no outage.
    with installed(workers=WORKERS, redis_timeout_ms=20_000) as running:
        yield running


@pytest.mark.parametrize("limit", [1, 100, 1000])
def test_a_limit_lets_exactly_as_many_through_ten_times(four_workers: Installation, limit: int) -> None:
    project = four_workers.project(f"storm-{limit}")
    sent = max(CLIENTS, limit * 3 // 2)
    for _ in range(10):
        token = four_workers.token(project, max_requests=limit)
        four_workers.forget_ledger()

        statuses = storm(four_workers, [token.secret], sent)

        assert statuses == {200: limit, 429: sent - limit}
        assert four_workers.ledger()["requests"] == limit


def admitted_of(running: Installation, token: Token) -> int:
    """Return how many requests of a token Redis has counted."""
    for key in running.redis().scan_iter(f"{redis_schema.TOKEN_PREFIX}*"):
        found, counted = running.redis().hmget(key, "id", "requests")
        if found == token.id.encode():
            return int(counted)
    return 0


def question(number: int) -> bytes:
    """Prompts and answers of many lengths; every other one is a stream."""
    return chat(1 + number % 17, stream=number % 2 == 1)


def recorded(running: Installation, token: Token) -> list["sa.Row[Any]"]:
    """Return outcome, the provider's id, tokens of prompt and completion of each request of a token in SQL."""
    engine = db.create_engine(running.settings.database_url)
    columns = Request.outcome, Request.provider_request_id, Request.prompt_tokens, Request.completion_tokens
    with engine.connect() as connection:
        rows = list(connection.execute(sa.select(*columns).where(Request.token_id == UUID(token.id))))
    engine.dispose()
    return rows


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
                statuses.update(storm(running, [token.secret], 200, 20, question))

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
        admitted, rows, called = admitted_of(running, token), recorded(running, token), running.ledger()
        outcomes = Counter(row.outcome for row in rows)
        assert admitted == limit and outcomes.total() == limit
        # Of those whose worker died, nobody knows whether they had got through.
        known = outcomes.total() - outcomes[Outcome.LOST]
        assert known <= called["requests"] <= limit
        # A worker may die between an answer and its settlement.
        assert statuses[200] <= outcomes[Outcome.FINISHED] + outcomes[Outcome.LOST]
        # What has finished used what the provider says, each answer once.
        answered = running.answered()
        finished = [row for row in rows if row.outcome == Outcome.FINISHED]
        told = {row.provider_request_id: (row.prompt_tokens, row.completion_tokens) for row in finished}
        assert len(told) == len(finished) and told.items() <= answered.items()
        # Whole answers that are not in SQL are those of workers that died with them.
        assert len(answered) - len(told) <= outcomes[Outcome.LOST]
