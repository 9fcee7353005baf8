"""The manager's API as far as the inspector uses it, written by hand."""

import json
from typing import Any

import tornado.httpserver
import tornado.web

OPERATOR = "operator-0123456789-abcdefghijklmnop"
AUDITOR = "auditor-0123456789-abcdefghijklmnopq"
PARTIAL = "partial-0123456789-abcdefghijklmnopq"


class FakeManager:
    """Knows some tokens, and remembers what it was asked; `answers` are given instead, by the end of the path."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.people: dict[str, dict[str, Any]] = {
            OPERATOR: {"name": "ada", "role": "operator", "sees_everything": True, "may_decide": True},
            AUDITOR: {"name": "bob", "role": "auditor", "sees_everything": True, "may_decide": False},
            PARTIAL: {"name": "eve", "role": "operator", "sees_everything": False, "may_decide": True},
        }
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.answers: dict[str, tuple[int, dict[str, Any]]] = {}
        application = tornado.web.Application([(r"(/.*)", _Handler, {"manager": self})], log_function=lambda _: None)
        self._server = tornado.httpserver.HTTPServer(application)
        self._server.listen(port, "127.0.0.1")

    def opened(self) -> int:
        """How often somebody came in, or tried to."""
        return sum(path == "/manage/inspector/sessions" for _, path, _ in self.asked)

    def done(self) -> list[tuple[str, dict[str, Any]]]:
        """What was done to requests, and how."""
        return [(path.removeprefix("/manage/live/"), body) for _, path, body in self.asked if "/live/" in path]

    def told(self) -> list[tuple[str, dict[str, Any]]]:
        """By whom (their token) what was looked at or saved."""
        return [(token, body) for token, path, body in self.asked if path == "/manage/inspector/readings"]

    async def close(self) -> None:
        self._server.stop()
        await self._server.close_all_connections()


class _Handler(tornado.web.RequestHandler):
    def initialize(self, manager: FakeManager) -> None:
        self.manager = manager

    def get(self, path: str) -> None:
        self._answer(path)

    def post(self, path: str) -> None:
        self._answer(path)

    def _answer(self, path: str) -> None:
        token = self.request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.manager.asked.append((token, path, json.loads(self.request.body or b"{}")))
        known = self.manager.people.get(token)
        given = next((each for end, each in self.manager.answers.items() if path.endswith(end)), None)
        if known is None:
            self._say(401, {"detail": "This is no token."})
        elif given is not None:
            self._say(*given)
        elif path == "/manage/inspector/sessions":
            self._say(200, known)
        elif path == "/manage/me":
            self._say(200, {"project_ids": None if known["sees_everything"] else ["p"]})
        else:
            self._say(202, {})

    def _say(self, status: int, told: dict[str, Any]) -> None:
        self.set_status(status)
        self.set_header("Retry-After", "7")
        self.write(told)
