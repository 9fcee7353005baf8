"""Rules of the mapping: aware times only, ids in order, keys that go with their project, names for every constraint."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, StatementError

from manager import db
from manager.tables import Base, Project, Token, UpstreamKey, new_id
from shared.models import Policy
from tests.manager.conftest import NOW, Rows

NAIVE = datetime(2026, 5, 4, 10, 20)  # noqa: DTZ001


def test_naive_times_are_refused_on_writing(rows: Rows) -> None:
    with pytest.raises(StatementError, match="naive"):
        rows.project(created_at=NAIVE)


def test_naive_times_are_refused_in_questions(sessions: db.Sessions) -> None:
    with db.reading(sessions) as session, pytest.raises(StatementError, match="naive"):
        session.scalars(sa.select(Token).where(Token.expires_at > NAIVE)).all()


@pytest.mark.parametrize("hours", [0, 2, -8])
def test_times_come_back_in_utc_from_whatever_zone(rows: Rows, hours: int) -> None:
    written = NOW.astimezone(timezone(timedelta(hours=hours))) + timedelta(microseconds=7)

    read = rows.fresh(rows.project(created_at=written)).created_at

    assert read == written
    assert read.tzinfo is UTC


def test_times_of_other_zones_are_compared_by_their_moment(sessions: db.Sessions, rows: Rows) -> None:
    rows.project(created_at=NOW)
    later = (NOW + timedelta(minutes=1)).astimezone(timezone(timedelta(hours=-9)))

    with db.reading(sessions) as session:
        found = session.scalars(sa.select(Project.name).where(Project.created_at < later)).all()

    assert found == ["search team"]


def test_a_time_may_be_missing(rows: Rows) -> None:
    assert rows.fresh(rows.token(rows.project())).last_used_at is None


def test_ids_are_in_order_of_creation() -> None:
    ids = [new_id() for _ in range(100)]

    assert ids == sorted(ids)
    assert len(set(ids)) == 100 and {made.version for made in ids} == {7}


def test_keys_of_a_project_are_in_order_of_creation(rows: Rows) -> None:
    project = rows.project("one", "two", "three")

    assert [key.sealed for key in rows.fresh(project).keys] == ["one", "two", "three"]


def test_a_policy_comes_back_as_it_was_written(rows: Rows) -> None:
    policy = Policy(("gpt-4o*", "模型"), ("*-preview",), ("logit_bias",), {"n": 0.5})

    assert rows.fresh(rows.project(policy=policy)).policy == policy
    assert rows.fresh(rows.token(rows.project(name="other"))).policy == Policy()


@pytest.mark.parametrize("column", ["fallback_urls", "policy", "cors_origins", "features"])
def test_a_setting_is_never_null_not_even_that_of_json(rows: Rows, column: str) -> None:
    project = rows.project()

    with pytest.raises(IntegrityError):
        rows.change(project, **{column: None})


def test_a_key_that_is_taken_from_its_project_is_gone(sessions: db.Sessions, rows: Rows) -> None:
    project = rows.project("one", "two")

    with sessions.begin() as session:
        found = session.get_one(Project, project.id)
        found.keys.pop(0)

    assert [key.sealed for key in rows.all(UpstreamKey)] == ["two"]


def test_what_belongs_to_a_project_goes_with_it(sessions: db.Sessions, rows: Rows) -> None:
    rows.token(rows.project("one"))

    with sessions.begin() as session:
        session.execute(sa.delete(Project))

    assert [*rows.all(UpstreamKey), *rows.all(Token)] == []


def test_names_of_projects_are_unique(rows: Rows) -> None:
    rows.project()

    with pytest.raises(IntegrityError):
        rows.project()


def test_digests_of_tokens_are_unique(rows: Rows) -> None:
    project = rows.project()
    rows.token(project)

    with pytest.raises(IntegrityError):
        rows.token(project)


@pytest.mark.parametrize("table", Base.metadata.sorted_tables, ids=lambda table: table.name)
def test_every_constraint_has_a_name_so_that_migrations_can_alter_it(table: sa.Table) -> None:
    assert all(constraint.name for constraint in table.constraints)
    assert all(index.name for index in table.indexes)
