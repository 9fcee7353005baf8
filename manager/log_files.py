"""The log files of a machine's programs: their newest lines, and those that come, in bounded memory.

Lines are JSON objects as shared/logs.py writes them, or whatever else a program has said.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

BLOCK_BYTES = 1 << 16
# Of a longer line there is only the beginning.
LONGEST_BYTES = 1 << 20
LEVELS = ("debug", "info", "warning", "error", "critical")
# Processes that share a file write their lines in nearly, not exactly, the order of their times.
_DISORDER = timedelta(minutes=1)
# Valkey says `4242:M 01 Dec 2026 03:05:36.123 * Ready`, in local time.
_VALKEY = re.compile(r"^\d+:[A-Z] (\d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3}) ([.\-*#]) (.*)$")
_VALKEY_LEVELS = {".": "debug", "-": "info", "*": "info", "#": "warning"}


@dataclass(frozen=True)
class Line:
    """One line. `at` and `level` are None and empty where it does not say; `fields` is what else it says."""

    program: str
    raw: str
    at: datetime | None
    level: str
    event: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """Which lines are wanted. Those that tell no level may be of any."""

    level: str = "debug"
    request_id: str = ""
    since: datetime | None = None

    def fits(self, line: Line) -> bool:
        """Tell whether a line is wanted, as far as it says."""
        is_severe = not line.level or _rank(line.level) >= _rank(self.level)
        is_late = self.since is None or line.at is None or line.at >= self.since
        return is_severe and is_late and self.request_id in line.raw

    def is_before(self, line: Line) -> bool:
        """Tell whether no line in front of this one is late enough."""
        return self.since is not None and line.at is not None and line.at < self.since - _DISORDER


class LogFile:
    """One program's log. It may be cut, or another one may take its place, at any time."""

    def __init__(self, path: Path) -> None:
        self.program = path.stem
        self._path = path
        self._file: IO[bytes] | None = None
        self._rest = b""

    def newest(self, count: int, wanted: Wanted, *, is_followed: bool = False) -> list[Line]:
        """Return the last `count` lines that are wanted, oldest first; `coming` goes on behind them if followed."""
        self._open()
        if self._file is None:
            return []
        size = self._file.seek(0, os.SEEK_END)
        found: list[Line] = []
        blocks = backwards(self._file, size)
        if is_followed and _last_byte(self._file, size) not in (b"", b"\n"):
            self._rest = next(blocks)  # It is being written.
        for raw in blocks:
            line = parse(self.program, raw)
            if len(found) >= count or wanted.is_before(line):
                break
            if wanted.fits(line):
                found.append(line)
        self._file.seek(size)
        if not is_followed:
            self.close()
        return [line for line in dated(reversed(found)) if wanted.fits(line)]

    def coming(self) -> Iterator[Line]:
        """Give the lines that have come since the last time."""
        self._open()
        while self._file is not None:
            if os.fstat(self._file.fileno()).st_size < self._file.tell():
                self._file.seek(0)
                self._rest = b""
            while block := self._file.read(BLOCK_BYTES):
                *lines, self._rest = (self._rest + block).split(b"\n")
                self._rest = self._rest[:LONGEST_BYTES]
                yield from (parse(self.program, raw) for raw in lines if raw.strip())
            if not self._is_replaced():
                return
            self.close()
            self._open()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file, self._rest = None, b""

    def _open(self) -> None:
        if self._file is None:
            with suppress(FileNotFoundError):
                self._file = self._path.open("rb")

    def _is_replaced(self) -> bool:
        try:
            return self._file is not None and not os.path.samestat(os.fstat(self._file.fileno()), self._path.stat())
        except FileNotFoundError:  # Its next one is still to come.
            return False


def parse(program: str, raw: bytes) -> Line:
    """Return what a line says."""
    text = raw[:LONGEST_BYTES].decode(errors="replace").rstrip("\r\n")
    if text.startswith("{"):
        with suppress(ValueError, TypeError, KeyError):
            told = dict(json.loads(text))
            at = datetime.fromisoformat(told.pop("timestamp"))
            return Line(program, text, _aware(at), str(told.pop("level", "")), str(told.pop("event", "")), told)
    if found := _VALKEY.match(text):
        with suppress(ValueError):
            at = datetime.strptime(found[1], "%d %b %Y %H:%M:%S.%f").astimezone()
            return Line(program, text, at.astimezone(UTC), _VALKEY_LEVELS[found[2]], found[3])
    return Line(program, text, None, "", text)


def dated(lines: Iterable[Line]) -> Iterator[Line]:
    """Give lines with those that tell no time, as those of a traceback, at the time of the one before."""
    at = None
    for line in lines:
        at = line.at or at
        yield line if line.at else replace(line, at=at)


def merged(parts: Iterable[list[Line]], count: int) -> list[Line]:
    """Return the last lines of several files by their times; each file's stay in their order."""
    first = datetime.min.replace(tzinfo=UTC)
    every = [line for lines in parts for line in lines]
    return sorted(every, key=lambda line: line.at or first)[-count:]


def backwards(file: IO[bytes], end: int) -> Iterator[bytes]:
    """Give the lines before a position, last one first, but for empty ones."""
    rest = b""
    while end > 0:
        begin = max(0, end - BLOCK_BYTES)
        file.seek(begin)
        first, *lines = (file.read(end - begin) + rest).split(b"\n")
        yield from (line for line in reversed(lines) if line)
        rest, end = first[:LONGEST_BYTES], begin
    if rest:
        yield rest


def _last_byte(file: IO[bytes], size: int) -> bytes:
    file.seek(max(0, size - 1))
    return file.read(1)


def _rank(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else len(LEVELS)


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
