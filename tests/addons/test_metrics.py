"""Rules of what is counted: each request once, however it ends; few label values; all workers of a machine together."""

import gc
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import http
from mitmproxy.flow import Error
from mitmproxy.websocket import WebSocketData
from prometheus_client.parser import text_string_to_metric_families

from addons import refusal
from addons.call import Call, Calls, UpstreamCredential
from addons.dialects.answer import Answer
from addons.ending import Cause, Interruption
from addons.metrics import BUCKETS, MOST_RULE_NAMES, Metrics
from addons.refusal import respond
from addons.request_metrics import RequestMetrics, late_failure
from shared.models import Usage
from tests.addons.conftest import request

ROOT = Path(__file__).parents[2]
OPERATION = (ROOT / "docs" / "operation.md").read_text()

type Samples = dict[str, float]


def samples(text: bytes) -> Samples:
    """What a scrape shows, as in the text: `name{label="value"}` to value, labels in alphabetical order."""
    families = text_string_to_metric_families(text.decode())
    return {named(sample.name, sample.labels): sample.value for family in families for sample in family.samples}


def named(name: str, labels: dict[str, str]) -> str:
    pairs = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    return f"{name}{{{pairs}}}" if pairs else name


def exercised(metrics: Metrics) -> Metrics:
    """After everything that can happen has happened once."""
    metrics.request_ended("openai", "chat.completions", 200, "finished", 1.5, 0.2)
    metrics.refused("token_expired")
    metrics.tokens_used("openai", 3, 4)
    metrics.requests_in_flight(1)
    metrics.upstream_failed("openai", "dns")
    metrics.retried("openai")
    metrics.breaker_changed("origin", "open")
    metrics.stream_cut("idle_timeout")
    metrics.usage_waiting(2)
    metrics.provider_connections(5, 3)
    metrics.connections_used(6, 7)
    metrics.flows_told(8)
    metrics.flows_dropped("full", 9)
    metrics.rule_hit("deny", "no secrets")
    metrics.rules_rejected()
    metrics.requests_held(8)
    metrics.redis_failed()
    return metrics


@pytest.fixture(autouse=True)
def _has_gone_out(admitted: tuple[http.HTTPFlow, Call]) -> None:
    admitted[1].credential = UpstreamCredential("key-1", "authorization", "Bearer secret")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def room(calls: Calls, metrics: Metrics) -> RequestMetrics:
    return RequestMetrics(calls, metrics, lambda *_: None)


@pytest.mark.parametrize(("is_refused", "told"), [(True, [("project-1", "token_expired")]), (False, [])])
def test_refusals_are_told_once_with_their_project_and_nothing_else_is(
    calls: Calls, metrics: Metrics, is_refused: bool, told: list[tuple[str, str]]
) -> None:
    noted: list[tuple[str, str]] = []
    room, flow = RequestMetrics(calls, metrics, lambda *refused: noted.append(refused)), request()
    calls.of(flow).project_id = "project-1"
    room.requestheaders(flow)
    if is_refused:
        flow.response = respond(refusal.TOKEN_EXPIRED, calls.of(flow))
    else:
        answer(flow, calls.of(flow))

    room.response(flow)
    room.error(flow)

    assert noted == told


# Metrics


