"""Rules of reading logs: the newest lines are found whatever the size, and none is lost while a file changes."""

import io
import json
import os
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager import log_files
from manager.log_files import Line, LogFile, Wanted, backwards, merged, parse

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)


def entry(event: str, seconds: float = 0, level: str = "info", **fields: object) -> str:
    at = (NOON + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    return json.dumps({**fields, "event": event, "level": level, "timestamp": at}) + "\n"


def events(lines: "list[Line]") -> list[str]:
    return [line.event for line in lines]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "proxy.log"


@pytest.fixture
def opened() -> Iterator[Callable[[Path], LogFile]]:
    """Opens files, which are closed at the end."""
    with ExitStack() as held:
        yield lambda path: held.enter_context(closing(LogFile(path)))


# What a line says


def test_a_line_of_ours_tells_all() -> None:
    line = parse("proxy", entry("request", level="warning", status=200).encode())

    assert (line.program, line.at, line.level, line.event, line.fields) == (
        "proxy", NOON, "warning", "request", {"status": 200},
    )  # fmt: skip


def test_valkey_tells_in_its_own_way() -> None:
    line = parse("valkey", b"4242:M 31 Jan 2030 12:00:00.123 # Memory overcommit must be enabled")

    local = datetime(2030, 1, 31, 12, 0, 0, 123_000).astimezone()
    assert (line.at, line.level, line.event) == (local, "warning", "Memory overcommit must be enabled")


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"{}", b'{"timestamp": 1}', b'{"timestamp": "noon"}', b"\xff\xfe", b"1:M nonsense * x"]
)
def test_whatever_else_was_said_is_text(raw: bytes) -> None:
    line = parse("p", raw)

    assert (line.at, line.level, line.event) == (None, "", raw.decode(errors="replace"))


# Backwards


@given(st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1)), st.booleans())
def test_lines_are_read_from_the_end_across_all_blocks(lines: list[str], is_ended: bool) -> None:
    content = "\n".join(lines) + ("\n" if is_ended and lines else "")
    raw = content.encode()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_files, "BLOCK_BYTES", 3)
        found = list(backwards(io.BytesIO(raw), len(raw)))

    assert [each.decode() for each in reversed(found)] == lines


def test_a_large_file_and_a_long_line_take_little_memory(path: Path) -> None:
    with path.open("w") as file:
        for number in range(200_000):
            file.write(entry(f"event {number}", number))
        file.write("x" * (20 << 20) + "\n" + entry("last", 200_001))
    tracemalloc.start()
    try:
        found = LogFile(path).newest(3, Wanted())
        [_, peak] = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert path.stat().st_size > 30 << 20 and peak < 12 << 20
    assert [found[0].event, len(found[1].event), found[2].event] == ["event 199999", 1 << 20, "last"]


# Which lines


def test_the_newest_are_shown_oldest_first(path: Path) -> None:
    path.write_text("".join(entry(str(number), number) for number in range(5)))

    assert events(LogFile(path).newest(2, Wanted())) == ["3", "4"]
    assert LogFile(path).newest(0, Wanted()) == []


def test_what_is_wanted_is_looked_for_as_far_back_as_need_be(path: Path) -> None:
    path.write_text(entry("bad", 0, "error") + "".join(entry(str(number), number) for number in range(1, 500)))

    assert events(LogFile(path).newest(2, Wanted("warning"))) == ["bad"]


def test_a_request_is_followed_through_its_lines(path: Path) -> None:
    path.write_text(entry("a", request_id="r1") + entry("b", request_id="r2") + entry("c", request_id="r1"))

    assert events(LogFile(path).newest(9, Wanted(request_id="r1"))) == ["a", "c"]


def test_times_that_are_a_little_in_disorder_hide_nothing(path: Path) -> None:
    path.write_text(entry("late", 30) + entry("early", -1) + entry("latest", 31))

    assert events(LogFile(path).newest(9, Wanted(since=NOON))) == ["late", "latest"]


def test_a_traceback_is_of_the_time_and_the_severity_of_nobody_knows(path: Path) -> None:
    text = "Traceback (most recent call last):\nValueError: x\n"
    path.write_text(entry("old", -500) + text + entry("new", 1) + text)

    found = LogFile(path).newest(9, Wanted("error", since=NOON))
    assert events(found) == events(LogFile(path).newest(9, Wanted("error"))) == text.splitlines() * 2


def test_lines_of_several_programs_are_in_the_order_of_their_times(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(entry("1", 1) + "of 1\n" + entry("4", 4))
    (tmp_path / "b.log").write_text(entry("2", 2) + entry("3", 3))

    parts = [LogFile(tmp_path / name).newest(9, Wanted()) for name in ("a.log", "b.log")]

    assert events(merged(parts, 3)) == ["2", "3", "4"]
    assert events(merged(parts, 9)) == ["1", "of 1", "2", "3", "4"]


# What comes


def appended(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_what_comes_is_given_once_and_whole(path: Path, opened: Callable[[Path], LogFile]) -> None:
    path.write_text(entry("1") + entry("2")[:10])
    file = opened(path)

    assert events(file.newest(9, Wanted(), is_followed=True)) == ["1"]
    assert events(list(file.coming())) == []
    appended(path, entry("2")[10:] + entry("3") + entry("4")[:-1])
    assert events(list(file.coming())) == ["2", "3"]
    appended(path, "\n")
    assert events(list(file.coming())) == ["4"] and events(list(file.coming())) == []


def test_a_file_that_is_cut_is_read_from_its_beginning(path: Path, opened: Callable[[Path], LogFile]) -> None:
    path.write_text(entry("1") * 3)
    file = opened(path)
    file.newest(9, Wanted(), is_followed=True)

    os.truncate(path, 0)
    appended(path, entry("2"))

    assert events(list(file.coming())) == ["2"]


def test_of_a_file_that_is_moved_away_nothing_is_lost(path: Path, opened: Callable[[Path], LogFile]) -> None:
    path.write_text(entry("1"))
    file = opened(path)
    file.newest(9, Wanted(), is_followed=True)

    appended(path, entry("2"))
    path.rename(path.with_suffix(".1"))
    appended(path.with_suffix(".1"), entry("3"))
    assert events(list(file.coming())) == ["2", "3"]
    appended(path.with_suffix(".1"), entry("4"))
    path.write_text(entry("5"))

    assert events(list(file.coming())) == ["4", "5"]


def test_a_file_that_is_still_to_come_is_waited_for(path: Path, opened: Callable[[Path], LogFile]) -> None:
    file = opened(path)

    assert file.newest(9, Wanted(), is_followed=True) == [] and list(file.coming()) == []
    path.write_text(entry("1"))
    assert events(list(file.coming())) == ["1"]


def test_a_long_line_that_comes_is_cut(path: Path, opened: Callable[[Path], LogFile]) -> None:
    path.write_text("")
    file = opened(path)
    file.newest(9, Wanted(), is_followed=True)
    appended(path, "y" * (3 << 20) + "\n" + entry("after"))

    assert [len(line.event) for line in file.coming()] == [1 << 20, 5]
