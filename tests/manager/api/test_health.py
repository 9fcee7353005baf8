"""Rules of health: alive is alive; ready is a current database, a Redis that answers, and all published to it."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa
from flask.testing import FlaskClient

from manager import db
from shared import redis_schema
from tests.manager.api.conftest import Api
from tests.manager.conftest import NOBODY, Serve

ALL_OK = {"database": "ok", "schema": "ok", "redis": "ok", "published": "ok"}


@pytest.fixture
def published_to(redis_client: redis.Redis) -> None:
    """A Redis that has been published to."""
    redis_client.set(redis_schema.EPOCH, "1")


@pytest.fixture
def another_release(engine: sa.Engine) -> Iterator[None]:
    """A database whose schema says that it is of another release, until the end of the test."""
    change = sa.text("UPDATE alembic_version SET version_num = :version")
    with engine.begin() as connection:
        known = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
        connection.execute(change, {"version": "another"})
    yield
    with engine.begin() as connection:
        connection.execute(change, {"version": known})


@pytest.fixture
def silent() -> Iterator[str]:
    """Address of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def checks(client: FlaskClient) -> dict[str, str]:
    """What is failed and what is not; fails if status and body do not go together."""
    answer = client.get("/readyz")
    found: dict[str, str] = answer.json["checks"]
    is_ready = set(found.values()) == {"ok"}
    assert (answer.status_code, answer.json["status"]) == ((200, "ok") if is_ready else (503, "failed"))
    return found


def test_alive_is_alive_even_if_everything_else_is_away(client: FlaskClient, lonely: Api) -> None:
    for service in (client, lonely.client):
        answer = service.get("/healthz")

        assert (answer.status_code, answer.json) == (200, {"status": "ok"})


def test_a_service_with_all_its_parts_is_ready(client: FlaskClient, published_to: None) -> None:
    assert checks(client) == ALL_OK


def test_a_redis_that_has_lost_everything_is_not_ready(client: FlaskClient) -> None:
    assert checks(client) == ALL_OK | {"published": "failed"}


def test_without_redis_nothing_is_ready(lonely: Api) -> None:
    assert checks(lonely.client) == ALL_OK | {"redis": "failed", "published": "failed"}


def test_a_database_of_another_release_is_not_ready(
    client: FlaskClient, published_to: None, another_release: None
) -> None:
    assert checks(client) == ALL_OK | {"schema": "failed"}


def test_an_empty_database_is_not_ready(serve: Serve, tmp_path: Path, valkey_url: str, published_to: None) -> None:
    empty = serve(DATABASE_URL=f"sqlite:///{tmp_path}/empty.db", REDIS_URL=valkey_url)

    assert checks(empty.test_client()) == ALL_OK | {"schema": "failed", "published": "failed"}


def test_a_redis_of_another_database_is_not_ready(
    client: FlaskClient, redis_client: redis.Redis, published_to: None
) -> None:
    redis_client.set(redis_schema.DATABASE, "another")

    assert checks(client) == ALL_OK | {"published": "failed"}


@pytest.mark.parametrize("url", ["sqlite:////nobody/keeps/here.db", "postgresql://127.0.0.1:1/nobody"])
def test_without_a_database_nothing_is_ready(serve: Serve, valkey_url: str, published_to: None, url: str) -> None:
    away = serve(DATABASE_URL=url, REDIS_URL=valkey_url)

    assert checks(away.test_client()) == ALL_OK | {"database": "failed", "schema": "failed", "published": "failed"}


@pytest.mark.parametrize(
    ("variable", "url", "failed"),
    [
        ("REDIS_URL", "redis://{}", {"redis": "failed", "published": "failed"}),
        (
            "DATABASE_URL",
            "postgresql://{}/nobody",
            {"database": "failed", "schema": "failed", "published": "failed"},
        ),
    ],
)
def test_a_part_that_hangs_counts_as_failed_and_is_not_waited_for(
    serve: Serve,
    database_url: str,
    valkey_url: str,
    published_to: None,
    silent: str,
    variable: str,
    url: str,
    failed: dict[str, str],
) -> None:
    there = {"DATABASE_URL": database_url, "REDIS_URL": valkey_url}
    hanging, begun = serve(**there | {variable: url.format(silent)}).test_client(), time.monotonic()

    for _ in range(2):
        assert checks(hanging) == ALL_OK | failed

    assert time.monotonic() - begun < 3


def test_a_stopped_redis_is_noticed_soon_and_so_is_its_return(
    client: FlaskClient, redis_client: redis.Redis, published_to: None
) -> None:
    process = redis_client.info("server")["process_id"]
    os.kill(process, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        assert checks(client) == ALL_OK | {"redis": "failed", "published": "failed"}
        assert time.monotonic() - begun < 1.5
    finally:
        os.kill(process, signal.SIGCONT)

    assert checks(client) == ALL_OK


def test_no_detail_is_told(serve: Serve) -> None:
    away = serve(DATABASE_URL="postgresql://someone:secret@127.0.0.1:1/nobody", REDIS_URL=NOBODY)

    text = away.test_client().get("/readyz").text

    assert not [word for word in ("someone", "secret", "127.0.0.1", "nobody") if word in text]


def test_readiness_waits_for_no_writer(client: FlaskClient, sessions: db.Sessions, published_to: None) -> None:
    with sessions.begin() as writer:
        writer.execute(sa.text("UPDATE projects SET version = version"))

        assert checks(client) == ALL_OK


def test_gauges_are_shown_without_a_token_in_the_format_of_prometheus(client: FlaskClient) -> None:
    answer = client.get("/metrics")

    assert (answer.status_code, answer.content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "\nllm_proxy_usage_lag 0.0\n" in answer.text
