"""What a burst costs the subject: processor time, memory, and whether it had its core for itself."""

import time

from tests.bench import processes
from tests.bench.endpoint import Endpoint


class Watch:
    """Looks at an endpoint's processes from now on."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._pids = endpoint.pids
        self._began = time.monotonic()
        self._before = processes.time_of(self._pids)

    def figures(self, each: str, count: int) -> dict[str, float]:
        """Return what was used until now; µs for each of `count` things under the name `each`.

        cpu_share is of one core, wait_share of the time: in that the worker could have gone on, but others ran.
        """
        if not self._pids:
            return {}
        spent, seconds = processes.time_of(self._pids) - self._before, time.monotonic() - self._began
        figures = {"cpu_share": spent.used / seconds, "wait_share": spent.waited / seconds / len(self._pids)}
        figures["rss_mb"] = processes.rss_mb(self._pids)
        return figures | ({each: spent.used / count * 1e6} if count else {})
