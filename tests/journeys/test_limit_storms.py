"""Limits of every kind hold exactly while many call at once on several workers, and leave nothing reserved."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
import requests
import sqlalchemy as sa

from manager import db
from manager.tables import Request
from shared import redis_schema
from shared.limits_schema import field_of
from shared.models import Measure, Scope, Window
from tests.journeys.conftest import Installation, Token, installed, until
from tests.journeys.storm import chat, storm
from tests.shared.limit_scripts import shown

WORKERS = 4
CLIENTS = 150
SCOPES = pytest.mark.parametrize("scope", [Scope.TOKEN, Scope.PROJECT])
# In nano-USD for a token of the prompt, and of the completion.
RATES = (1_000_000, 2_000_000)


@pytest.fixture(scope="module")
def four_workers() -> Iterator[Installation]:
    # Hundreds begin at once on a machine that may have other things to do; that is no outage.
    with installed(workers=WORKERS, redis_timeout_ms=20_000) as running:
        yield running


def limited(running: Installation, scope: Scope, **limit: Any) -> list[Token]:
    """One token with this limit, or four of a project that has it."""
    if scope is Scope.TOKEN:
        return [running.token(running.project(f"storm-{uuid4()}"), limits=[limit])]
    project = running.project(f"storm-{uuid4()}", limits=[limit])
    return [running.token(project) for _ in range(4)]


def secrets_of(tokens: list[Token]) -> list[str]:
    return [token.secret for token in tokens]


def settled(running: Installation) -> bool:
    """Wait until nothing runs any more, and everything is in SQL."""
    client = running.redis()
    return until(lambda: not client.zcard(redis_schema.OPEN) and not client.xlen(redis_schema.USAGE_STREAM))


def counted(running: Installation, scope: Scope, token: Token, measure: Measure, window: Window) -> int:
    """What Redis has of the limit's counter: used and reserved."""
    project_id = token.project_id if scope is Scope.PROJECT else ""
    written = running.redis().hget(redis_schema.used_key(scope, token.id), field_of(measure, window, project_id))
    return int(shown(written).partition(":")[2]) if isinstance(written, bytes) else 0


def recorded(running: Installation, tokens: list[Token]) -> tuple[int, int]:
    """Sum of tokens and cost in SQL."""
    engine = db.create_engine(running.settings.database_url)
    of_tokens = Request.token_id.in_([UUID(token.id) for token in tokens])
    query = sa.select(sa.func.sum(Request.total_tokens), sa.func.sum(Request.cost_nano_usd)).where(of_tokens)
    with engine.connect() as connection:
        total, cost = connection.execute(query).one()
    engine.dispose()
    return int(total), int(cost or 0)


def behave(running: Installation, **behaviour: Any) -> None:
    requests.put(f"{running.mock_url}/__mock__/behaviour", json=behaviour, timeout=10).raise_for_status()


# Rates. One request comes back in a minute or an hour: none does while the storm lasts.


@SCOPES
@pytest.mark.parametrize("window", ["minute", "hour"])
def test_exactly_a_burst_passes_at_once(four_workers: Installation, scope: Scope, window: str) -> None:
    tokens = limited(four_workers, scope, measure="requests", window=window, amount=1, burst=40)
    four_workers.forget_ledger()

    statuses = storm(four_workers, secrets_of(tokens), 300, CLIENTS)

    assert statuses == {200: 40, 429: 260}
    assert four_workers.ledger()["requests"] == 40


# Concurrency


@SCOPES
@pytest.mark.parametrize("stream", [False, True])
def test_no_more_run_at_once_than_may_and_all_slots_are_free_again(
    four_workers: Installation, scope: Scope, stream: bool
) -> None:
    tokens = limited(four_workers, scope, measure="concurrent", amount=5)
    behave(four_workers, latency_ms=100, chunk_interval_ms=10)
    four_workers.forget_ledger()

    statuses = storm(four_workers, secrets_of(tokens), 600, CLIENTS, lambda _: chat(stream=stream))

    seen = four_workers.ledger()
    assert (seen["most_at_once"], seen["requests"]) == (5, statuses[200])
    assert set(statuses) == {200, 429} and statuses[200] > 5
    assert settled(four_workers)
    assert counted(four_workers, scope, tokens[0], Measure.CONCURRENT, Window.LIFE) == 0
    assert storm(four_workers, secrets_of(tokens), 5, 5) == {200: 5}


