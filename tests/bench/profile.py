"""The budget of a request, from a real profile: which stage of the engine takes how many µs of processor time.

py-spy looks at a worker under load, some hundred times a second. A sample belongs to the innermost frame whose file is
a stage; what a stage calls in libraries is its own.
"""

import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.bench import answers, closed_loop
from tests.bench.report import number
from tests.bench.stage import Stage

CONNECTIONS = 16
_PER_SECOND = 250
_SMALLEST_SHARE = 0.003
_ELSEWHERE = "event loop: sockets, timers, callbacks"
_FRAME = re.compile(r"\(([^()]+?)(?::\d+)?\)$")
# The first one that a file begins with names its stage; None leaves it to the caller's file.
_STAGES: tuple[tuple[str, str | None], ...] = (
    ("mitmproxy/proxy/layers/http/", "mitmproxy: HTTP layers"),
    ("mitmproxy/proxy/layers/tls", "mitmproxy: TLS layers"),
    ("mitmproxy/net/", "mitmproxy: reading and writing of messages"),
    ("mitmproxy/proxy/", "mitmproxy: connections, commands, events"),
    ("mitmproxy/addons/", "mitmproxy: its own addons"),
    ("mitmproxy/", None),
    ("addons/engine/loop.py", None),
    ("addons/engine/worker.py", None),
    ("addons/call.py", None),
    ("addons/refusal.py", None),
    ("addons/", "addons/{file}"),
)


class ProfileError(Exception):
    """No profile could be made; the message says why."""


def run(stage: Stage, seconds: int) -> tuple[float, Counter[str]]:
    """Return µs of processor time for each request, and samples by stage. Raises ProfileError."""
    endpoint, body = stage.endpoint("engine"), answers.request_body(answers.json_model(answers.SMALL))
    closed_loop.burst(stage.services.provider, endpoint, body, CONNECTIONS, 2)
    plain = closed_loop.burst(stage.services.provider, endpoint, body, CONNECTIONS, min(seconds, 5))
    with tempfile.NamedTemporaryFile(prefix="bench-profile-") as written:
        command = [str(Path(sys.executable).with_name("py-spy")), "record", "--pid", str(endpoint.pids[0])]
        command += ["--duration", str(seconds), "--rate", str(_PER_SECOND), "--format", "raw", "--output", written.name]
        spy = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        closed_loop.burst(stage.services.provider, endpoint, body, CONNECTIONS, seconds + 1)
        said, _ = spy.communicate(timeout=60)
        samples = by_stage(Path(written.name).read_text().splitlines())
    if spy.returncode or not samples or plain.complaint:
        raise ProfileError(f"no profile: {plain.complaint or said.strip()[-300:]}")
    return plain.figures["cpu_us"], samples


def by_stage(lines: Iterable[str]) -> Counter[str]:
    """Sum py-spy's raw lines, `frame;frame;… count`, by stage."""
    found: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        found[stage_of(stack.split(";"))] += int(count)
    return found


def stage_of(stack: Sequence[str]) -> str:
    """Return the stage of a stack, whose innermost frame comes last."""
    for frame in reversed(stack):
        file = _FRAME.search(frame)
        if file and (stage := _stage_of_file(file[1])):
            return stage
    return _ELSEWHERE


def _stage_of_file(file: str) -> str | None:
    for start, stage in _STAGES:
        at = file.find(start)
        if at == 0 or (at > 0 and file[at - 1] == "/"):
            return stage.format(file=file[at + len(start) :]) if stage else None
    return None


def table(cpu_us: float, samples: Counter[str]) -> list[list[str]]:
    """Return a line for each stage, the dearest first; small ones are one line."""
    total = samples.total()
    large = {stage: count for stage, count in samples.most_common() if count >= total * _SMALLEST_SHARE}
    rest = total - sum(large.values())
    lines = [[stage, *_costs(count / total, cpu_us)] for stage, count in [*large.items(), ("everything else", rest)]]
    return [["stage", "µs/request", "share"], *lines, ["sum", *_costs(1.0, cpu_us)]]


def _costs(share: float, cpu_us: float) -> list[str]:
    return [number(share * cpu_us), f"{share:.1%}"]
