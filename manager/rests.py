"""How an answer that goes on and on waits between its parts: others are served meanwhile, and it is told of the end."""

import time
from collections.abc import Callable, Mapping
from typing import Any

KEY = "llm_proxy.rest"

# Waits some seconds, and tells whether the server goes on serving.
type Rest = Callable[[float], bool]


def rest_of(environ: Mapping[str, Any]) -> Rest:
    """Return how the server of a request wants it to wait; see manager/wsgi_worker.py."""
    found: Rest = environ.get(KEY, _sleep)
    return found


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return True
