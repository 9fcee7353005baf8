"""A manager in a process of its own that dies, as by `kill -9`, at a point that the tests name.

Points are the moments before each statement that writes and each commit, before and after each word to Redis, and
before its own answer: what lies between two of them changes nothing that is kept. Requests come as lines of JSON; each
is served by a fork of this process, so that it starts fresh and quickly. The product knows nothing of all this.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import redis.connection
import sqlalchemy as sa

from manager import create_app
from shared.settings import Plane, load


class Points:
    """Counts points, and ends the process at the one with this number (None: at none)."""

    def __init__(self, last: int | None) -> None:
        self.count = 0
        self._last = last

    def reach(self, *_: Any) -> None:
        self.count += 1
        if self.count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        """Have SQLAlchemy and the Redis client tell."""
        sa.event.listen(sa.Engine, "before_cursor_execute", self._execute)
        sa.event.listen(sa.Engine, "commit", self.reach)
        connection: Any = redis.connection.AbstractConnection
        connection.send_packed_command = self._around(connection.send_packed_command)

    def _execute(self, _: Any, __: Any, statement: str, *___: Any) -> None:
        if statement.startswith(("INSERT", "UPDATE", "DELETE")):
            self.reach()

    def _around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **options: Any) -> Any:
            self.reach()
            result = call(*arguments, **options)
            self.reach()
            return result

        return called


def answer(app: Any, wanted: dict[str, Any]) -> None:
    """Serve one request; print its status and how many points there were."""
    points = Points(wanted["kill_at"])
    points.watch()
    headers = {"authorization": f"Bearer {os.environ['MANAGEMENT_TOKEN']}"}  # noqa: TID251 - what the test has set
    path = f"/manage/{wanted['path']}"
    response = app.test_client().open(path, method=wanted["method"], json=wanted["body"], headers=headers)
    points.reach()
    print(json.dumps({"status": response.status_code, "points": points.count}), flush=True)


def main() -> None:
    """Serve until there are no more requests."""
    app = create_app(load(Plane.CONTROL))
    app.extensions["llm_proxy"].engine.dispose()
    app.extensions["llm_proxy"].redis.connection_pool.disconnect()
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            answer(app, json.loads(line))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            print(json.dumps({"killed_by": os.WTERMSIG(status)}), flush=True)


if __name__ == "__main__":
    main()
