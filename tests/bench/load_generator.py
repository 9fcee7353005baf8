"""Holds `llm-proxy benchmark` against wrk and h2load, known latencies and a stall: `scripts/bench --load-generator`.

Each server has one core, and the load the other one. Figures are medians of rounds in which the loads take turns.
"""

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.bench import answers, h2load, machine, provider, wrk
from tests.bench.endpoint import Endpoint, bearer
from tests.bench.wrk import LoadError, Outcome
from tests.ports import accepts, free_port

CONNECTIONS = (1, 16, 64)
POINTS = ("p50", "p90", "p95", "p99", "p99.9")
_START_SECONDS = 30.0
_BODY = answers.request_body(answers.json_model(answers.SMALL))
_KEY = "sk-of-this-benchmark-0123456789"
_TEMPLATE = '{"model": "bench-json-0", "messages": [{"role": "user", "content": "{{number}} {{words:5-50}}"}]}'


def ours(url: str, token: str, *arguments: str, body: str = _BODY.decode()) -> dict[str, Any]:
    """Run the command with one load process; returns the result of its one step. Raises LoadError."""
    command = [sys.executable, "-m", "manager.cli", "benchmark", "--target", f"a={url}", "--processes", "1"]
    command += ["--json", "--quiet", "--body", body, *arguments]
    environment = provider.plain_environment(LLM_PROXY_TOKEN=token)
    made = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if made.returncode:
        raise LoadError(f"llm-proxy benchmark failed: {made.stderr.strip()[-300:]}")
    result: dict[str, Any] = json.loads(made.stdout)["results"][0]
    return result


def measured(rounds: int, seconds: float) -> dict[str, Any]:
    """Do all of it, in so many rounds of bursts of so many seconds."""
    wrk.provide()
    cores = machine.take_place()
    content: dict[str, Any] = {"machine": machine.facts()}
    port = free_port()
    with _server(cores, port, "manager.cli", "mock-provider", "--port", str(port)):
        endpoint = Endpoint(port, bearer(_KEY))
        others = [row for each in CONNECTIONS for row in _turns("busy", endpoint, each, rounds, seconds)]
    port = free_port()
    with _server(cores, port, "tests.bench.known_server", "--port", str(port)):
        slow = Endpoint(port, bearer(_KEY), path="/known")
        content["others"] = others + _turns("slow", slow, max(CONNECTIONS), rounds, seconds)
        requests.get(f"http://127.0.0.1:{port}/taken", timeout=30)
        content["known"] = _known(port)
        content["stall"] = _stall(port)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        made = provider.prepared(Path(folder))
        with _server(cores, made.tls_port, *made.program.command[2:]):
            content["most"] = _most(made.url(), seconds)
    return {"load_generator": content}


