"""The demo: what an operator and an application do, done once, on the running product.

It makes a project and a token through the management API, sends a streamed chat through the proxy, and waits until
the request's usage has arrived in SQL.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import requests

from manager import local_http
from shared import tokens

PROMPT = "Say hello to the withering token."
USAGE_SECONDS = 15.0


class DemoError(Exception):
    """A step of the demo failed; the message says which and what the server said."""


@dataclass(frozen=True)
class Target:
    """Where the demo's project sends its requests. `seen_keys` returns the masked keys that the provider was shown."""

    name: str
    api_key: str
    base_url: str
    model: str
    seen_keys: Callable[[], list[str]] | None = None


@dataclass(frozen=True)
class Report:
    """What the demo saw. `provider_saw_key` is the mask of the key that reached the provider, None if it can't tell."""

    reply: str
    streamed_chunks: int
    usage: dict[str, int | None]
    request_count: int
    provider_saw_key: str | None
    first_byte_ms: float

    def to_json(self) -> str:
        """Return the report as one line."""
        return json.dumps(asdict(self), ensure_ascii=False)


class Demo:
    """Speaks HTTP only, like any application: `manager_url` and `proxy_url` are origins without a trailing slash."""

    def __init__(
        self, manager_url: str, proxy_url: str, management_token: str, usage_seconds: float = USAGE_SECONDS
    ) -> None:
        self._manager_url = manager_url
        self._proxy_url = proxy_url
        self._usage_seconds = usage_seconds
        self._operator, self._application = local_http.session(), local_http.session()
        self._operator.headers["authorization"] = f"Bearer {management_token}"

    def run(self, target: Target) -> Report:
        """Do it all. Raises DemoError."""
        project_id = self._project(target)
        created = self._manage("POST", "/manage/tokens", project_id=project_id, expires_in="PT1H", label="demo")
        request_id, pieces, first_byte_ms = self._chat(created["token"], target.model)
        usage = self._await_usage(created["id"], request_id)
        return Report(
            reply="".join(pieces),
            streamed_chunks=len(pieces),
            usage={name: usage[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")},
            request_count=self._manage("GET", f"/manage/tokens/{created['id']}")["request_count"],
            provider_saw_key=_provider_saw(target),
            first_byte_ms=first_byte_ms,
        )

    def _project(self, target: Target) -> str:
        for project in self._projects():
            if project["name"] == target.name:
                path = f"/manage/projects/{project['id']}"
                changes = {"base_url": target.base_url, "api_key": target.api_key, "is_active": True}
                return str(self._manage("PATCH", path, **changes)["id"])
        body = {"name": target.name, "api_key": target.api_key, "base_url": target.base_url}
        return str(self._manage("POST", "/manage/projects", **body)["id"])

    def _projects(self) -> Iterator[dict[str, Any]]:
        cursor = ""
        while True:
            page = self._manage("GET", f"/manage/projects?limit=200{cursor}")
            yield from page["items"]
            if page["next_cursor"] is None:
                return
            cursor = f"&cursor={page['next_cursor']}"

    def _chat(self, token: str, model: str) -> tuple[str, list[str], float]:
        body = {"model": model, "stream": True, "stream_options": {"include_usage": True}}
        body["messages"] = [{"role": "user", "content": PROMPT}]
        started, first_byte_ms, pieces = time.perf_counter(), 0.0, []
        url, headers = f"{self._proxy_url}/v1/chat/completions", {"authorization": f"Bearer {token}"}
        with self._application.post(url, json=body, headers=headers, stream=True, timeout=60) as response:
            _check(response, "the streamed chat")
            for line in response.iter_lines(chunk_size=1):
                first_byte_ms = first_byte_ms or (time.perf_counter() - started) * 1000
                if piece := _content(line):
                    pieces.append(piece)
            return response.headers["x-llm-proxy-request-id"], pieces, round(first_byte_ms, 2)

    def _await_usage(self, token_id: str, request_id: str) -> dict[str, Any]:
        deadline = time.monotonic() + self._usage_seconds
        while time.monotonic() < deadline:
            for row in self._manage("GET", f"/manage/requests?token_id={token_id}")["items"]:
                if row["request_id"] == request_id:
                    return dict(row)
            time.sleep(0.05)
        raise DemoError(f"the usage of request {request_id} has not arrived within {self._usage_seconds} s")

    def _manage(self, method: str, path: str, **body: object) -> dict[str, Any]:
        response = self._operator.request(method, self._manager_url + path, json=body or None, timeout=30)
        _check(response, f"{method} {path}")
        return dict(response.json())


def _check(response: requests.Response, step: str) -> None:
    if not response.ok:
        raise DemoError(f"{step} was answered {response.status_code}: {response.text[:500]}")


def _content(line: bytes) -> str:
    if not line.startswith(b"data: {"):
        return ""
    choices = json.loads(line.removeprefix(b"data: ")).get("choices") or [{}]
    return str(choices[0].get("delta", {}).get("content") or "")


def _provider_saw(target: Target) -> str | None:
    if target.seen_keys is None:
        return None
    if target.seen_keys() != [tokens.mask(target.api_key)]:
        raise DemoError("the provider was shown another key than the project's")
    return tokens.mask(target.api_key)
