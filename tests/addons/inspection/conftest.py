"""A whole inspector on a free port, with a real Valkey and a manager written by hand."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

import argon2
import pytest
import redis
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from tornado.websocket import WebSocketClientConnection, websocket_connect

from addons.inspection.master import InspectorMaster
from shared import settings
from shared.settings import Plane
from tests.addons.inspection.fake_manager import OPERATOR, FakeManager
from tests.ports import free_port

PASSWORD = "for your eyes only"
HASH = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)


async def until[T](condition: Callable[[], T], seconds: float = 10.0) -> T:
    """Wait until a condition holds and return what it gave; fail after a bounded time."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not (found := condition()):
        assert asyncio.get_running_loop().time() < deadline, f"still not so after {seconds} s"
        await asyncio.sleep(0.01)
    return found


@dataclass
class Page:
    """The page as a browser or a script has it."""

    url: str
    master: InspectorMaster
    client: AsyncHTTPClient
    cookies: SimpleCookie

    async def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> HTTPResponse:
        """Send a request with the cookies of this browser, and keep those that come back."""
        sent = {"Cookie": "; ".join(f"{name}={cookie.value}" for name, cookie in self.cookies.items())}
        if method not in ("GET", "HEAD") and "_mitmproxy_xsrf" in self.cookies:
            sent["X-XSRFToken"] = self.cookies["_mitmproxy_xsrf"].value
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = HTTPRequest(
            self.url + path, method, sent | named, body, follow_redirects=False, allow_nonstandard_methods=True
        )
        answer = await self.client.fetch(request, raise_error=False)
        for cookie in answer.headers.get_list("Set-Cookie"):
            self.cookies.load(cookie)
        return answer

    async def get(self, path: str, **headers: str) -> HTTPResponse:
        return await self.send("GET", path, None, **headers)

    async def json(self, path: str, **headers: str) -> Any:
        answer = await self.get(path, **headers)
        assert answer.code == 200, answer.body
        return json.loads(answer.body)

    async def do(self, method: str, path: str, wanted: object = None) -> HTTPResponse:
        """Do something as the page does."""
        return await self.send(method, path, json.dumps(wanted).encode(), Content_Type="application/json")

    async def sign_in(self, secret: str = OPERATOR) -> HTTPResponse:
        """Fill in the form."""
        await self.get("/")
        form = {"token": secret, "_xsrf": self.cookies["_mitmproxy_xsrf"].value}
        return await self.send("POST", "/", urlencode(form).encode())

    async def flows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.json("/flows")
        return found

    async def flow(self, condition: Callable[[dict[str, Any]], bool] = lambda flow: True) -> dict[str, Any]:
        """Wait until one flow is so, and return it."""
        for _ in range(500):
            for flow in await self.flows():
                if condition(flow):
                    return flow
            await asyncio.sleep(0.01)
        raise AssertionError(await self.flows())

    async def watch(self, **headers: str) -> WebSocketClientConnection:
        """Open the WebSocket of the page."""
        cookie = "; ".join(f"{name}={each.value}" for name, each in self.cookies.items())
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = self.url.replace("http", "ws", 1) + "/updates"
        return await websocket_connect(HTTPRequest(url, headers={"Cookie": cookie, "Origin": self.url} | named))

    async def watch_without_reading(self) -> socket.socket:
        """Open it as well, and take nothing of what comes."""
        port = int(self.url.rpartition(":")[2])
        cookie = "; ".join(f"{name}={each.value}" for name, each in self.cookies.items())
        lines = ["GET /updates HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Cookie: {cookie}", "Upgrade: websocket"]
        lines += ["Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
        opened = socket.socket()
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        opened.connect(("127.0.0.1", port))
        opened.sendall("\r\n".join([*lines, "", ""]).encode())
        return opened


type Start = Callable[..., Any]


@pytest.fixture
async def manager() -> AsyncIterator[FakeManager]:
    made = FakeManager(free_port())
    yield made
    await made.close()


@pytest.fixture
async def start(
    monkeypatch: pytest.MonkeyPatch, valkey_url: str, redis_client: redis.Redis, manager: FakeManager
) -> AsyncIterator[Start]:
    """Starts an inspector with some variables."""
    running: list[tuple[InspectorMaster, AsyncHTTPClient]] = []

    async def make(**variables: str) -> Page:
        for variable in settings.variables():
            monkeypatch.delenv(variable.name, raising=False)
        port = free_port()
        given = {"REDIS_URL": valkey_url, "LLM_PROXY_MANAGER_URL": manager.url}
        for name, value in (given | {"LLM_PROXY_INSPECTOR_PORT": str(port)} | variables).items():
            monkeypatch.setenv(name, value)
        master = InspectorMaster(settings.load(Plane.INSPECTOR))
        await master.running()
        client = SimpleAsyncHTTPClient(force_instance=True)
        running.append((master, client))
        return Page(f"http://127.0.0.1:{port}", master, client, SimpleCookie())

    yield make
    for master, client in running:
        client.close()
        await master.done()


@pytest.fixture
async def page(start: Start) -> Page:
    """An inspector that nobody has come into."""
    made: Page = await start()
    return made


@pytest.fixture
async def operator(page: Page) -> Page:
    """The same, as an operator sees it."""
    await page.sign_in()
    return page
