"""The manager is killed at every point of every change: then SQL and Redis agree within one round of healing."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import UUID

import pytest
import redis
import sqlalchemy as sa
from flask import Flask

from manager import db
from manager.jobs import heal
from manager.publisher import Publisher
from manager.reconcile import Reconciler
from manager.tables import Project, Token
from shared import redis_schema, settings, tokens
from shared.models import Caller
from tests.manager.api.conftest import Api
from tests.manager.conftest import MANAGEMENT_TOKEN, PEPPER

_numbers = count()


@dataclass(frozen=True)
class World:
    """A project with two keys and two tokens, as they are before the change."""

    project: dict[str, Any]
    keys: list[dict[str, Any]]
    tokens: list[dict[str, Any]]


@dataclass(frozen=True)
class Operation:
    """A change: method, path and body, what goes before it, and whether a secret that ends may work until it heals."""

    method: str
    path: Callable[[World], str]
    body: Callable[[World], dict[str, Any] | None] = lambda _: None
    before: Callable[[Api, World], object] = lambda _, __: None
    ends: bool = False
    is_of_world: bool = True


def project(world: World) -> str:
    return f"projects/{world.project['id']}"


def token(world: World) -> str:
    return f"tokens/{world.tokens[0]['id']}"


def key(world: World) -> str:
    return f"{project(world)}/keys/{world.keys[0]['id']}"


def new_project(_: World) -> dict[str, Any]:
    return {"name": f"new {next(_numbers)}", "api_key": "sk-proj-another-provider-key-01"}


def limits() -> list[dict[str, Any]]:
    return [{"measure": "requests", "window": "day", "amount": 5 + next(_numbers)}]


LIFE = {"expires_in": "PT1H"}
OPERATIONS = {
    "project create": Operation("POST", lambda _: "projects", new_project, is_of_world=False),
    "project update": Operation("PATCH", project, lambda _: {"name": f"other {next(_numbers)}", "limits": limits()}),
    "project deactivate": Operation("PATCH", project, lambda _: {"is_active": False}, ends=True),
    "project origins": Operation("PATCH", project, lambda _: {"cors_origins": ["https://a.example.org"]}),
    "project delete": Operation("DELETE", project, ends=True),
    "project purge": Operation(
        "DELETE", lambda w: f"{project(w)}?purge=true", before=lambda api, w: api.delete(project(w)), ends=True
    ),
    "tokens of a project": Operation("POST", lambda w: f"{project(w)}/tokens/revoke", lambda _: {}, ends=True),
    "key add": Operation("POST", lambda w: f"{project(w)}/keys", lambda _: {"api_key": "sk-proj-one-more-key-012345"}),
    "key rotate": Operation("PATCH", key, lambda _: {"api_key": "sk-proj-rotated-key-0123456789"}),
    "key switch off": Operation("PATCH", key, lambda _: {"is_active": False}),
    "key delete": Operation("DELETE", key),
    "token create": Operation("POST", lambda _: "tokens", lambda w: {"project_id": w.project["id"], **LIFE}),
    "token update": Operation("PATCH", token, lambda _: {"max_requests": 3, "label": "new", **LIFE}),
    "token revoke": Operation("DELETE", token, ends=True),
    "token refresh": Operation("POST", lambda w: f"{token(w)}/refresh", lambda _: {}, ends=True),
    "token refresh with grace": Operation("POST", lambda w: f"{token(w)}/refresh", lambda _: {"grace": "PT1H"}),
    "tokens create": Operation(
        "POST", lambda _: "tokens/batch", lambda w: {"project_id": w.project["id"], "count": 3, **LIFE}
    ),
    "tokens revoke": Operation(
        "POST", lambda _: "tokens/revoke", lambda w: {"ids": [each["id"] for each in w.tokens]}, ends=True
    ),
    "limits of all": Operation("PUT", lambda _: "limits", lambda _: {"limits": limits()}, is_of_world=False),
    "price": Operation(
        "PUT",
        lambda _: "prices",
        lambda _: {"provider": "openai", "model": "m", "prompt": f"0.{next(_numbers) + 1}"},
        is_of_world=False,
    ),
}


class Crasher:
    """Sends requests to a manager that may be killed over them."""

    def __init__(self, database_url: str, valkey_url: str, encryption_key: str) -> None:
        variables = {"DATABASE_URL": database_url, "REDIS_URL": valkey_url, "MANAGEMENT_TOKEN": MANAGEMENT_TOKEN}
        variables |= {"TOKEN_PEPPER": PEPPER, "ENCRYPTION_KEYS": f"k1:{encryption_key}"}
        command = [sys.executable, "-m", "tests.manager.crash_child"]
        environment = settings.child_environment(None, variables)
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(command, env=environment, **pipes)

    def send(self, operation: Operation, world: World, kill_at: int | None = None) -> dict[str, Any]:
        wanted = {"method": operation.method, "path": operation.path(world), "body": operation.body(world)}
        assert self._process.stdin and self._process.stdout
        print(json.dumps(wanted | {"kill_at": kill_at}), file=self._process.stdin, flush=True)
        answered: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answered

    def end(self) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(10)


@pytest.fixture(scope="session")
def crashers(valkey_url: str, encryption_key: str) -> Iterator[Callable[[str], Crasher]]:
    """Gives the one of a database, which serves all tests since each of its requests is a fresh process."""
    made: dict[str, Crasher] = {}

    def give(database_url: str) -> Crasher:
        if database_url not in made:
            made[database_url] = Crasher(database_url, valkey_url, encryption_key)
        return made[database_url]

    yield give
    for each in made.values():
        each.end()


@pytest.fixture
def crasher(app: Flask, crashers: Callable[[str], Crasher], database_url: str) -> Crasher:
    return crashers(database_url)


def make(api: Api, operation: Operation) -> World:
    made = api.project(f"search team {next(_numbers)}")
    api.post(f"projects/{made['id']}/keys", api_key="sk-proj-the-second-provider-key")
    keys = api.get(f"projects/{made['id']}/keys").json["items"]
    world = World(made, keys, [api.token(made["id"]) for _ in range(2)])
    operation.before(api, world)
    return world


def works(client: redis.Redis, secret: str) -> bool:
    """Whether the data plane lets a secret in."""
    script = client.register_script(redis_schema.script("admit"))
    digest = tokens.digest(secret, PEPPER.encode())
    keys, arguments = redis_schema.encode_admission(digest, ["openai"], is_peek=True)
    return isinstance(redis_schema.decode_admission(script(keys, arguments)), Caller)


def digests_in_redis(client: redis.Redis) -> set[str]:
    keys = client.keys(redis_schema.token_key("*"))
    return {name.decode().removeprefix(redis_schema.TOKEN_PREFIX) for name in keys}


def digests_in_sql(sessions: db.Sessions) -> set[str]:
    with db.reading(sessions) as session:
        pairs = session.execute(sa.select(Token.digest, Token.previous_digest)).all()
    return {digest for pair in pairs for digest in pair if digest}


def should_work(sessions: db.Sessions, secret: str) -> bool:
    """Whether SQL says that a secret works."""
    digest = tokens.digest(secret, PEPPER.encode())
    is_its = sa.or_(Token.digest == digest, Token.previous_digest == digest)
    is_usable = (Token.is_active, Project.is_active)
    with db.reading(sessions) as session:
        query = sa.select(Token.id).join(Project, Token.project_id == Project.id).where(is_its, *is_usable)
        return session.scalar(query) is not None


def state(sessions: db.Sessions, world: World) -> list[Any]:
    """What a change of this world changes in SQL."""
    with db.reading(sessions) as session:
        project_id = UUID(world.project["id"])
        versions = sa.select(Token.id, Token.version).where(Token.project_id == project_id).order_by(Token.id)
        found = session.execute(sa.select(Project.version).where(Project.id == project_id)).all()
        return [*found, *session.execute(versions).all()]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", OPERATIONS)
def test_killed_at_any_point_it_leaves_nothing_that_does_not_heal(
    api: Api, crasher: Crasher, sessions: db.Sessions, redis_client: redis.Redis, name: str
) -> None:
    operation = OPERATIONS[name]
    publisher = Publisher(redis_client, sessions)
    publisher.republish_all()
    world = make(api, operation)
    before, killed, commits = state(sessions, world), 0, 0

    while "killed_by" in (answered := crasher.send(operation, world, killed + 1)):
        killed += 1
        uncommitted = digests_in_redis(redis_client) - digests_in_sql(sessions)
        heal(publisher)

        assert answered == {"killed_by": 9}
        assert operation.ends or not uncommitted, killed
        left = Reconciler(redis_client, sessions, pause=0.0).check()
        assert left.is_equal, (killed, left.to_json())
        for made in world.tokens:
            assert works(redis_client, made["token"]) is should_work(sessions, made["token"]), killed
        if state(sessions, world) != before:
            commits += 1
            world = make(api, operation)
            before = state(sessions, world)

    assert 200 <= answered["status"] < 300, answered
    assert killed > 5
    assert commits > 0 or not operation.is_of_world
