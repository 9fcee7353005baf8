"""What processes use, from /proc."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


def rss_mb(pids: Iterable[int]) -> float:
    """Return the memory that processes have in use, in MB (2**20 bytes)."""
    return sum(_rss_kb(pid) for pid in pids) / 1024


def _rss_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


@dataclass(frozen=True)
class Time:
    """Seconds of processor time, and seconds of waiting for a processor that somebody else had."""

    used: float
    waited: float

    def __sub__(self, before: "Time") -> "Time":
        return Time(self.used - before.used, self.waited - before.waited)


def time_of(pids: Iterable[int]) -> Time:
    """Return the time of processes since they were started, with all their threads that run."""
    spent = [_schedule(task) for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
    return Time(sum(used for used, _ in spent) / 1e9, sum(waited for _, waited in spent) / 1e9)


def _schedule(task: Path) -> tuple[int, int]:
    """The scheduler counts in nanoseconds; a thread may end while it is looked at."""
    try:
        used, waited, _ = map(int, (task / "schedstat").read_text().split())
    except FileNotFoundError:
        return 0, 0
    return used, waited


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that still run."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
