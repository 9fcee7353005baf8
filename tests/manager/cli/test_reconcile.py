"""`llm-proxy reconcile`: its exit codes and what it prints."""

import json
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner, Result

from manager import db
from manager.cli import main
from manager.publisher import Publisher
from shared import redis_schema
from tests.manager.cli.test_cli import configured as configured  # a fixture
from tests.manager.conftest import NOBODY, Rows


@pytest.fixture
def published(
    configured: Path, monkeypatch: pytest.MonkeyPatch, valkey_url: str, database_url: str,
    redis_client: redis.Redis, sessions: db.Sessions, rows: Rows,
) -> redis.Redis:  # fmt: skip
    """One token is published; the command speaks to the stores of these tests."""
    monkeypatch.setenv("REDIS_URL", valkey_url)
    monkeypatch.setenv("DATABASE_URL", database_url)
    rows.token(rows.project())
    Publisher(redis_client, sessions).republish_all()
    return redis_client


def run(*options: str) -> Result:
    return CliRunner().invoke(main, ["reconcile", *options])


def test_where_nothing_differs_it_says_so(published: redis.Redis) -> None:
    shown = run("--check")

    assert (shown.exit_code, shown.output.splitlines()[-1]) == (0, "SQL and Redis agree")


def test_a_difference_is_told_by_a_check_and_gone_after_mending(published: redis.Redis) -> None:
    published.delete(redis_schema.token_key("d1"))

    checked, mended, again = run("--check"), run(), run("--check")

    assert [shown.exit_code for shown in (checked, mended, again)] == [1, 0, 0]
    assert checked.output.startswith("token missing: ") and checked.output.endswith("1 different\n")
    assert mended.output.endswith("1 mended\n")


def test_as_json_it_is_one_document(published: redis.Redis) -> None:
    published.hset(redis_schema.token_key("d1"), "label", "changed by hand")

    checked, mended = (json.loads(run(*options, "--json").stdout) for options in (["--check"], []))

    assert checked["differences"] == {"token.changed": 1}
    assert [(each["kind"], each["problem"], each["fields"]) for each in checked["named"]] == [
        ("token", "changed", ["label"])
    ]
    assert (checked["mended"], checked["left"], mended["mended"], mended["left"]) == (False, 1, True, 0)
    assert checked["compared"]["tokens"] == 1


@pytest.mark.parametrize(
    ("variable", "url"),
    [("REDIS_URL", NOBODY), ("DATABASE_URL", "postgresql://llm:the-password@127.0.0.1:1/llm")],
)
def test_stores_that_are_away_are_named(
    published: redis.Redis, monkeypatch: pytest.MonkeyPatch, variable: str, url: str
) -> None:
    monkeypatch.setenv(variable, url)

    shown = run("--check")

    assert shown.exit_code == 3
    assert variable in shown.output and "the-password" not in shown.output


def test_a_redis_of_another_database_is_named_and_taken_over_only_when_told_to(published: redis.Redis) -> None:
    published.set(redis_schema.DATABASE, "another")

    refused, mended, adopted, again = run("--check"), run(), run("--adopt"), run("--check")

    assert [shown.exit_code for shown in (refused, mended, adopted, again)] == [4, 4, 0, 0]
    assert "another database (another)" in refused.output and "--adopt" in refused.output


def test_a_check_adopts_nothing(published: redis.Redis) -> None:
    assert run("--check", "--adopt").exit_code == 2
