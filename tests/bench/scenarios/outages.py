"""Redis that stalls for a second, and Redis that is killed and started again, under load."""

import os
import signal
import time
from collections.abc import Callable
from functools import partial

from tests.bench import answers, exchanges
from tests.bench.burst import Burst
from tests.bench.endpoint import Endpoint
from tests.bench.exchanges import Answer, Plan
from tests.bench.scenario import Scenario
from tests.bench.services import Services
from tests.bench.stage import Stage

_BODY = answers.request_body(answers.json_model(answers.SMALL))
_CALLERS = 16
_AFTER_SECONDS = 1.0
_STALL_SECONDS = 1.0
_TEND_SECONDS = 0.05
_PATIENCE_SECONDS = 30
# Requests may be refused while Redis is away; nothing else may happen to them.
_EXPECTED = {200, 503}

type MakePlan = Callable[[Services, float], Plan]


def stall(services: Services, seconds: float) -> Plan:
    """Stop Redis and let it go on."""
    pid = services.supervisor.pids()["valkey"]
    go_on = _AFTER_SECONDS + _STALL_SECONDS
    return (
        (_AFTER_SECONDS, lambda: os.kill(pid, signal.SIGSTOP)),
        (go_on, lambda: os.kill(pid, signal.SIGCONT)),
    )


def kill(services: Services, seconds: float) -> Plan:
    """Kill Redis; its supervisor starts it again."""
    pid = services.supervisor.pids()["valkey"]
    looks = (at * _TEND_SECONDS for at in range(round(seconds / _TEND_SECONDS)))
    return ((_AFTER_SECONDS, lambda: os.kill(pid, signal.SIGKILL)), *((at, services.supervisor.tend) for at in looks))


def _outage(plan: MakePlan, stage: Stage, subject: str, seconds: float) -> Burst:
    endpoint = stage.endpoint(subject)
    found = exchanges.run(endpoint, _BODY, _CALLERS, seconds, meanwhile=plan(stage.services, seconds))
    is_back = any(answer.status == 200 for answer in found[-_CALLERS:])
    _wait_until_served(stage.services, endpoint)
    return judged(found, is_back)


def _wait_until_served(services: Services, endpoint: Endpoint) -> None:
    """What follows must not suffer from what was done here."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        services.supervisor.tend()
        answers_now = exchanges.run(endpoint, _BODY, 1, _TEND_SECONDS)
        if exchanges.statuses(answers_now).keys() == {200}:
            return


def judged(found: list[Answer], is_back: bool) -> Burst:
    """Return rps, the slowest answer, ms from the first to the last answer that was refused, and how many were."""
    by_status = exchanges.statuses(found)
    bad = sorted(answer.at - answer.ms / 1000 for answer in found if answer.status != 200)
    last = max((answer.at for answer in found if answer.status != 200), default=0.0)
    figures = {
        "rps": by_status[200] / (max(answer.at for answer in found) - min(answer.at for answer in found)),
        "slowest_ms": max(answer.ms for answer in found),
        "away_ms": (last - bad[0]) * 1000 if bad else 0.0,
        "refused": float(by_status[503]),
    }
    errors = sum(count for status, count in by_status.items() if status not in _EXPECTED)
    complaint = f"unexpected answers: {dict(by_status)}" if errors else ""
    notes = {"answers by status": ", ".join(f"{status}: {count}" for status, count in sorted(by_status.items()))}
    return Burst(figures, errors, complaint or ("" if is_back else "it was not served again in time"), notes)


_once_in_a_while = partial(Scenario, group="Redis away", subjects=("engine",), seconds=8.0, rounds=2, warms_up=False)
OUTAGES = tuple(
    _once_in_a_while(name, make=partial(_outage, plan), quick_seconds=4.0, quick_rounds=1)
    for name, plan in {"redis-stalled": stall, "redis-killed": kill}.items()
)
