"""Has schemathesis hold the service against its own description: every check, every phase, links followed."""

import itertools
import re
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
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
from schemathesis.generation.meta import TestPhase
from schemathesis.openapi.checks import RejectedPositiveData, UseAfterFree
from werkzeug.serving import WSGIRequestHandler, make_server

# No schema can say that an end lies in the future, so the moments that are made up do; and no cursor can be made up.
SOON, LATE = (datetime(year, 1, 1) for year in (2030, 2090))  # noqa: DTZ001 - as strategies take them
MOMENTS = st.datetimes(SOON, LATE, timezones=st.just(UTC)).map(datetime.isoformat)
# What filters and patterns say, no schema can tell either.
FILTERS = st.from_regex(r"~(bq|u|d|m|comment) [a-z]{1,8}", fullmatch=True)
PATTERNS = st.from_regex(r"[a-z]{1,8}(\[0-9\]\+)?", fullmatch=True)
# Refused for what it was made for, whatever else is right or wrong.
STALE = "412"
RIGHT = ["2xx", "3xx", "401", "403", "404", "409", STALE, "429", "503"]
WRONG = ["400", "401", "403", "404", "405", "409", STALE, "413", "415", "422", "429", "503"]
THOROUGH = 100
_REVOKED = re.compile(r"DELETE /manage/(projects|tokens|operators)/[^/]+$")
_keys = itertools.count()
# What the hooks, which schemathesis wants to be global, know of the run.
_things: list[Mapping[str, str] | None] = []


def _one_after_the_other() -> Iterator[Mapping[str, str] | None]:
    while True:
        yield from list(_things)


_turns = _one_after_the_other()


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """Keep to what is told in words only, in requests that are meant to be right."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    # The same key with another body would be refused.
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f"key-{next(_keys)}"
    if isinstance(case.body, dict):
        case.body = _as_told(case.body)
        if case.operation.path == "/manage/operators" and isinstance(case.body.get("name"), str):
            # No pattern can say which names look like another one.
            plain = "".join(filter(str.isalnum, ascii(case.body["name"])))
            case.body["name"] = f"x{plain}"[:200]
    if case.meta.phase.name != TestPhase.STATEFUL and _things:
        _aim(case)


@schemathesis.hook
def filter_failure(
    context: schemathesis.HookContext, failure: Failure, case: schemathesis.Case, response: schemathesis.Response
) -> bool:
    """Let pass what is meant: what was revoked, or deleted and not yet purged, stays to be read, and says so.

    And no schema can name all the rules that there are.
    """
    is_order = case.operation.path == "/manage/rules/order" and isinstance(failure, RejectedPositiveData)
    return not is_order and not (isinstance(failure, UseAfterFree) and _REVOKED.match(failure.free))


def _aim(case: schemathesis.Case) -> None:
    """Aim every other request at a thing that is there; in a story, links see to that."""
    thing = next(_turns)
    if thing is None:
        return
    for name in set(case.path_parameters or ()) & set(thing):
        case.path_parameters[name] = thing[name]
    if isinstance(case.body, dict) and "project_id" in case.body:
        case.body["project_id"] = thing["project_id"]


def _as_told(body: dict[str, Any]) -> dict[str, Any]:
    """One limit for each pair, ends that are to come and after beginnings, no project that nobody knows."""
    kept = dict(body)
    if isinstance(kept.get("limits"), list):
        kept["limits"] = list({_pair(limit): limit for limit in kept["limits"]}.values())
    if kept.get("project_ids"):
        kept["project_ids"] = None
    if kept.get("action") == "tag" and not kept.get("tag"):
        kept["tag"] = "odd"  # A change of the action alone is right only if there is a tag already.
    if _is_over(kept.get("expires_at")):
        kept["expires_at"] = LATE.replace(tzinfo=UTC).isoformat()
    moments = [kept.get("valid_from"), kept.get("valid_until")]
    if all(isinstance(moment, str) for moment in moments):
        kept["valid_from"], kept["valid_until"] = sorted(moments)
        if moments[0] == moments[1]:
            del kept["valid_until"]
    return kept


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


def hold_to_its_word(app: Flask, token: str | None, examples: int, things: Sequence[Mapping[str, str]]) -> Report:
    """Send made-up requests to the app; providers refuse every key, and are not really asked.

    `things` are parameters of paths, all of one thing in each, that requests may be about.
    """
    _things[:] = [each for thing in things for each in (thing, None)]
    schemathesis.openapi.format("date-time", MOMENTS)
    schemathesis.openapi.format("cursor", st.just(""))
    schemathesis.openapi.format("flow-filter", FILTERS)
    schemathesis.openapi.format("re2", PATTERNS)
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
            # A long run makes a hundred thousand rows, which all are read by who verifies the audit.
            "request-timeout": 120 if examples >= THOROUGH else 10,
            "cache": {"enabled": False},
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
            answer = (
                "" if response is None else f"{response.status_code} {response.content[:300].decode(errors='replace')}"
            )
            request = check.failure_info.code_sample[:4000]
            title = f"{event.phase.value} {event.recorder.label}: {failure.title}: {failure.message[:400]}"
            yield "\n  ".join((title, request, answer))