def test_everything_that_happens_is_shown(metrics: Metrics) -> None:
    shown = samples(exercised(metrics).text())

    expected = {
        'llm_proxy_requests_total{outcome="finished",provider="openai",route="chat.completions",status="200"}': 1,
        'llm_proxy_refusals_total{code="token_expired"}': 1,
        'llm_proxy_request_seconds_sum{provider="openai",route="chat.completions"}': 1.5,
        'llm_proxy_first_byte_seconds_sum{provider="openai",route="chat.completions"}': 0.2,
        'llm_proxy_tokens_total{kind="prompt",provider="openai"}': 3,
        'llm_proxy_tokens_total{kind="completion",provider="openai"}': 4,
        "llm_proxy_requests_in_flight": 1,
        'llm_proxy_upstream_failures_total{kind="dns",provider="openai"}': 1,
        'llm_proxy_retries_total{provider="openai"}': 1,
        'llm_proxy_breaker_changes_total{state="open",subject="origin"}': 1,
        'llm_proxy_stream_cuts_total{reason="idle_timeout"}': 1,
        "llm_proxy_usage_events_waiting": 2,
        "llm_proxy_provider_connections_open": 5,
        "llm_proxy_provider_connections_idle": 3,
        'llm_proxy_provider_connections_used_total{how="dialed"}': 6,
        'llm_proxy_provider_connections_used_total{how="reused"}': 7,
        "llm_proxy_flows_total": 8,
        'llm_proxy_flows_dropped_total{reason="full"}': 9,
        'llm_proxy_rule_hits_total{action="deny",rule="no secrets"}': 1,
        "llm_proxy_rules_rejected_total": 1,
        "llm_proxy_requests_held": 8,
        "llm_proxy_redis_errors_total": 1,
    }
    assert {name: shown[name] for name in expected} == expected


def test_what_needs_no_label_is_shown_before_it_happens(metrics: Metrics) -> None:
    assert samples(metrics.text()) == {
        "llm_proxy_requests_in_flight": 0,
        "llm_proxy_usage_events_waiting": 0,
        "llm_proxy_provider_connections_open": 0,
        "llm_proxy_provider_connections_idle": 0,
        "llm_proxy_flows_total": 0,
        "llm_proxy_rules_rejected_total": 0,
        "llm_proxy_requests_held": 0,
        "llm_proxy_redis_errors_total": 0,
    }


def test_rules_are_told_apart_by_so_many_names(metrics: Metrics) -> None:
    for number in range(MOST_RULE_NAMES + 50):
        metrics.rule_hit("tag", f"rule {number}")
    metrics.rule_hit("tag", "rule 7")

    shown = samples(metrics.text())
    hits = {name: count for name, count in shown.items() if name.startswith("llm_proxy_rule_hits_total")}
    assert hits['llm_proxy_rule_hits_total{action="tag",rule="others"}'] == 50
    assert hits['llm_proxy_rule_hits_total{action="tag",rule="rule 7"}'] == 2 and len(hits) == MOST_RULE_NAMES + 1


def test_kinds_of_failure_and_states_of_breakers_are_told_apart(metrics: Metrics) -> None:
    for kind in ("dns", "refused", "tls", "tls"):
        metrics.upstream_failed("openai", kind)
    for state in ("open", "half_open", "closed"):
        metrics.breaker_changed("key", state)

    shown = samples(metrics.text())

    assert shown['llm_proxy_upstream_failures_total{kind="dns",provider="openai"}'] == 1
    assert shown['llm_proxy_upstream_failures_total{kind="tls",provider="openai"}'] == 2
    assert sum(name.startswith("llm_proxy_breaker_changes_total") for name in shown) == 3


def test_an_unknown_provider_or_route_is_called_none(metrics: Metrics) -> None:
    metrics.request_ended("", "", 404, "refused", 0.001, None)
    metrics.upstream_failed("", "dns")
    metrics.retried("")

    shown = samples(metrics.text())

    assert shown['llm_proxy_requests_total{outcome="refused",provider="none",route="none",status="404"}'] == 1
    assert not any('=""' in name or name.startswith("llm_proxy_first_byte") for name in shown)


def test_times_are_told_apart_from_a_refusal_to_a_long_generation(metrics: Metrics) -> None:
    for seconds in (0.004, 0.3, 299, 301):
        metrics.request_ended("openai", "chat.completions", 200, "finished", seconds, None)

    shown = samples(metrics.text())

    def up_to(bound: str) -> float:
        return shown[f'llm_proxy_request_seconds_bucket{{le="{bound}",provider="openai",route="chat.completions"}}']

    assert [up_to(bound) for bound in ("0.005", "0.25", "0.5", "120.0", "300.0", "+Inf")] == [1, 1, 2, 2, 3, 4]
    assert (BUCKETS[0], BUCKETS[-1]) == (0.005, 300)


