"""The inspector's line to the manager's API, always with the token of whoever asks for something."""

import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.simple_httpclient import SimpleAsyncHTTPClient

from shared.settings import Settings

SECONDS = 10.0
MOST_AT_ONCE = 20
MOST_ANSWER = 1 << 20


class Refused(Exception):
    """Something is not done: the status to answer with, why in plain words, and how long to wait, in seconds."""

    def __init__(self, status: int, text: str, wait: int = 0) -> None:
        super().__init__(text)
        self.status, self.text, self.wait = status, text, wait


@dataclass(frozen=True)
class Visitor:
    """Somebody who looks. Without a `token` there is nothing that the manager would do for them."""

    name: str
    may_decide: bool
    token: str = field(default="", repr=False)


class ManagerLine:
    """Asks the manager; a redirection is not followed, for a token would go along."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: AsyncHTTPClient = SimpleAsyncHTTPClient(
            force_instance=True, max_clients=MOST_AT_ONCE, max_buffer_size=MOST_ANSWER
        )

    @property
    def url(self) -> str:
        """Where the manager is."""
        return self._url

    async def open(self, token: str) -> Visitor:
        """Say who has a token. Raises Refused: 401 nobody, 403 somebody who may not look, 429, 502."""
        told = await self._ask("POST", "/manage/inspector/sessions", token, {})
        if told.get("sees_everything") is not True:
            raise Refused(403, "mitmweb shows the flows of all projects, and you may see those of some only.")
        return Visitor(str(told.get("name", "")), told.get("may_decide") is True, token)

    async def confirm(self, token: str) -> None:
        """Raise Refused unless a token is still one of somebody who sees everything."""
        told = await self._ask("GET", "/manage/me", token)
        if told.get("project_ids") is not None:
            raise Refused(403, "You may no longer see the flows of all projects.")

    async def resume(self, token: str, request_id: str, reason: str, body: str | None) -> None:
        """Let a held request go on, perhaps with another body. Raises Refused."""
        asked = {"reason": reason} if body is None else {"reason": reason, "body": body}
        await self._ask("POST", f"/manage/live/{quote(request_id, safe='')}/resume", token, asked)

    async def refuse(self, token: str, request_id: str, reason: str) -> None:
        """Refuse a held request. Raises Refused."""
        await self._ask("POST", f"/manage/live/{quote(request_id, safe='')}/refuse", token, {"reason": reason})

    async def cut(self, token: str, request_id: str, reason: str) -> None:
        """End a request that is in flight. Raises Refused."""
        await self._ask("POST", f"/manage/live/{quote(request_id, safe='')}/cut", token, {"reason": reason})

    async def read(self, token: str, request_ids: Sequence[str]) -> None:
        """Have it written down whose bodies somebody has seen. Raises Refused."""
        await self._ask("POST", "/manage/inspector/readings", token, {"request_ids": list(request_ids)})

    async def saved(self, token: str, count: int) -> None:
        """Have it written down that somebody takes so many flows away. Raises Refused."""
        await self._ask("POST", "/manage/inspector/readings", token, {"saved": count})

    async def _ask(
        self, method: str, path: str, token: str, body: Mapping[str, object] | None = None
    ) -> dict[str, object]:
        request = HTTPRequest(
            self._url + path,
            method=method,
            headers={"authorization": f"Bearer {token}", "content-type": "application/json"},
            body=None if body is None else json.dumps(body),
            connect_timeout=SECONDS / 2,
            request_timeout=SECONDS,
            follow_redirects=False,
        )
        try:
            answer = await self._client.fetch(request, raise_error=False)
        except (HTTPClientError, OSError, ValueError):
            raise _AWAY from None
        if answer.code in (200, 202, 204):
            return _object(answer.body)
        raise _refusal(answer.code, _object(answer.body), answer.headers.get("retry-after", ""))

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


def manager_url(settings: Settings) -> str:
    """Return where the manager is: where browsers reach it, or else its port on this machine."""
    return settings.manager_url or f"http://{_reached(settings.listen_host)}:{settings.manager_port}"


_AWAY = Refused(502, "The manager does not answer; try again when it does.")


def _refusal(status: int, told: Mapping[str, object], retry_after: str) -> Refused:
    if status == 599 or status >= 500 or 300 <= status < 400:
        return _AWAY
    text = str(told.get("detail") or f"The manager says {status}.")
    errors = told.get("errors")
    faults = [f"{name}: {reasons}" for name, reasons in errors.items()] if isinstance(errors, dict) else []
    wait = int(retry_after) if retry_after.isascii() and retry_after.isdecimal() else 0
    return Refused(status, " ".join([text, *faults]), wait)


def _object(body: bytes) -> dict[str, object]:
    try:
        told = json.loads(body or b"{}")
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _reached(listen_host: str) -> str:
    try:
        address = ipaddress.ip_address(listen_host)
    except ValueError:
        return listen_host or "127.0.0.1"
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return f"[{address}]" if address.version == 6 else str(address)
