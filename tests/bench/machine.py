"""What the benchmark runs on, and which of its cores do what."""

import os
import platform
import resource
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True)
class Cores:
    """The subject's worker has a core of its own where there are two; everything else shares the other one."""

    worker: frozenset[int]
    rest: frozenset[int]

    def worker_command(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """Return a command that runs on the worker's core."""
        return (*pinned(self.worker), *command)

    def __str__(self) -> str:
        if self.worker == self.rest:
            return f"everything on core {_names(self.rest)}: figures of different subjects disturb each other"
        rest = "load, provider, Valkey, manager and jobs (niced)"
        return f"the subject's worker on core {_names(self.worker)}, {rest} on core {_names(self.rest)}"


def _names(cores: frozenset[int]) -> str:
    return ",".join(map(str, sorted(cores)))


def pinned(cores: frozenset[int]) -> tuple[str, ...]:
    """Return what stands in front of a command that is to run on these cores; its process id stays the same."""
    return ("taskset", "--cpu-list", _names(cores))


def split(available: frozenset[int]) -> Cores:
    """Give the first core to the worker and the next one to everything else."""
    first, *others = sorted(available)
    return Cores(frozenset([first]), frozenset(others[:1] or [first]))


def take_place() -> Cores:
    """Move this process, and what it will start, to the core of everything else."""
    cores = split(frozenset(os.sched_getaffinity(0)))
    os.sched_setaffinity(0, cores.rest)
    return cores


def raise_file_limit(wanted: int) -> None:
    """Let this process and its children open up to `wanted` files, or as many as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, hard), max(wanted, hard)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def file_limit() -> int:
    """Return how many files this process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def facts() -> dict[str, str | int]:
    """Return what a reader of figures wants to know of the machine. Memory is in MB."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "memory_mb": pages >> 20,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "mitmproxy": version("mitmproxy"),
        "uvloop": version("uvloop"),
        "open_files": file_limit(),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