def test_two_in_one_process_share_nothing() -> None:
    one, other = Metrics(), Metrics()

    one.redis_failed()

    assert samples(other.text())["llm_proxy_redis_errors_total"] == 0


def test_a_folder_that_the_library_has_not_been_told_of_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="PROMETHEUS_MULTIPROC_DIR"):
        Metrics(tmp_path)


# Documentation


def documented() -> dict[str, tuple[str, set[str]]]:
    """Type and labels of each metric in docs/operation.md."""
    found = re.findall(r"^\| `(llm_proxy_\w+)` \| (\w+) \| (.*?) ?\| ", OPERATION, re.MULTILINE)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in found}


def test_every_metric_is_documented_as_it_is_and_no_other(metrics: Metrics) -> None:
    shown = {}
    for family in text_string_to_metric_families(exercised(metrics).text().decode()):
        name = family.name + "_total" * (family.type == "counter")
        shown[name] = (family.type, {label for sample in family.samples for label in sample.labels} - {"le"})

    assert documented() == shown


# Requests


def in_flight(metrics: Metrics) -> float:
    return samples(metrics.text())["llm_proxy_requests_in_flight"]


def ended(metrics: Metrics) -> Samples:
    return {name: value for name, value in samples(metrics.text()).items() if "requests_total" in name}


def answer(flow: http.HTTPFlow, call: Call) -> None:
    flow.response = http.Response.make(200)
    call.head_sent = True


def test_a_finished_request_is_counted_with_its_times_and_tokens(
    room: RequestMetrics, metrics: Metrics, admitted: tuple[http.HTTPFlow, Call]
) -> None:
    flow, call = admitted
    room.requestheaders(flow)
    assert in_flight(metrics) == 1
    answer(flow, call)
    call.first_byte_ms, call.answer = 250.0, Answer(usage=Usage(3, None, 3))

    room.response(flow)

    shown = samples(metrics.text())
    labels = 'provider="openai",route="chat.completions"'
    assert shown[f'llm_proxy_requests_total{{outcome="finished",{labels},status="200"}}'] == 1
    assert shown[f"llm_proxy_request_seconds_count{{{labels}}}"] == 1
    assert shown[f"llm_proxy_first_byte_seconds_sum{{{labels}}}"] == 0.25
    assert shown['llm_proxy_tokens_total{kind="prompt",provider="openai"}'] == 3
    assert shown["llm_proxy_requests_in_flight"] == 0


def test_a_refusal_is_counted_with_its_code(room: RequestMetrics, calls: Calls, metrics: Metrics) -> None:
    flow = request()
    room.requestheaders(flow)
    flow.response = respond(refusal.TOKEN_EXPIRED, calls.of(flow))

    room.response(flow)

    assert samples(metrics.text())['llm_proxy_refusals_total{code="token_expired"}'] == 1
    assert list(ended(metrics)) == [
        'llm_proxy_requests_total{outcome="refused",provider="none",route="none",status="401"}'
    ]


@pytest.mark.parametrize(
    ("by_client", "outcome", "status"), [(True, "client_aborted", 0), (False, "upstream_aborted", 502)]
)
def test_a_broken_request_is_counted_by_who_broke_it(
    room: RequestMetrics,
    metrics: Metrics,
    admitted: tuple[http.HTTPFlow, Call],
    by_client: bool,
    outcome: str,
    status: int,
) -> None:
    flow, call = admitted
    room.requestheaders(flow)
    call.ended_by_client = by_client

    room.error(flow)

    [name] = ended(metrics)
    assert f'outcome="{outcome}"' in name and f'status="{status}"' in name
    assert in_flight(metrics) == 0


@pytest.mark.parametrize("hooks", [("response", "error"), ("error", "response"), ("error", "error")], ids="-".join)
def test_a_request_ends_once(
    room: RequestMetrics, metrics: Metrics, admitted: tuple[http.HTTPFlow, Call], hooks: tuple[str, str]
) -> None:
    other = request()
    for flow in (other, admitted[0]):
        room.requestheaders(flow)
    answer(*admitted)

    for hook in hooks:
        getattr(room, hook)(admitted[0])

    assert list(ended(metrics).values()) == [1]
    assert in_flight(metrics) == 1


