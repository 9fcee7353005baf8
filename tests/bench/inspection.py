"""Measures the inspector: `scripts/bench --inspector 1000000`. Each flow has three records with bodies, like a chat.

The feed is a real Valkey, which drops its oldest entries; the inspector is the process that runs in life, with its
bounds as they are by default. It is told of flows as quickly as it reads them, and nobody looks at its page.
"""

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import argon2
import pytest
import redis
import requests

from shared import flow_schema, settings
from shared.flow_schema import FLOWS, FLOWS_FIELD, FlowRecord
from shared.settings import Plane
from tests import flow_records
from tests.bench import management
from tests.ports import free_port

RECORDS = 3
# Flows told of together; how many of these the stream holds, and how many of them may be unread.
BATCH, MOST_ENTRIES, MOST_UNREAD = 100, 200, 20
BODY_BYTES = 20_000
BOUNDED_FLOWS, BOUNDED_MB = 5000, 256
_PASSWORD = "of this benchmark"
_START_SECONDS, _PATIENCE_SECONDS, _PAUSE_SECONDS = 30.0, 120.0, 0.005


class InspectorPage:
    """The page of the inspector that is measured."""

    def __init__(self, port: int, pid: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._pid = pid
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["authorization"] = f"Bearer {_PASSWORD}"

    def await_flow(self, number: int) -> None:
        """Wait until a flow has ended here."""
        url = f"{self._url}/flows/{flow_records.request_id(number)}/response/content.data"
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while len((answer := self._session.get(url, timeout=30)).content) != BODY_BYTES:
            assert answer.status_code in (200, 404) and time.monotonic() < deadline, answer.text
            time.sleep(_PAUSE_SECONDS)

    def is_up(self) -> bool:
        """Tell whether it answers."""
        try:
            return self._session.get(f"{self._url}/state", timeout=5).ok
        except requests.RequestException:
            return False

    def count(self) -> int:
        """Return how many flows it keeps."""
        return len(self._session.get(f"{self._url}/flows", timeout=60).json())

    def memory_mb(self, name: str) -> float:
        """Return its memory: `VmRSS` now, `VmHWM` at most so far."""
        lines = Path(f"/proc/{self._pid}/status").read_text().splitlines()
        [size] = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
        return round(int(size) / 1024, 1)


def measured(count: int) -> dict[str, Any]:
    """Send so many flows through a new inspector; returns the figures."""
    folder = Path(tempfile.mkdtemp(prefix="bench-inspector-"))
    try:
        with management.valkey(folder) as url, _inspector(url, folder) as page:
            empty, began = page.memory_mb("VmRSS"), time.perf_counter()
            _tell(url, count, page)
            seconds = time.perf_counter() - began
            figures: dict[str, float] = {"flows": count, "records": count * RECORDS, "body_bytes": BODY_BYTES}
            figures |= {"flows_per_second": round(count / seconds), "seconds": round(seconds, 1), "empty_mb": empty}
            figures |= {"peak_mb": page.memory_mb("VmHWM"), "kept": page.count()}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"inspector": figures | {"bounded_flows": BOUNDED_FLOWS, "bounded_mb": BOUNDED_MB}}


def _tell(url: str, count: int, page: InspectorPage) -> None:
    client = redis.Redis.from_url(url)
    for first in range(0, count, BATCH):
        numbers = range(first, min(first + BATCH, count))
        entry = flow_schema.encode_batch([record for number in numbers for record in _records(number)])
        client.xadd(FLOWS, {FLOWS_FIELD: entry}, maxlen=MOST_ENTRIES, approximate=False)
        if first >= MOST_UNREAD * BATCH and first % (MOST_UNREAD * BATCH // 2) == 0:
            page.await_flow(first - MOST_UNREAD * BATCH // 2)
    page.await_flow(count - 1)
    client.close()


def _records(number: int) -> Iterator[FlowRecord]:
    body = (b"%020d" % number) * (BODY_BYTES // 20)
    yield flow_records.record(number)
    yield flow_records.streaming(number, body=body[: BODY_BYTES // 2])
    yield flow_records.ended(number, body=body)


@contextmanager
def _inspector(url: str, folder: Path) -> Iterator[InspectorPage]:
    port = free_port()
    hashed = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(_PASSWORD)
    variables = {"REDIS_URL": url, "LLM_PROXY_INSPECTOR_PORT": str(port), "LLM_PROXY_INSPECTOR_PASSWORD": hashed}
    variables |= {"LLM_PROXY_DATA_DIR": str(folder), "LLM_PROXY_INSPECTOR_FLOWS": str(BOUNDED_FLOWS)}
    variables |= {"LLM_PROXY_INSPECTOR_MB": str(BOUNDED_MB), "LLM_PROXY_LOG_LEVEL": "error"}
    with pytest.MonkeyPatch.context() as patch:
        for variable in settings.variables():
            patch.delenv(variable.name, raising=False)
        environment = settings.child_environment(Plane.INSPECTOR, variables)
    process = subprocess.Popen([sys.executable, "-m", "addons.inspection"], env=environment)  # noqa: S603 - our own
    page, deadline = InspectorPage(port, process.pid), time.monotonic() + _START_SECONDS
    try:
        while not page.is_up():
            assert process.poll() is None and time.monotonic() < deadline, "the inspector does not start"
            time.sleep(_PAUSE_SECONDS)
        yield page
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def as_markdown(content: Mapping[str, Any]) -> str:
    """Return the figures as a table."""
    found = content["inspector"]
    rows = [
        ("flows, of three records each", f"{found['flows']:,}"),
        ("body of an answer", f"{found['body_bytes']:,} bytes"),
    ]
    rows += [("flows per second", f"{found['flows_per_second']:,}")]
    rows += [("kept at most", f"{found['bounded_flows']:,} flows, {found['bounded_mb']:,} MB")]
    rows += [("kept in the end", f"{found['kept']:,} flows"), ("memory while empty", f"{found['empty_mb']:g} MB")]
    rows += [("memory at most", f"{found['peak_mb']:g} MB")]
    return "\n".join(["| inspector | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])
