"""Where a request comes from when reverse proxies stand in front: whoever called the outermost of them."""

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any


class Forwarded:
    """Puts that address in the place of the connection's. What stands further left in the header, anybody may write."""

    def __init__(self, app: Callable[..., Iterable[bytes]], proxies: int) -> None:
        self._app = app
        self._proxies = proxies

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        addresses = environ.get("HTTP_X_FORWARDED_FOR", "").split(",")
        if found := _address(addresses[-self._proxies] if len(addresses) >= self._proxies else ""):
            environ["REMOTE_ADDR"] = found
        return self._app(environ, start_response)


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return None
