"""Rules of the port that operators and scrapers ask: alive, ready, and what all workers have counted."""

import asyncio
import json
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import redis
import tornado.httpclient
from prometheus_client.parser import text_string_to_metric_families

from addons.metrics import Metrics
from addons.store import Store
from addons.telemetry import Telemetry
from shared import redis_schema

ROOT = Path(__file__).parents[2]


async def fetch(port: int, path: str, method: str = "GET") -> tornado.httpclient.HTTPResponse:
    """A real request on a connection of its own, as a scraper makes it."""
    client = tornado.httpclient.AsyncHTTPClient(force_instance=True)
    try:
        return await client.fetch(f"http://127.0.0.1:{port}{path}", method=method, raise_error=False)
    finally:
        client.close()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def port(valkey_url: str, metrics: Metrics, unused_tcp_port: int) -> AsyncIterator[int]:
    """Where a worker's telemetry listens."""
    store = Store.connect(valkey_url, 500)
    telemetry = Telemetry(store, metrics, "127.0.0.1", unused_tcp_port)
    telemetry.running()
    yield unused_tcp_port
    telemetry.done()
    await store.done()


async def test_a_worker_that_answers_is_alive(port: int) -> None:
    answer = await fetch(port, "/healthz")

    assert (answer.code, json.loads(answer.body)) == (200, {"status": "ok"})


async def test_a_worker_is_ready_when_redis_has_been_published_to(port: int, redis_client: redis.Redis) -> None:
    before = await fetch(port, "/readyz")
    redis_client.set(redis_schema.EPOCH, "1")
    after = await fetch(port, "/readyz")

    assert (before.code, json.loads(before.body)) == (503, {"status": "failed", "checks": {"redis": False}})
    assert (after.code, json.loads(after.body)) == (200, {"status": "ok", "checks": {"redis": True}})


async def test_metrics_are_shown_in_the_text_format_of_prometheus(port: int, metrics: Metrics) -> None:
    metrics.upstream_failed("openai", "tls")

    answer = await fetch(port, "/metrics")

    assert answer.code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b'\nllm_proxy_upstream_failures_total{kind="tls",provider="openai"} 1.0\n' in answer.body
    assert answer.body == metrics.text()


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/metrics/", 404), ("DELETE", "/metrics", 405)])
async def test_nothing_else_is_offered(port: int, method: str, path: str, status: int) -> None:
    answer = await fetch(port, path, method)

    assert answer.code == status and json.loads(answer.body)["status"] == "failed"
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/healthz", "/metrics"])
async def test_the_server_does_not_say_what_it_is(port: int, path: str) -> None:
    assert "server" not in (await fetch(port, path)).headers


async def test_a_stopped_worker_listens_no_more(metrics: Metrics, valkey_url: str, unused_tcp_port: int) -> None:
    store = Store.connect(valkey_url, 500)
    telemetry = Telemetry(store, metrics, "127.0.0.1", unused_tcp_port)
    telemetry.done()
    telemetry.running()

    telemetry.done()

    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", unused_tcp_port)
    await store.done()


WORKER = """
    import asyncio, sys
    from pathlib import Path
    from addons.metrics import Metrics
    from addons.store import Store
    from addons.telemetry import Telemetry

    async def serve(folder, port, count):
        metrics = Metrics(Path(folder))
        metrics.requests_in_flight(int(count))
        for _ in range(int(count)):
            metrics.retried("openai")
        metrics.flush()
        Telemetry(Store.connect("unix:///nobody.sock", 500), metrics, "127.0.0.1", int(port)).running()
        print("listening", flush=True)
        await asyncio.sleep(60)

    asyncio.run(serve(*sys.argv[1:]))
"""


@pytest.fixture
def worker(tmp_path: Path, unused_tcp_port: int) -> "Iterator[Callable[[int], subprocess.Popen[str]]]":
    """Starts workers that share a port and a folder, and count as far as they are told."""
    workers: list[subprocess.Popen[str]] = []
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(ROOT), "PATH": "/bin"}

    def started(count: int) -> subprocess.Popen[str]:
        arguments = [str(tmp_path), str(unused_tcp_port), str(count)]
        command = [sys.executable, "-c", textwrap.dedent(WORKER), *arguments]
        workers.append(subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE))
        assert workers[-1].stdout is not None and workers[-1].stdout.readline() == "listening\n"
        return workers[-1]

    yield started
    for each in workers:
        with each:
            each.kill()


async def shown(port: int) -> tuple[float, float]:
    """Requests in flight, and retries, as a scrape of the shared port shows them."""
    text = (await fetch(port, "/metrics")).body.decode()
    families = {family.name: family.samples for family in text_string_to_metric_families(text)}
    return families["llm_proxy_requests_in_flight"][0].value, families["llm_proxy_retries"][0].value


async def test_a_scrape_sees_all_workers_whichever_answers(
    worker: Callable[[int], object], unused_tcp_port: int
) -> None:
    for count in (2, 3):
        worker(count)

    assert {await shown(unused_tcp_port) for _ in range(16)} == {(5, 5)}


async def test_a_killed_worker_is_in_flight_no_longer_but_what_it_counted_stays(
    worker: "Callable[[int], subprocess.Popen[str]]", unused_tcp_port: int
) -> None:
    victim, _ = worker(2), worker(3)

    victim.kill()
    victim.wait()

    assert {await shown(unused_tcp_port) for _ in range(4)} == {(3, 5)}
    worker(4)
    assert {await shown(unused_tcp_port) for _ in range(16)} == {(7, 9)}
