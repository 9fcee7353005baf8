"""The vocabulary of the API's tests: an app on real stores, an operator who calls it, and what the data plane sees."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import redis
from flask import Flask, g
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from manager.principals import Principal
from shared import limits_schema, models, redis_schema, tokens
from shared.redis_schema import BreakerChange
from tests.manager.conftest import MANAGEMENT_TOKEN, NOBODY, PEPPER, Serve

PROVIDER_KEY = "sk-proj-the-real-provider-key-0123"

# A policy without limits, and the health of what has not failed, as they are shown.
ANYTHING = {"allowed_models": [], "denied_models": [], "denied_parameters": [], "max_values": {}}
# What may be seen of a project's requests unless somebody has said otherwise.
USUAL = {"capture": "metadata", "share": 0.0, "max_body_bytes": 65536, "hidden": [], "json_paths": [], "patterns": []}
WELL = {"state": "ok", "reason": None, "until": None, "openings": 0}
SOON = datetime(2030, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Api:
    """An operator: sends JSON with its token, which is that of management, unless other headers are given."""

    client: FlaskClient
    bearer: str = MANAGEMENT_TOKEN

    def send(self, method: str, path: str, headers: dict[str, str] | None = None, **request: Any) -> TestResponse:
        """Any request; `path` is below /manage."""
        auth = {"authorization": f"Bearer {self.bearer}"}
        return self.client.open(f"/manage/{path}", method=method, headers=auth | (headers or {}), **request)

    def get(self, path: str, **query: Any) -> TestResponse:
        return self.send("GET", path, query_string=query)

    def post(self, path: str, **body: Any) -> TestResponse:
        return self.send("POST", path, json=body)

    def patch(self, path: str, **body: Any) -> TestResponse:
        return self.send("PATCH", path, json=body)

    def put(self, path: str, **body: Any) -> TestResponse:
        return self.send("PUT", path, json=body)

    def delete(self, path: str) -> TestResponse:
        return self.send("DELETE", path)

    def project(self, name: str = "search team", **more: Any) -> dict[str, Any]:
        """A new project."""
        return created(self.post("projects", **{"name": name, "api_key": PROVIDER_KEY, **more}))

    def operator(self, role: str, **more: Any) -> "Api":
        """A new operator, who calls the same service."""
        made = created(self.post("operators", **{"name": f"the {role}", "role": role, **more}))
        return replace(self, bearer=made["token"])

    def token(self, project_id: str, **more: Any) -> dict[str, Any]:
        """A new token."""
        return created(self.post("tokens", **{"project_id": project_id, "expires_in": "PT1H", **more}))


def created(answer: TestResponse) -> dict[str, Any]:
    """What has been made; fails if it has not."""
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json
    return found


def problem(answer: TestResponse) -> tuple[int, str]:
    """Status and code of a problem document; fails if it is none."""
    assert answer.content_type == "application/problem+json", answer.text
    assert answer.json["status"] == answer.status_code
    return answer.status_code, answer.json["code"]


def set_aside(client: redis.Redis, subject: str, reason: str, until: datetime = SOON, openings: int = 1) -> None:
    """Leave a breaker open, as a worker of the data plane does."""
    change = BreakerChange(subject, True, reason, redis_schema.to_ms(until), openings)
    client.hset(redis_schema.BREAKERS, subject, redis_schema.encode_control(change))


def faulty(answer: TestResponse) -> list[str]:
    """The fields that were refused with 422."""
    assert problem(answer) == (422, "invalid"), answer.text
    return sorted(answer.json["errors"])


@dataclass(frozen=True)
class Published:
    """What the data plane reads in Redis."""

    client: redis.Redis

    def project(self, project_id: str) -> models.Project | None:
        """The record of a project, or None."""
        record = self.client.hget(redis_schema.project_key(project_id), "record")
        return None if record is None else msgspec.json.decode(record, type=models.Project)

    def token(self, secret: str) -> dict[str, str]:
        """The record of a token; empty if there is none."""
        found = self.client.hgetall(redis_schema.token_key(tokens.digest(secret, PEPPER.encode())))
        return {name.decode(): value.decode(errors="replace") for name, value in found.items()}

    def limits(self, secret: str) -> tuple[models.Limit, ...]:
        """The limits of a token."""
        digest = tokens.digest(secret, PEPPER.encode())
        return limits_schema.decode_limits(self.client.hget(redis_schema.token_key(digest), "limits"))


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def api(client: FlaskClient) -> Api:
    return Api(client)


@pytest.fixture
def lonely(serve: Serve, database_url: str) -> Api:
    """An operator of the same database whose service cannot reach Redis."""
    return Api(serve(DATABASE_URL=database_url, REDIS_URL=NOBODY).test_client())


@pytest.fixture
def signed_in(app: Flask) -> Iterator[Callable[[Principal], None]]:
    """Makes somebody else send what is sent from now on, whatever token comes with it."""
    hooks: list[Any] = app.before_request_funcs.setdefault(None, [])
    known = list(hooks)

    def sign_in(principal: Principal) -> None:
        hooks[:] = [*known, lambda: setattr(g, "principal", principal)]

    yield sign_in
    hooks[:] = known


@pytest.fixture
def published(redis_client: redis.Redis) -> Published:
    return Published(redis_client)
