"""Has schemathesis hold the service against its own description: every check, every phase, links followed."""

import itertools
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import requests_mock
import schemathesis
from flask import Flask
from hypothesis import strategies as st
from schemathesis.core.failures import Failure
from schemathesis.engine import Status, events, from_schema
from werkzeug.serving import WSGIRequestHandler, make_server

# No schema can say that an end lies in the future, so the moments that are made up do; and no cursor can be made up.
SOON, LATE = (datetime(year, 1, 1) for year in (2030, 2090))  # noqa: DTZ001 - as strategies take them
MOMENTS = st.datetimes(SOON, LATE, timezones=st.just(UTC)).map(datetime.isoformat)
# Refused for what it was made for, whatever else is right or wrong.
STALE = "412"
RIGHT = ["2xx", "3xx", "401", "403", "404", "409", STALE, "429", "503"]
WRONG = ["400", "401", "403", "404", "405", "409", STALE, "413", "415", "422", "429", "503"]
THOROUGH = 100
_keys = itertools.count()


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """Take a fresh Idempotency-Key: the same one with another body would be refused."""
    if case.headers and "Idempotency-Key" in case.headers and case.meta and case.meta.generation.mode.is_positive:
        case.headers["Idempotency-Key"] = f"key-{next(_keys)}"


@schemathesis.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    """Keep to what is told in words only: one limit for each pair, ends to come, no project unknown."""
    if isinstance(body, dict):
        if isinstance(body.get("limits"), list):
            body["limits"] = list({_pair(limit): limit for limit in body["limits"]}.values())
        if isinstance(body.get("project_ids"), list) and body["project_ids"]:
            body["project_ids"] = None
        if _is_over(body.get("expires_at")):
            body["expires_at"] = LATE.replace(tzinfo=UTC).isoformat()
        moments = [body.get("valid_from"), body.get("valid_until")]
        if all(isinstance(moment, str) for moment in moments):
            body["valid_from"], body["valid_until"] = sorted(moments)
    return body


def _is_over(moment: Any) -> bool:
    """Tell whether this is the moment of an earlier answer, as schemathesis likes to send it again."""
    try:
        return isinstance(moment, str) and datetime.fromisoformat(moment) < SOON.replace(tzinfo=UTC)
    except (TypeError, ValueError):
        return False


def _pair(limit: Any) -> str:
    return repr((limit.get("measure"), limit.get("window", "life")) if isinstance(limit, dict) else limit)


@dataclass
class Report:
    """What was found, each with a request that shows it; and how often each operation was answered with which class."""

    findings: list[str] = field(default_factory=list)
    answers: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))


def hold_to_its_word(app: Flask, token: str | None, examples: int) -> Report:
    """Send made-up requests to the app; providers refuse every key, and are not really asked."""
    schemathesis.openapi.format("date-time", MOMENTS)
    schemathesis.openapi.format("cursor", st.just(""))
    with _served(app) as url, requests_mock.Mocker(real_http=True) as providers:
        providers.get(re.compile("^https://"), status_code=401)
        schema = schemathesis.openapi.from_url(f"{url}/manage/openapi.json", config=_configuration(token, examples))
        return _reported(from_schema(schema).execute())


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def _served(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _configuration(token: str | None, examples: int) -> schemathesis.Config:
    return schemathesis.Config.from_dict(
        {
            "headers": {"Authorization": f"Bearer {token}"} if token else {},
            "workers": 1,
            "generation": {"max-examples": examples, "deterministic": True, "no-shrink": True},
            # Each corner of each schema by itself: hundreds of requests for each operation, whatever is asked for.
            "phases": {"coverage": {"enabled": examples >= THOROUGH}},
            "checks": {
                "positive_data_acceptance": {"expected-statuses": RIGHT},
                "negative_data_rejection": {"expected-statuses": WRONG},
            },
        }
    )


def _reported(found: Iterator[events.EngineEvent]) -> Report:
    report, known = Report(), set[Any]()
    for event in found:
        if isinstance(event, events.ScenarioFinished):
            report.findings += _failures(event, known)
            for case_id, interaction in event.recorder.interactions.items():
                if interaction.response is not None:
                    operation = event.recorder.cases[case_id].value.operation.label
                    report.answers[operation][interaction.response.status_code // 100] += 1
        elif isinstance(event, events.NonFatalError):
            report.findings.append(f"{event.label}: {event.value!r}")
        elif isinstance(event, events.FatalError):
            raise event.exception
    return report


def _failures(event: events.ScenarioFinished, known: set[Any]) -> Iterator[str]:
    for case_id, checks in event.recorder.checks.items():
        for check in checks:
            if check.status is not Status.FAILURE or check.failure_info is None:
                continue
            failure: Failure = check.failure_info.failure
            if (event.recorder.label, failure) in known:
                continue
            known.add((event.recorder.label, failure))
            response = event.recorder.find_response(case_id=case_id)
            answer = "" if response is None else f"{response.status_code} {response.text[:300]}"
            request = check.failure_info.code_sample[:4000]
            title = f"{event.phase.value} {event.recorder.label}: {failure.title}: {failure.message[:400]}"
            yield "\n  ".join((title, request, answer))