def test_an_end_without_a_beginning_is_counted_and_leaves_the_gauge_alone(
    room: RequestMetrics, metrics: Metrics
) -> None:
    room.error(request())

    assert list(ended(metrics).values()) == [1] and in_flight(metrics) == 0


def test_a_flow_that_vanished_is_not_in_flight(room: RequestMetrics, metrics: Metrics) -> None:
    room.requestheaders(request())
    gc.collect()
    kept = request()

    room.requestheaders(kept)

    assert in_flight(metrics) == 1


def test_a_websocket_is_in_flight_until_it_closes(
    room: RequestMetrics, metrics: Metrics, admitted: tuple[http.HTTPFlow, Call]
) -> None:
    flow, call = admitted
    room.requestheaders(flow)
    answer(flow, call)
    flow.websocket = WebSocketData(close_code=1000)

    room.response(flow)
    assert in_flight(metrics) == 1 and ended(metrics) == {}
    room.websocket_end(flow)

    assert in_flight(metrics) == 0 and list(ended(metrics).values()) == [1]


def test_a_websocket_that_was_cut_off_is_broken(
    room: RequestMetrics, metrics: Metrics, admitted: tuple[http.HTTPFlow, Call]
) -> None:
    flow, call = admitted
    answer(flow, call)
    flow.websocket = WebSocketData(close_code=1006)

    room.websocket_end(flow)

    assert 'outcome="upstream_aborted"' in "".join(ended(metrics))


CUT = Interruption(Cause.CUT, refusal.TOKEN_INACTIVE)
IDLE = Interruption(Cause.IDLE, refusal.UPSTREAM_TIMEOUT)
TOTAL = Interruption(Cause.TOTAL, refusal.UPSTREAM_TIMEOUT)


@pytest.mark.parametrize(
    ("changes", "message", "kind"),
    [
        ({"head_sent": True}, "server closed connection", "closed"),
        ({"head_sent": True}, "Invalid chunk header", "protocol"),
        ({"head_sent": True, "interruption": IDLE}, "", "idle_timeout"),
        ({"head_sent": True, "interruption": TOTAL}, "", "total_timeout"),
        ({"interruption": TOTAL}, "", "total_timeout"),
        ({"head_sent": True, "interruption": CUT}, "", None),
        ({"head_sent": True}, Error.KILLED_MESSAGE, None),
        ({"head_sent": True, "ended_by_client": True}, "client closed connection", None),
        ({}, "server closed connection", None),
    ],
)
def test_a_failure_that_nothing_can_heal_is_told_from_other_ends(
    changes: dict[str, Any], message: str, kind: str | None
) -> None:
    assert late_failure(Call(**changes), message) == kind


def test_an_answer_that_fell_silent_is_counted_as_failure_and_as_cut(
    room: RequestMetrics, metrics: Metrics, admitted: tuple[http.HTTPFlow, Call]
) -> None:
    flow, call = admitted
    answer(flow, call)
    call.interruption = IDLE

    room.error(flow)

    shown = samples(metrics.text())
    assert shown['llm_proxy_upstream_failures_total{kind="idle_timeout",provider="openai"}'] == 1
    assert shown['llm_proxy_stream_cuts_total{reason="idle_timeout"}'] == 1


def test_an_answer_that_broke_off_is_a_failure_and_no_cut(
    room: RequestMetrics, metrics: Metrics, admitted: tuple[http.HTTPFlow, Call]
) -> None:
    flow, call = admitted
    answer(flow, call)
    flow.error = Error("server closed connection")

    room.error(flow)

    shown = samples(metrics.text())
    assert shown['llm_proxy_upstream_failures_total{kind="closed",provider="openai"}'] == 1
    assert not any("stream_cuts" in name for name in shown)


# Several workers

