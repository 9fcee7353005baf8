"""Where a request comes from when reverse proxies stand in front: whoever called the outermost of them, and how."""

import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Any

_WITH_PORT = re.compile(r"\[([^\[\]]+)\](?::[0-9]{1,5})?|([0-9.]+):[0-9]{1,5}")


class Forwarded:
    """Puts both in the place of the connection's. What stands further left in the headers, anybody may write."""

    def __init__(self, app: Callable[..., Iterable[bytes]], proxies: int) -> None:
        self._app = app
        self._proxies = proxies

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        addresses = environ.get("HTTP_X_FORWARDED_FOR", "").split(",")
        if found := _address(addresses[-self._proxies] if len(addresses) >= self._proxies else ""):
            environ["REMOTE_ADDR"] = found
        # Some proxies add theirs to this one, others replace it.
        schemes = environ.get("HTTP_X_FORWARDED_PROTO", "").split(",")
        scheme = schemes[-min(self._proxies, len(schemes))].strip().lower()
        if scheme in ("http", "https"):
            environ["wsgi.url_scheme"] = scheme
        return self._app(environ, start_response)


def _address(text: str) -> str | None:
    # Some proxies add the port: 192.0.2.7:4711, [2001:db8::7]:4711.
    found = _WITH_PORT.fullmatch(text.strip())
    try:
        return str(ipaddress.ip_address(found[1] or found[2] if found else text.strip()))
    except ValueError:
        return None
