"""Closed-loop load by nghttp2's h2load over HTTP/1.1, whose log has each request's time."""

import math
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.bench.endpoint import Endpoint
from tests.bench.wrk import LoadError, Outcome


def is_there() -> bool:
    """Tell whether it is installed."""
    return shutil.which("h2load") is not None


def run(endpoint: Endpoint, body: bytes, connections: int, seconds: float) -> Outcome:
    """Load an endpoint for so long. Raises LoadError."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        content, log = Path(folder, "body"), Path(folder, "log")
        content.write_bytes(body)
        command = ["h2load", "--h1", "-t1", f"-c{connections}", f"-D{max(1, round(seconds))}", f"--log-file={log}"]
        command += [
            "-d",
            str(content),
            *(part for pair in endpoint.headers.items() for part in ("-H", ": ".join(pair))),
        ]
        made = subprocess.run([*command, endpoint.url], capture_output=True, text=True, check=False)
        if made.returncode or not log.exists():
            raise LoadError(f"h2load failed: {(made.stderr or made.stdout).strip()[-300:]}")
        return parse(log.read_text(), max(1, round(seconds)))


def parse(log: str, seconds: float) -> Outcome:
    """Read its log: lines of start in µs, status, time in µs. Raises LoadError for an empty one."""
    rows = [line.split() for line in log.splitlines()]
    times = sorted(int(each[2]) for each in rows if each[1].isdigit() and int(each[1]) < 400)
    if not times:
        raise LoadError("h2load has no good answer")
    p50, p99 = (times[math.ceil(len(times) * share) - 1] / 1000 for share in (0.5, 0.99))
    return Outcome(len(times) / seconds, p50, p99, len(rows), len(rows) - len(times), 0)