@SCOPES
def test_clients_that_leave_take_no_slots_with_them(four_workers: Installation, scope: Scope) -> None:
    tokens = limited(four_workers, scope, measure="concurrent", amount=5)
    behave(four_workers, latency_ms=2_000)

    statuses = storm(four_workers, secrets_of(tokens), 100, 20, patience=0.3)

    assert set(statuses) <= {0, 429} and statuses[0] >= 5
    assert settled(four_workers)
    assert counted(four_workers, scope, tokens[0], Measure.CONCURRENT, Window.LIFE) == 0
    behave(four_workers)
    assert storm(four_workers, secrets_of(tokens), 5, 5) == {200: 5}


# Budgets. Prompts are estimated at no less than they are and answers are bounded, so no budget is exceeded at all.

MOST_ANSWERED = 12
MOST_ASKED = 8


def question(number: int) -> bytes:
    """Prompts of 1 to 8 tokens; answers of 3 to 10, every other one a stream."""
    return chat(1 + number % MOST_ASKED, max_tokens=MOST_ANSWERED, stream=number % 2 == 1)


def spent(running: Installation, tokens: list[Token]) -> None:
    """Storm, and go on until nothing is left: what has been reserved for too much is free again."""
    behave(running, latency_ms=20)
    running.forget_ledger()
    statuses = storm(running, secrets_of(tokens), 300, CLIENTS, question)
    assert set(statuses) == {200, 429}
    while storm(running, secrets_of(tokens), 8, 1, lambda number: question(number + 8))[200]:
        pass
    assert settled(running)


@SCOPES
@pytest.mark.parametrize("window", [Window.DAY, Window.MONTH, Window.LIFE])
def test_a_token_budget_is_used_up_and_never_exceeded(four_workers: Installation, scope: Scope, window: Window) -> None:
    budget = 800
    tokens = limited(four_workers, scope, measure="tokens", window=window, amount=budget)

    spent(four_workers, tokens)

    used = sum(prompt + completion for prompt, completion in four_workers.answered().values())
    # The smallest question did not fit any longer.
    assert budget - MOST_ANSWERED - MOST_ASKED < used <= budget
    assert counted(four_workers, scope, tokens[0], Measure.TOKENS, window) == used
    assert recorded(four_workers, tokens)[0] == used


@SCOPES
def test_streams_that_outrun_a_token_budget_together_are_ended(four_workers: Installation, scope: Scope) -> None:
    streams, pause_ms, budget = 8, 2, 10_000
    tokens = limited(four_workers, scope, measure="tokens", window="day", amount=budget)
    behave(four_workers, chunks=4_000, chunk_interval_ms=pause_ms)
    four_workers.forget_ledger()

    statuses = storm(four_workers, secrets_of(tokens), streams, streams, lambda _: chat(stream=True))

    behave(four_workers)
    assert statuses == {200: streams}
    assert settled(four_workers)
    passed = sum(entry["events_sent"] for entry in four_workers.ledger()["recent"])
    charged = recorded(four_workers, tokens)[0]
    # What passes in the tenth of a second in which it is noticed, here as much as in half of one; and of each stream
    # four events that are no tokens.
    beyond = streams * (500 // pause_ms)
    assert four_workers.answered() == {} and passed <= budget + beyond + streams * 4
    assert budget - streams * 256 < charged <= budget + beyond
    assert counted(four_workers, scope, tokens[0], Measure.TOKENS, Window.DAY) == charged


@SCOPES
def test_a_money_budget_is_used_up_and_never_exceeded(four_workers: Installation, scope: Scope) -> None:
    # USD for a million tokens.
    price = {"provider": "openai", "model": "gpt-4o-mini", "prompt": "1000", "completion": "2000"}
    four_workers.manage("PUT", "/manage/prices", price)
    [probe] = limited(four_workers, Scope.TOKEN, measure="cost", window="day", amount="1000")
    until(lambda: is_charged(four_workers, probe))
    budget = 1_500_000_000
    tokens = limited(four_workers, scope, measure="cost", window="day", amount="1.50")

    spent(four_workers, tokens)

    used = sum(prompt * RATES[0] + completion * RATES[1] for prompt, completion in four_workers.answered().values())
    assert budget - MOST_ASKED * RATES[0] - MOST_ANSWERED * RATES[1] < used <= budget
    assert counted(four_workers, scope, tokens[0], Measure.COST, Window.DAY) == used
    assert recorded(four_workers, tokens)[1] == used


def is_charged(running: Installation, probe: Token) -> bool:
    """Whether every worker knows the price: four requests, one through each, cost what they should."""
    before = counted(running, Scope.TOKEN, probe, Measure.COST, Window.DAY)
    storm(running, [probe.secret], WORKERS, WORKERS)
    settled(running)
    after = counted(running, Scope.TOKEN, probe, Measure.COST, Window.DAY)
    return after - before == WORKERS * (2 * RATES[0] + 4 * RATES[1])
