"""Closed-loop load by wrk: as many connections as wanted, each with its next request when it has its answer."""

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.bench.endpoint import Endpoint

_SCRIPT = """
wrk.method = "POST"
wrk.headers = %s
wrk.body = %s
function done(summary, latency, requests)
    local faults = summary.errors
    io.write(string.format(
        '{"requests": %%d, "us": %%d, "p50": %%f, "p99": %%f, "status": %%d, "broken": %%d}\\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), faults.status,
        faults.connect + faults.read + faults.write + faults.timeout))
end
"""


class LoadError(Exception):
    """The load could not be made; the message says why."""


@dataclass(frozen=True)
class Outcome:
    """What wrk saw; latencies in ms. `other` counts answers whose status was 400 or more."""

    rps: float
    p50_ms: float
    p99_ms: float
    requests: int
    other: int
    broken: int


def provide() -> None:
    """Install wrk where there is none. Raises LoadError."""
    if shutil.which("wrk"):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise LoadError("wrk is missing: install Debian's package `wrk`")
    subprocess.run(["apt-get", "update", "-qq"], capture_output=True, check=False)
    made = subprocess.run(["apt-get", "install", "-y", "-qq", "wrk"], capture_output=True, text=True, check=False)
    if made.returncode or not shutil.which("wrk"):
        raise LoadError(f"wrk cannot be installed: {made.stderr.strip()[-300:] or made.stdout.strip()[-300:]}")


def run(endpoint: Endpoint, body: bytes, connections: int, seconds: float) -> Outcome:
    """Load an endpoint for so long. wrk knows whole seconds only. Raises LoadError."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        script = Path(folder, "post.lua")
        script.write_text(_SCRIPT % (_table(endpoint.headers), _long(body.decode())))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "20s"]
        command += ["-s", str(script), endpoint.url]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
    return parse(made.stdout, made.stderr)


def parse(output: str, errors: str = "") -> Outcome:
    """Read what the script wrote at its end. Raises LoadError."""
    last = output.strip().rpartition("\n")[2]
    if not last.startswith("{"):
        raise LoadError(f"wrk failed: {(errors or output).strip()[-300:]}")
    seen = json.loads(last)
    rps = seen["requests"] / (seen["us"] / 1e6)
    return Outcome(
        rps, seen["p50"] / 1000, seen["p99"] / 1000, int(seen["requests"]), int(seen["status"]), int(seen["broken"])
    )


def _table(headers: dict[str, str]) -> str:
    return "{" + ", ".join(f"[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items()) + "}"


def _long(text: str) -> str:
    return f"[==[{text}]==]"