@contextmanager
def _server(cores: machine.Cores, port: int, *module: str) -> Iterator[None]:
    names = module[1:] if module[0] == "-m" else module
    command = cores.worker_command((sys.executable, "-O", "-m", *names))
    process = subprocess.Popen(command, env=provider.plain_environment(), stdout=subprocess.DEVNULL)  # noqa: S603
    deadline = time.monotonic() + _START_SECONDS
    try:
        while not accepts(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise LoadError(f"{names[0]} does not start")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(30)


def _turns(server: str, endpoint: Endpoint, connections: int, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Let the loads take turns; a row for each of them, with how far it is from wrk, by the median of the rounds."""
    seen: dict[str, list[Outcome]] = {}
    for _ in range(rounds):
        seen.setdefault("wrk", []).append(wrk.run(endpoint, _BODY, connections, seconds))
        if h2load.is_there():
            seen.setdefault("h2load", []).append(h2load.run(endpoint, _BODY, connections, seconds))
        seen.setdefault("llm-proxy", []).append(_ours(endpoint, connections, seconds))
    return [
        {"server": server, "connections": connections, "load": load} | _median(found) | _ratios(found, seen["wrk"])
        for load, found in seen.items()
    ]


def _ours(endpoint: Endpoint, connections: int, seconds: float) -> Outcome:
    url = f"http://127.0.0.1:{endpoint.port}"
    more = ("--endpoint", endpoint.path, "--concurrency", str(connections), "--duration", f"{seconds:g}s")
    figures = ours(url, _KEY, *more)["figures"]
    latency = figures["latency_ms"]
    return Outcome(figures["throughput"], latency["p50"], latency["p99"], figures["requests"], figures["errors"], 0)


_FIGURES = ("rps", "p50_ms", "p99_ms")


def _ratios(found: Sequence[Outcome], others: Sequence[Outcome]) -> dict[str, float]:
    pairs = list(zip(found, others, strict=True))
    return {
        f"{name} / wrk": statistics.median(getattr(one, name) / getattr(other, name) for one, other in pairs)
        for name in _FIGURES
    }


def _median(found: Sequence[Outcome]) -> dict[str, float]:
    told = {name: statistics.median(getattr(each, name) for each in found) for name in _FIGURES}
    return told | {"errors": sum(each.other + each.broken for each in found)}


def _known(port: int) -> list[dict[str, Any]]:
    """Ask for latencies that are known, 100 requests each second for 30 seconds, and by 16 callers."""
    found = []
    for load, arguments in {"open": ("--rate", "100"), "closed": ("--concurrency", "16")}.items():
        url = f"http://127.0.0.1:{port}"
        more = ("--endpoint", "/known", "--duration", "30s", "--warm-up", "0", *arguments)
        told = ours(url, _KEY, *more)["figures"]["latency_ms"]
        taken = sorted(requests.get(f"{url}/taken", timeout=30).json())
        true = {each: taken[math.ceil(len(taken) * float(each[1:]) / 100) - 1] / 1e6 for each in POINTS}
        found += [{"load": load, "point": each, "told": told[each], "true": true[each]} for each in POINTS]
    return found


def _stall(port: int) -> list[dict[str, Any]]:
    """Ask a server that stands still for a second of ten."""
    found = []
    for load, arguments in {"closed": ("--concurrency", "1"), "open": ("--rate", "100")}.items():
        with_stall = ours(
            f"http://127.0.0.1:{port}", _KEY, "--endpoint", "/stall", "--duration", "10s", "--warm-up", "0", *arguments
        )
        found.append(
            {"load": load, "requests": with_stall["figures"]["requests"], **with_stall["figures"]["latency_ms"]}
        )
        requests.get(f"http://127.0.0.1:{port}/restart", timeout=30)
    return found


def _most(url: str, seconds: float) -> list[dict[str, Any]]:
    """Find how much one load process makes of one core, against a server that does little."""
    stream = answers.request_body(answers.stream_model(100, 0)).decode()
    kinds: dict[str, tuple[str, tuple[str, ...]]] = {
        "the same body": (_BODY.decode(), ()),
        "a body of variables": (_TEMPLATE, ()),
        "5,000 requests/s due": (_BODY.decode(), ("--rate", "5000")),
        "streams of 100 chunks": (stream, ()),
    }
    found = []
    for kind, (body, more) in kinds.items():
        result = ours(
            url, answers.PROVIDER_KEY, "--duration", f"{seconds:g}s", *(more or ("--concurrency", "64")), body=body
        )
        figures = result["figures"]
        row = {"kind": kind, "rps": figures["throughput"], "chunks": figures.get("chunks_per_s", 0.0)}
        lag = figures.get("lag_ms", {}).get("p99", 0.0)
        found.append(row | {"busy": result["busy"], "errors": figures["errors"], "lag_p99_ms": lag})
    return found


_OTHERS = ("server", "connections", "load", *_FIGURES, *(f"{name} / wrk" for name in _FIGURES), "errors")


def as_markdown(content: Mapping[str, Any]) -> str:
    """Return the figures as tables."""
    found = content["load_generator"]
    return "\n\n".join([
        _table(found["others"], *_OTHERS),
        _table(found["known"], "load", "point", "told", "true"),
        _table(found["stall"], "load", "requests", "p50", "p90", "p99", "max"),
        _table(found["most"], "kind", "rps", "chunks", "busy", "lag_p99_ms", "errors"),
    ])  # fmt: skip


def _table(rows: Sequence[Mapping[str, Any]], *columns: str) -> str:
    cells = [[_shown(row[column]) for column in columns] for row in rows]
    lines = [columns, ["---"] + ["---:"] * (len(columns) - 1), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
    return str(value)
