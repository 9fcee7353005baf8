"""Requests to an OpenID Connect issuer: over TLS or on loopback, for JSON of a bounded size, and no redirects."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus, urlsplit

import requests
from requests.auth import AuthBase, HTTPBasicAuth

FETCH_SECONDS = 5.0
MOST_BYTES = 1 << 20


def checked(url: str) -> str:
    """Return an address of the issuer's. Raises ValueError if what is sent there could be read on the way."""
    parts = urlsplit(url)
    is_near = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
    if not (parts.hostname and (parts.scheme == "https" or is_near)):
        raise ValueError("an address of the issuer's is neither https nor on loopback")
    return url


def get(url: str) -> dict[str, Any]:
    """Return the JSON object at an address. Raises requests.RequestException, ValueError."""
    status, found = _send("GET", url)
    if status != 200:
        raise ValueError(f"the issuer answered {status}")
    if found is None:
        raise ValueError("the issuer's answer is no JSON object, or too large")
    return found


def post(url: str, form: Mapping[str, str], login: tuple[str, str] | None) -> tuple[int, dict[str, Any]]:
    """Return the status and the JSON object that answer a form, empty if there is none; `login` is name and password.

    Raises requests.RequestException, ValueError.
    """
    status, found = _send("POST", url, data=form, auth=_Nobody() if login is None else _basic(*login))
    return status, found or {}


class _Nobody(AuthBase):
    """Keeps requests from looking for a login of its own accord, in a .netrc."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


def _basic(name: str, password: str) -> HTTPBasicAuth:
    # Encoded as in forms first: RFC 6749, 2.3.1.
    return HTTPBasicAuth(quote_plus(name), quote_plus(password))


def _send(method: str, url: str, **more: Any) -> tuple[int, dict[str, Any] | None]:
    headers = {"accept": "application/json"}
    with requests.request(
        method, checked(url), headers=headers, timeout=FETCH_SECONDS, allow_redirects=False, stream=True, **more
    ) as answer:
        return answer.status_code, _object(answer)


def _object(answer: requests.Response) -> dict[str, Any] | None:
    body = b""
    for chunk in answer.iter_content(1 << 16):
        body += chunk
        if len(body) > MOST_BYTES:
            return None
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
