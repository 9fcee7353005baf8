"""/manage/v1 is /manage: the path that stays as it is when another version follows."""

from collections.abc import Iterable
from typing import Any

PREFIX = "/manage"
CURRENT = "/manage/v1"


class Versions:
    """Lets an app see the path without its version, before it is routed or guarded."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request."""
        path = environ.get("PATH_INFO", "")
        if path == CURRENT or path.startswith(f"{CURRENT}/"):
            environ = {**environ, "PATH_INFO": PREFIX + path.removeprefix(CURRENT)}
        found: Iterable[bytes] = self._app(environ, start_response)
        return found
