"""Rules of the export: every row arrives at least once, in order, at an HTTP collector or in files, secrets kept."""

import json
import resource
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import requests_mock
import sqlalchemy as sa

from manager import audit, db, rollup
from manager.audit_chain import Chain
from manager.export import SETTLED, Export, ExportError, FolderSink, HttpSink, sink_of
from manager.tables import Request
from shared import sealing
from tests.manager.conftest import EVENT, Rows, numbered

COLLECTOR = "https://collector.example.org/in"


class Basket:
    """Takes batches, or refuses them."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, str, list[dict[str, Any]]]] = []
        self.is_away = False

    def deliver(self, kind: str, key: str, lines: bytes) -> None:
        self.batches.append((kind, key, [json.loads(line) for line in lines.splitlines()]))
        if self.is_away:
            raise ExportError("away")

    def ids(self, kind: str = "requests") -> list[Any]:
        name = "request_id" if kind == "requests" else "position"
        return [row[name] for each, _, rows in self.batches if each == kind for row in rows]


@pytest.fixture
def basket() -> Basket:
    return Basket()


@pytest.fixture
def export(sessions: db.Sessions, basket: Basket) -> Export:
    return Export(sessions, basket, batch=3)


def later() -> datetime:
    """When everything that has been recorded is settled."""
    return datetime.now(UTC) + 2 * SETTLED


def record(sessions: db.Sessions, *events: Any) -> None:
    with sessions.begin() as session:
        rollup.record(session, [rollup.request_row(event) for event in events])


def note(sessions: db.Sessions, count: int) -> None:
    with sessions.begin() as session:
        for _ in range(count):
            audit.note(session, datetime.now(UTC), audit.Source("ops"), audit.Action.LOGIN, detail={"name": "Zoë"})


def test_requests_are_shipped_once_in_batches(sessions: db.Sessions, export: Export, basket: Basket) -> None:
    record(sessions, *numbered(7))

    counts = [export.ship(later()), export.ship(later())]

    assert [count["requests"] for count in counts] == [7, 0]
    assert basket.ids() == [f"r{number:05}" for number in range(7)]
    assert [len(rows) for _, _, rows in basket.batches] == [3, 3, 1]
    first = basket.batches[0][2][0]
    assert (first["model"], first["total_tokens"]) == ("gpt-5-mini", 30)
    assert datetime.fromisoformat(first["occurred_at"]) == EVENT.occurred_at


def test_what_was_recorded_just_now_waits(sessions: db.Sessions, export: Export) -> None:
    record(sessions, EVENT)

    assert export.ship(datetime.now(UTC))["requests"] == 0
    assert export.ship(later())["requests"] == 1


def test_what_happened_long_ago_and_is_recorded_late_is_shipped_as_well(
    sessions: db.Sessions, export: Export, basket: Basket
) -> None:
    record(sessions, replace(EVENT, request_id="first"))
    export.ship(later())
    record(sessions, replace(EVENT, request_id="late", occurred_at=EVENT.occurred_at - timedelta(days=3)))

    export.ship(later())

    assert basket.ids() == ["first", "late"]


def test_events_of_the_audit_are_shipped_when_they_are_chained(
    sessions: db.Sessions, export: Export, basket: Basket
) -> None:
    note(sessions, 4)
    before = export.ship(later())["audit"]
    Chain(sessions, sealing.Keyring.parse(f"k1:{sealing.generate_key()}")).extend()

    after = [export.ship(later())["audit"] for _ in range(2)]

    assert (before, after) == (0, [5, 0])
    assert basket.ids("audit") == [1, 2, 3, 4, 5]
    assert basket.batches[0][2][1]["detail"] == {"name": "Zoë"}


def test_a_batch_that_did_not_arrive_is_sent_again_with_the_same_key(
    sessions: db.Sessions, export: Export, basket: Basket
) -> None:
    record(sessions, *numbered(4))
    basket.is_away = True
    with pytest.raises(ExportError):
        export.ship(later())
    basket.is_away = False

    export.ship(later())

    keys = [key for _, key, _ in basket.batches]
    assert keys[0] == keys[1] != keys[2]
    assert basket.ids() == ["r00000", "r00001", "r00002"] * 2 + ["r00003"]


def test_a_batch_that_is_sent_again_is_the_same_whatever_has_come_meanwhile(
    sessions: db.Sessions, export: Export, basket: Basket
) -> None:
    record(sessions, *numbered(2))
    basket.is_away = True
    with pytest.raises(ExportError):
        export.ship(later())
    record(sessions, replace(EVENT, request_id="r9"))
    basket.is_away = False

    count = export.ship(later())["requests"]

    first, again, rest = basket.batches
    assert first == again and rest[1] != first[1]
    assert [row["request_id"] for row in rest[2]] == ["r9"] and count == 3


def test_a_batch_whose_rows_are_gone_is_not_sent_again(sessions: db.Sessions, export: Export, basket: Basket) -> None:
    record(sessions, *numbered(2))
    basket.is_away = True
    with pytest.raises(ExportError):
        export.ship(later())
    with sessions.begin() as session:
        session.execute(sa.delete(Request))
    record(sessions, replace(EVENT, request_id="r9"))
    basket.is_away = False

    for _ in range(2):
        export.ship(later())

    assert basket.ids() == ["r00000", "r00001", "r9"]


def test_a_clock_that_was_years_ahead_parks_nothing(sessions: db.Sessions, export: Export, basket: Basket) -> None:
    record(sessions, replace(EVENT, request_id="ahead"))
    with sessions.begin() as session:
        session.execute(sa.update(Request).values(recorded_at=later() + timedelta(days=3650)))
    export.ship(later() + timedelta(days=3651))
    record(sessions, replace(EVENT, request_id="since"))

    counts = [export.ship(later())["requests"] for _ in range(2)]

    assert (counts, basket.ids()) == ([1, 0], ["ahead", "since"])


def test_rows_of_an_earlier_release_are_left_out(export: Export, rows: Rows) -> None:
    rows.add(Request(**rollup.request_row(EVENT)))

    assert export.ship(later())["requests"] == 0


# Sinks


@pytest.fixture
def web() -> Iterator[requests_mock.Mocker]:
    with requests_mock.Mocker() as mocker:
        yield mocker


def test_a_collector_gets_lines_of_json_and_the_header_that_lets_us_in(web: requests_mock.Mocker) -> None:
    web.post(COLLECTOR, status_code=204)

    HttpSink(COLLECTOR, "Authorization: Bearer the-secret").deliver("audit", "key-1", b'{"a":1}\n')

    [sent] = web.request_history
    assert (sent.body, sent.headers["content-type"]) == (b'{"a":1}\n', "application/x-ndjson")
    assert (sent.headers["authorization"], sent.headers["idempotency-key"]) == ("Bearer the-secret", "key-1")


@pytest.mark.parametrize("status", [302, 400, 429, 500])
def test_any_other_answer_means_that_nothing_has_arrived(web: requests_mock.Mocker, status: int) -> None:
    web.post(COLLECTOR, status_code=status, headers={"location": "https://elsewhere.example.org"})

    with pytest.raises(ExportError, match=str(status)):
        HttpSink(COLLECTOR).deliver("audit", "key-1", b"")
    assert len(web.request_history) == 1


def test_a_collector_that_is_away_is_not_named_with_its_secrets(web: requests_mock.Mocker) -> None:
    web.post(requests_mock.ANY, exc=requests.ConnectionError("https://user:the-secret@collector.example.org"))

    with pytest.raises(ExportError) as failed:
        HttpSink("https://user:the-secret@collector.example.org", "X-Key: the-secret").deliver("audit", "k", b"")
    assert "the-secret" not in str(failed.value)


def test_files_are_appended_to_and_their_owner_s_alone(tmp_path: Path) -> None:
    sink = sink_of(f"file://{tmp_path}/export%20of%20rows")
    assert isinstance(sink, FolderSink)

    sink.deliver("audit", "key-1", b'{"a":1}\n')
    sink.deliver("audit", "key-2", b'{"a":2}\n')

    [file] = (tmp_path / "export of rows").iterdir()
    assert file.name.startswith("audit-") and file.suffix == ".jsonl"
    assert file.read_bytes() == b'{"a":1}\n{"a":2}\n'
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_cannot_be_written_to_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")

    with pytest.raises(ExportError):
        FolderSink(tmp_path / "taken").deliver("audit", "key-1", b"")


@pytest.fixture
def small_disk() -> Iterator[Callable[[int], None]]:
    """Makes files of this process no longer than so many bytes; afterwards they may be as long as before."""
    handler, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda length: resource.setrlimit(resource.RLIMIT_FSIZE, (length, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_what_does_not_fit_on_the_disk_leaves_nothing_of_itself(
    tmp_path: Path, small_disk: Callable[[int], None]
) -> None:
    sink = FolderSink(tmp_path)
    sink.deliver("audit", "key-1", b'{"a":1}\n')
    small_disk(20)

    with pytest.raises(ExportError):
        sink.deliver("audit", "key-2", b'{"a":2}\n{"a":3}\n')

    [file] = tmp_path.iterdir()
    assert file.read_bytes() == b'{"a":1}\n'


def test_a_line_that_a_killed_process_left_half_is_not_written_on(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    sink.deliver("audit", "key-1", b'{"a":1}\n')
    [file] = tmp_path.iterdir()
    file.write_bytes(b'{"a":1}\n{"a":')

    sink.deliver("audit", "key-2", b'{"a":2}\n')

    assert file.read_bytes() == b'{"a":1}\n{"a":\n{"a":2}\n'
