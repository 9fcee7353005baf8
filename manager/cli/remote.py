"""Asks the management API on behalf of a command, with the token of whoever runs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from manager.cli.endings import Refused, Unreachable, hinted
from shared import settings as environment
from shared.settings import Plane, Settings, SettingsError

if TYPE_CHECKING:
    import requests

SECONDS = 30.0
PAGE = 200
_ADVICE = {
    401: "set LLM_PROXY_OPERATOR_TOKEN to an operator's token, or the management token",
    403: "ask an admin for another role",
    404: "see the ids with `list`",
    412: "it was changed meanwhile: look at it again",
    429: "wait a moment",
    503: "see `llm-proxy status`",
}


class Remote:
    """One management service. Raises UsageError (exit code 2), Unreachable (3) or Refused (4)."""

    def __init__(self, url: str, token: str, session: requests.Session) -> None:
        self.url = url.rstrip("/")
        self._session = session
        self._session.headers["authorization"] = f"Bearer {token}"

    def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send one request and return the JSON of its answer, None if it has no body."""
        answer = self.send(method, path, query, body, headers)
        return answer.json() if answer.content else None

    def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send one request and return its answer, which is none of an error."""
        import requests

        more = {"params": query, "json": body, "headers": headers, "timeout": SECONDS, "allow_redirects": False}
        try:
            answer = self._session.request(method, self.url + path, **more)  # type: ignore[arg-type]
        except requests.Timeout:
            raise Unreachable(hinted(f"{self.url} does not answer.", "is it overloaded?")) from None
        except requests.RequestException:
            raise Unreachable(
                hinted(f"{self.url} cannot be reached.", "start it with `llm-proxy up`, or name another one with --url")
            ) from None
        if answer.status_code >= 300:
            raise refusal_of(answer)
        return answer

    def pages(self, path: str, query: Mapping[str, Any], most: int) -> Iterator[dict[str, Any]]:
        """Give the items of a list, page by page, `most` of them."""
        cursor: str | None = None
        while most > 0:
            page = {**query, "limit": min(PAGE, most)} | ({"cursor": cursor} if cursor else {})
            found = self.ask("GET", path, page)
            items = found["items"][:most]
            yield from items
            most -= len(items)
            cursor = found.get("next_cursor")
            if not cursor:
                return


def refusal_of(answer: requests.Response) -> click.ClickException:
    """Return what an answer says is wrong: the input (422, 400), or whatever else the server has against it."""
    try:
        told = answer.json()
    except ValueError:
        told = {}
    told = told if isinstance(told, dict) else {}
    reason = str(told.get("detail") or told.get("title") or f"answered with {answer.status_code}")
    faults = told.get("errors")
    lines = [reason, *(f"  {name}: {fault}" for name, fault in sorted(_flat(faults)))]
    if answer.status_code in (400, 415, 422):
        return click.UsageError("\n".join(lines))
    return Refused(hinted("\n".join(lines), _ADVICE.get(answer.status_code, "")))


def _flat(faults: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(faults, dict):
        for key, inner in faults.items():
            yield from _flat(inner, f"{name}.{key}" if name and name not in ("json", "query") else str(key))
    elif isinstance(faults, list):
        for inner in faults:
            yield from _flat(inner, name)
    elif faults is not None:
        yield name, str(faults)


def connect(url: str | None = None) -> Remote:
    """Return the management service that `url` names, or the environment, or that of this machine."""
    from manager import local_http

    try:
        settings = environment.load(Plane.CLIENT)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    where = url or settings.manager_url or f"http://127.0.0.1:{settings.manager_port}"
    return Remote(where, _token(settings), local_http.session())


def _token(settings: Settings) -> str:
    """Return the token that is set; on the machine of an installation, the generated one of whoever may read it."""
    from manager import secrets_file

    if settings.operator_token:
        return settings.operator_token
    try:
        known = secrets_file.read(settings.data_dir)
    except (OSError, secrets_file.SecretsFileError) as error:
        known = {} if isinstance(error, FileNotFoundError) else _unreadable(error)
    if token := known.get("MANAGEMENT_TOKEN"):
        return token
    raise click.UsageError(
        hinted("No token is given.", "set LLM_PROXY_OPERATOR_TOKEN, or LLM_PROXY_OPERATOR_TOKEN_FILE to a file with it")
    )


def _unreadable(error: Exception) -> dict[str, str]:
    raise click.UsageError(f"The generated secrets cannot be read: {error}") from None
