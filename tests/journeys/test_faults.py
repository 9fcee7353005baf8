"""What must hold when parts fail: Redis flushed, collector killed, a worker killed, keys of another ring."""

import threading

import sqlalchemy as sa

from manager import db
from manager.tables import HourlyUsage, Request
from shared import redis_schema
from tests.journeys.conftest import Installation, Token, kill, until

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "count me"}]}


def request_count(installation: Installation, token: Token) -> int:
    return int(installation.manage("GET", f"/manage/tokens/{token.id}")["request_count"])


def kill_and_restart(installation: Installation, name: str) -> None:
    """Kill a program with -9 and wait until the supervisor has started it anew."""
    old = installation.supervisor.pids()[name]
    kill(old)

    def is_replaced() -> bool:
        installation.supervisor.tend()
        return installation.supervisor.pids()[name] != old

    until(is_replaced)


def test_a_flushed_redis_closes_the_door_until_it_is_republished_and_counts_continue(
    fresh_installation: Installation,
) -> None:
    token = fresh_installation.token(fresh_installation.project("flushed"), max_requests=6)
    for _ in range(4):
        assert fresh_installation.send(token.secret).status_code == 200
    until(lambda: request_count(fresh_installation, token) == 4)
    heard = fresh_installation.ledger()["requests"]

    jobs = fresh_installation.supervisor.pids()["jobs"]
    kill(jobs)
    fresh_installation.redis().flushall()
    refused = [fresh_installation.send(token.secret, worker=worker) for worker in (0, 1)]
    until(lambda: not fresh_installation.is_published())
    until(lambda: fresh_installation.supervisor.tend() or fresh_installation.is_published())

    assert [(answer.status_code, answer.json()["error"]["code"]) for answer in refused] == [
        (503, "service_unavailable")
    ] * 2
    assert fresh_installation.ledger()["requests"] == heard
    statuses = [fresh_installation.send(token.secret).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    until(lambda: request_count(fresh_installation, token) == 6)


def test_a_killed_collector_loses_and_doubles_nothing(fresh_installation: Installation) -> None:
    token = fresh_installation.token(fresh_installation.project("collected"))
    sent = 300

    def send(worker: int) -> None:
        for _ in range(sent // 2):
            answer = fresh_installation.send(token.secret, "POST", "/v1/chat/completions", worker, json=CHAT)
            assert answer.status_code == 200

    senders = [threading.Thread(target=send, args=(worker,)) for worker in (0, 1)]
    for sender in senders:
        sender.start()
    kills = 0
    while any(sender.is_alive() for sender in senders) or kills < 3:
        kills += 1
        kill_and_restart(fresh_installation, "jobs")

    until(lambda: fresh_installation.redis().xlen(redis_schema.USAGE_STREAM) == 0, 60)
    engine = db.create_engine(fresh_installation.settings.database_url)
    with engine.connect() as connection:
        rows = connection.scalar(sa.select(sa.func.count()).select_from(Request))
        rolled_up = connection.execute(
            sa.select(sa.func.sum(HourlyUsage.requests), sa.func.sum(HourlyUsage.total_tokens))
        ).one()
        total = connection.scalar(sa.select(sa.func.sum(Request.total_tokens)))
    engine.dispose()
    assert kills >= 3
    assert (rows, tuple(rolled_up)) == (sent, (sent, total))
    assert request_count(fresh_installation, token) == sent


def test_a_killed_worker_neither_loosens_nor_loses_the_limit(fresh_installation: Installation) -> None:
    token = fresh_installation.token(fresh_installation.project("killed"), max_requests=3)
    assert fresh_installation.send(token.secret, worker=0).status_code == 200

    kill(fresh_installation.supervisor.pids()["proxy-0"])
    statuses = [fresh_installation.send(token.secret, worker=1).status_code for _ in range(3)]

    assert statuses == [200, 200, 429]


def test_redis_away_is_a_quick_503_and_heals_by_itself(fresh_installation: Installation) -> None:
    token = fresh_installation.token(fresh_installation.project("away"))
    assert fresh_installation.send(token.secret).status_code == 200

    kill(fresh_installation.supervisor.pids()["valkey"])
    answer = fresh_installation.send(token.secret)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["code"] == "service_unavailable"
    until(lambda: fresh_installation.supervisor.tend() or fresh_installation.send(token.secret).status_code == 200, 30)
