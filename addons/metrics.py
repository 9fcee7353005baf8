"""What this worker counts for Prometheus. Rooms call a method named after what happened and know of no registry.

Labels take few values: names from the route table, statuses, and words of our own; never a model, token or path. All
workers of one machine write into one folder if they are given one, so that a scrape of any of them sees them all:
what others have counted a moment late, see flushing.py.
"""

import atexit
import os
from contextlib import suppress
from functools import cache
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from addons import metric_values

# Seconds, from a refusal to a long generation.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
# Names of rules that are told apart.
MOST_RULE_NAMES = 200


class Metrics:
    """The metrics of one worker; `folder` is that of PROMETHEUS_MULTIPROC_DIR, None if this worker stands alone.

    Raises ValueError if the folder and the environment that prometheus_client has read do not agree.
    """

    def __init__(self, folder: Path | None = None) -> None:
        if (folder is None) is not (values.ValueClass is values.MutexValue):
            raise ValueError("PROMETHEUS_MULTIPROC_DIR has to be unset or to name a folder: not empty, not by file")
        self._buffer = None if folder is None else metric_values.installed()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            atexit.register(self.flush)
        # They would double the answer, and the shared folder does not hold them anyway.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._folder = folder
        self._registry = CollectorRegistry()
        self._requests = self._counter("requests", "Requests that ended.", "provider", "route", "status", "outcome")
        self._refusals = self._counter("refusals", "Requests refused by the proxy itself.", "code")
        self._seconds = self._histogram("request_seconds", "From a request's head to the end of its answer.")
        self._first_byte = self._histogram("first_byte_seconds", "From a request's head to its answer's first byte.")
        self._tokens = self._counter("tokens", "Tokens that providers reported.", "provider", "kind")
        self._in_flight = self._gauge("requests_in_flight", "Requests that have not ended.")
        self._failures = self._counter("upstream_failures", "Failed attempts at providers.", "provider", "kind")
        self._retries = self._counter("retries", "Attempts after a failed one.", "provider")
        self._breakers = self._counter("breaker_changes", "Circuit breakers' changes of state.", "subject", "state")
        self._cuts = self._counter("stream_cuts", "Answers that the proxy ended early.", "reason")
        self._usage_waiting = self._gauge("usage_events_waiting", "Usage events not yet handed to Redis.")
        self._connections_open = self._gauge("provider_connections_open", "Connections to providers.")
        self._connections_idle = self._gauge("provider_connections_idle", "Connections to providers without request.")
        self._connections_used = self._counter("provider_connections_used", "Connections given to requests.", "how")
        self._rule_hits = self._counter("rule_hits", "Requests that a rule fitted.", "action", "rule")
        self._rules_rejected = self._counter("rules_rejected", "Published rules that could not be used.")
        self._held = self._gauge("requests_held", "Requests that wait for somebody's decision.")
        self._rule_names: set[str] = set()
        self._flows = self._counter("flows", "Records of requests that were handed to the inspector's feed.")
        self._flows_dropped = self._counter("flows_dropped", "Records that never got into the feed.", "reason")
        self._redis_errors = self._counter("redis_errors", "Calls to Redis that failed.")
        # Looking a child up by its labels costs more than counting, and there are few of them.
        self._requests_of, self._tokens_of = cache(self._requests.labels), cache(self._tokens.labels)
        self._seconds_of, self._first_byte_of = cache(self._seconds.labels), cache(self._first_byte.labels)

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        return Counter(f"llm_proxy_{name}_total", help, labels, registry=self._registry)

    def _histogram(self, name: str, help: str) -> Histogram:
        return Histogram(f"llm_proxy_{name}", help, ("provider", "route"), registry=self._registry, buckets=BUCKETS)

    def _gauge(self, name: str, help: str) -> Gauge:
        gauge = Gauge(f"llm_proxy_{name}", help, registry=self._registry, multiprocess_mode="livesum")
        gauge.set(0)  # The folder may hold what an earlier process of the same id has left.
        return gauge

    def request_ended(
        self, provider: str, route: str, status: int, outcome: str, seconds: float, first_byte_seconds: float | None
    ) -> None:
        """A request ended, however it did; provider and route are "" if it was refused before they were known."""
        provider, route = provider or "none", route or "none"
        self._requests_of(provider, route, str(status), outcome).inc()
        self._seconds_of(provider, route).observe(seconds)
        if first_byte_seconds is not None:
            self._first_byte_of(provider, route).observe(first_byte_seconds)

    def refused(self, code: str) -> None:
        """The proxy itself answered a request, with this error code."""
        self._refusals.labels(code).inc()

    def tokens_used(self, provider: str, prompt: int | None, completion: int | None) -> None:
        """A provider reported what an answer cost; None is what it did not say."""
        self._tokens_of(provider or "none", "prompt").inc(prompt or 0)
        self._tokens_of(provider or "none", "completion").inc(completion or 0)

    def requests_in_flight(self, count: int) -> None:
        """So many requests of this worker have not ended."""
        self._in_flight.set(count)

    def upstream_failed(self, provider: str, kind: str) -> None:
        """One attempt failed; `kind` is that of a `Failure`."""
        self._failures.labels(provider or "none", kind).inc()

    def retried(self, provider: str) -> None:
        """A failed attempt is followed by another."""
        self._retries.labels(provider or "none").inc()

    def breaker_changed(self, subject_kind: str, state: str) -> None:
        """A breaker of an `origin` or a `key` is now `open`, `half_open` or `closed`."""
        self._breakers.labels(subject_kind, state).inc()

    def stream_cut(self, reason: str) -> None:
        """The proxy ended an answer that had begun."""
        self._cuts.labels(reason).inc()

    def rule_hit(self, action: str, rule: str) -> None:
        """A rule of this name fitted a request; names beyond the first ones are counted together."""
        if rule not in self._rule_names and len(self._rule_names) >= MOST_RULE_NAMES:
            rule = "others"
        self._rule_names.add(rule)
        self._rule_hits.labels(action, rule).inc()

    def rules_rejected(self) -> None:
        """Rules were published that this worker cannot use."""
        self._rules_rejected.inc()

    def requests_held(self, count: int) -> None:
        """So many requests of this worker are held."""
        self._held.set(count)

    def usage_waiting(self, count: int) -> None:
        """So many usage events of this worker have not been handed to Redis."""
        self._usage_waiting.set(count)

    def provider_connections(self, open_now: int, idle: int) -> None:
        """So many connections to providers are open, and so many of them idle."""
        self._connections_open.set(open_now)
        self._connections_idle.set(idle)

    def connections_used(self, dialed: int, reused: int) -> None:
        """So many more connections were opened, and so many used again."""
        self._connections_used.labels("dialed").inc(dialed)
        self._connections_used.labels("reused").inc(reused)

    def flows_told(self, count: int) -> None:
        """So many more records of requests are in the inspector's feed."""
        self._flows.inc(count)

    def flows_dropped(self, reason: str, count: int) -> None:
        """So many more records are lost to the inspector: `busy`, `full`, `too_large` or `fault`."""
        self._flows_dropped.labels(reason).inc(count)

    def redis_failed(self) -> None:
        """Redis did not answer in time, or not sensibly."""
        self._redis_errors.inc()

    def flush(self) -> None:
        """Show the other workers everything that was counted until now."""
        if self._buffer is not None:
            self._buffer.flush()

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format 0.0.4: of this machine's workers if they share a folder."""
        if self._folder is None:
            return generate_latest(self._registry)
        self.flush()
        _forget_gauges_of_the_dead(self._folder)
        everybody = CollectorRegistry()
        MultiProcessCollector(everybody, str(self._folder))  # type: ignore[no-untyped-call]
        return generate_latest(everybody)


def _forget_gauges_of_the_dead(folder: Path) -> None:
    # What they counted stays counted.
    for path in folder.glob("gauge_live*.db"):
        pid = int(path.stem.rpartition("_")[2])
        if not _is_alive(pid):
            with suppress(FileNotFoundError):  # Another worker may be answering a scrape just now.
                mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