WORKER = """
    import sys
    from pathlib import Path
    from addons.metrics import Metrics
    metrics = Metrics(Path(sys.argv[1]))
    for line in sys.stdin:
        print(repr(eval(line)), flush=True)
"""


class Worker:
    """Metrics in a process of their own, driven by expressions."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-c", textwrap.dedent(WORKER), str(folder)]
        environment = {"PROMETHEUS_MULTIPROC_DIR": str(folder), "PYTHONPATH": str(ROOT), "PATH": "/bin"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, env=environment, text=True, **pipes)

    def does(self, expression: str) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(expression, file=self.process.stdin, flush=True)
        return self.process.stdout.readline()

    def scrape(self) -> Samples:
        return samples(eval(self.does("metrics.text()")))  # noqa: S307 - our own worker's bytes

    def leave(self) -> None:
        """Let it come to its end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)

    def end(self) -> None:
        """Kill it, so that it can tidy up nothing."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Callable[[], Worker]]:
    """Starts workers that share a folder which is not there yet."""
    workers: list[Worker] = []

    def started() -> Worker:
        workers.append(Worker(tmp_path / "data" / "metrics"))
        return workers[-1]

    yield started
    for each in workers:
        each.end()


def test_a_scrape_of_any_worker_shows_the_sum_of_all(worker: Callable[[], Worker]) -> None:
    one, other = worker(), worker()

    for each, count in ((one, 2), (other, 3)):
        each.does(f"metrics.requests_in_flight({count})")
        each.does(f"[metrics.retried('openai') for _ in range({count})]")
        each.does(f"metrics.request_ended('openai', 'chat.completions', 200, 'finished', {count}, None)")
        each.does("metrics.flush()")

    shown = one.scrape()
    assert shown == other.scrape()
    assert shown["llm_proxy_requests_in_flight"] == 5
    assert shown['llm_proxy_retries_total{provider="openai"}'] == 5
    assert shown['llm_proxy_request_seconds_sum{provider="openai",route="chat.completions"}'] == 5
    assert shown['llm_proxy_request_seconds_bucket{le="2.5",provider="openai",route="chat.completions"}'] == 1


def test_the_dead_keep_their_counts_and_lose_their_gauges(worker: Callable[[], Worker]) -> None:
    one, other = worker(), worker()
    for each in (one, other):
        each.does("metrics.requests_in_flight(2)")
        each.does("metrics.retried('openai')")
    other.does("metrics.flush()")

    other.end()

    shown = one.scrape()
    assert shown["llm_proxy_requests_in_flight"] == 2
    assert shown['llm_proxy_retries_total{provider="openai"}'] == 2


def test_what_was_never_flushed_is_written_when_the_process_exits(worker: Callable[[], Worker]) -> None:
    one, other = worker(), worker()
    other.does("metrics.retried('openai')")
    assert one.scrape()['llm_proxy_retries_total{provider="openai"}'] == 0

    other.leave()

    assert one.scrape()['llm_proxy_retries_total{provider="openai"}'] == 1


def test_all_workers_show_everything_that_is_documented(worker: Callable[[], Worker]) -> None:
    one = worker()
    one.does("__import__('tests.addons.test_metrics', fromlist=['x']).exercised(metrics)")

    shown = {name.partition("{")[0] for name in one.scrape()}

    assert {re.sub("_(bucket|sum|count)$", "", name) for name in shown} == set(documented())


def test_the_folder_is_for_nobody_else(worker: Callable[[], Worker], tmp_path: Path) -> None:
    worker().does("1")

    assert (tmp_path / "data" / "metrics").stat().st_mode & 0o777 == 0o700


def test_a_variable_that_is_empty_is_told_instead_of_littering_the_working_folder(tmp_path: Path) -> None:
    environment = {"PROMETHEUS_MULTIPROC_DIR": "", "PYTHONPATH": str(ROOT), "PATH": os.defpath}
    command = [sys.executable, "-c", "from addons.metrics import Metrics; Metrics()"]

    result = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert result.returncode == 1 and "PROMETHEUS_MULTIPROC_DIR has to be unset" in result.stderr
    assert not list(tmp_path.iterdir())
