"""Rules of sealed columns: which keys they need is known, and re-wrapping loses nothing, whoever writes meanwhile."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
import redis

from manager import audit, db, key_rotation, sealed
from manager.publisher import Publisher
from manager.sealed import KeysMissing
from manager.tables import AuditChain, AuditEvent, Base, IdempotentAnswer, Project, UpstreamKey, new_id
from shared import redis_schema, sealing
from shared.sealing import Keyring
from shared.settings import Settings
from tests.manager.conftest import NOW, Rows, SettingsOf

OLD, NEW = sealing.generate_key(), sealing.generate_key()
OLD_RING = Keyring.parse(f"k1:{OLD}")
RING = Keyring.parse(f"k2:{NEW},k1:{OLD}")
NEW_RING = Keyring.parse(f"k2:{NEW}")

type Fill = Callable[..., None]


@pytest.fixture
def fill(rows: Rows) -> Fill:
    """Puts a sealed value into every column that can hold one, and some provider keys more."""

    def fill(ring: Keyring = OLD_RING, keys: int = 3) -> None:
        project = rows.project()
        for number in range(keys):
            add_key(rows, project, ring, f"sk-{number}")
        answer = IdempotentAnswer(id=new_id(), principal="p", key="k", fingerprint="f", status=201, created_at=NOW)
        answer.sealed = ring.seal("an answer", f"idempotent_answers:{answer.id}")
        rows.add(answer)
        rows.add(
            AuditChain(name="audit", position=0, mac="", seal="", sealed_key=ring.seal("a key", "audit_chain:audit"))
        )

    return fill


def add_key(rows: Rows, project: Project, ring: Keyring, secret: str) -> UUID:
    key = UpstreamKey(id=new_id(), project_id=project.id, masked="sk-…", created_at=NOW)
    key.sealed = ring.seal(secret, f"upstream_keys:{key.id}")
    return rows.add(key).id


def opened(rows: Rows, ring: Keyring) -> list[str]:
    """What all sealed values say; raises SealingError if one does not open."""
    keys = [ring.open(row.sealed, f"upstream_keys:{row.id}") for row in rows.all(UpstreamKey)]
    answers = [ring.open(row.sealed, f"idempotent_answers:{row.id}") for row in rows.all(IdempotentAnswer)]
    chains = [ring.open(row.sealed_key, f"audit_chain:{row.name}") for row in rows.all(AuditChain)]
    return sorted(keys + answers + chains)


def used(sessions: db.Sessions) -> dict[str, Any]:
    with db.reading(sessions) as session:
        return {key_id: dict(counts) for key_id, counts in sealed.in_use(session).items()}


# What is needed


def test_every_column_of_sealed_values_is_registered() -> None:
    named = {
        (table.name, column.name)
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if "sealed" in column.name
    }

    assert {(column.table.name, column.name) for column in sealed.COLUMNS} == named


def test_ids_in_use_are_counted_by_table(fill: Fill, rows: Rows, sessions: db.Sessions) -> None:
    fill()
    add_key(rows, rows.all(Project)[0], RING, "sk-new")

    assert used(sessions) == {
        "k1": {"upstream_keys": 3, "idempotent_answers": 1, "audit_chain": 1},
        "k2": {"upstream_keys": 1},
    }


@pytest.mark.parametrize("text", ["", "nonsense", "v1.", "sk-in-the-clear"])
def test_what_is_no_sealed_value_has_no_id(rows: Rows, sessions: db.Sessions, text: str) -> None:
    rows.project(text)

    assert set(used(sessions)) == {""}


def test_a_keyring_that_opens_everything_is_enough(fill: Fill, sessions: db.Sessions) -> None:
    fill()

    with db.reading(sessions) as session:
        sealed.check(session, RING)
        sealed.check(session, OLD_RING)


def test_a_missing_key_is_named_with_what_needs_it_and_nothing_secret(fill: Fill, sessions: db.Sessions) -> None:
    fill()

    with db.reading(sessions) as session, pytest.raises(KeysMissing, match=r"'k1' \(5 values\)") as caught:
        sealed.check(session, NEW_RING)

    assert NEW not in str(caught.value)


@pytest.fixture
def settings(settings_of: SettingsOf, database_url: str) -> Settings:
    return settings_of(DATABASE_URL=database_url, ENCRYPTION_KEYS=f"k2:{NEW}")


def test_the_settings_keys_are_held_against_the_settings_database(settings: Settings, fill: Fill) -> None:
    sealed.demand(settings)
    fill()

    with pytest.raises(KeysMissing):
        sealed.demand(settings)


@pytest.mark.parametrize("url", ["postgresql://llm@127.0.0.1:1/llm", "sqlite:////nobody/is/here.db", "sqlite://"])
def test_a_database_that_is_away_or_empty_demands_no_key(settings_of: SettingsOf, url: str) -> None:
    sealed.demand(settings_of(DATABASE_URL=url))


# Re-wrapping


@pytest.mark.parametrize("batch", [1, 2, 200])
def test_everything_is_sealed_with_the_first_key_and_says_what_it_said(
    fill: Fill, rows: Rows, sessions: db.Sessions, batch: int
) -> None:
    fill()
    before = opened(rows, RING)

    rotation = key_rotation.rotate(sessions, RING, NOW, batch)

    assert opened(rows, NEW_RING) == before == ["a key", "an answer", "sk-0", "sk-1", "sk-2"]
    assert dict(rotation.rewrapped) == {"upstream_keys": 3, "idempotent_answers": 1, "audit_chain": 1}
    assert rotation.unopened == {}


def test_a_second_run_finds_nothing_to_do_and_says_nothing(fill: Fill, rows: Rows, sessions: db.Sessions) -> None:
    fill()
    key_rotation.rotate(sessions, RING, NOW)
    before = [row.sealed for row in rows.all(UpstreamKey)]

    assert key_rotation.rotate(sessions, RING, NOW).rewrapped == {}

    assert [row.sealed for row in rows.all(UpstreamKey)] == before
    assert len(rows.all(AuditEvent)) == 1


def test_the_audit_tells_how_many_values_were_rewrapped(fill: Fill, rows: Rows, sessions: db.Sessions) -> None:
    fill()

    key_rotation.rotate(sessions, RING, NOW)

    [event] = rows.all(AuditEvent)
    assert (event.action, event.actor, event.outcome) == ("keyring.rotate", audit.COMMAND, audit.SUCCESS)
    assert event.detail["primary"] == "k2" and event.detail["rewrapped"]["upstream_keys"] == 3


def test_ids_that_differ_in_case_are_different_keys(rows: Rows, sessions: db.Sessions) -> None:
    upper, lower = Keyring.parse(f"K1:{NEW},k1:{OLD}"), Keyring.parse(f"k1:{OLD}")
    add_key(rows, rows.project(), lower, "sk-0")

    key_rotation.rotate(sessions, upper, NOW)

    assert set(used(sessions)) == {"K1"}


def test_rewrapped_keys_are_published(fill: Fill, rows: Rows, sessions: db.Sessions, redis_client: redis.Redis) -> None:
    fill()
    publisher = Publisher(redis_client, sessions)
    publisher.republish_all()
    [project] = rows.all(Project)

    key_rotation.rotate(sessions, RING, NOW)
    with db.reading(sessions) as session:
        waiting = sealed.unpublished(session)
    publisher.publish_pending()

    record = redis_client.hget(redis_schema.project_key(str(project.id)), "record")
    assert record.count(b"v1.k2.") == 3 and b"v1.k1." not in record
    with db.reading(sessions) as session:
        assert (waiting, sealed.unpublished(session)) == (1, 0)


def test_a_project_none_of_whose_keys_changed_is_not_touched(rows: Rows, sessions: db.Sessions) -> None:
    old, new = rows.project(name="old"), rows.project(name="new")
    add_key(rows, old, OLD_RING, "sk-0")
    add_key(rows, new, NEW_RING, "sk-1")

    key_rotation.rotate(sessions, RING, NOW)

    assert (rows.fresh(old).version, rows.fresh(new).version) == (2, 1)


def test_a_value_that_does_not_open_is_left_and_named_and_the_rest_is_done(
    fill: Fill, rows: Rows, sessions: db.Sessions
) -> None:
    fill()
    key = rows.all(UpstreamKey)[0]
    moved = OLD_RING.seal("sk-0", "upstream_keys:elsewhere")
    rows.change(key, sealed=moved)

    rotation = key_rotation.rotate(sessions, RING, NOW)

    assert list(rotation.unopened) == [f"upstream_keys:{key.id}"]
    assert rows.fresh(key).sealed == moved and rotation.rewrapped.total() == 4
    assert rows.all(AuditEvent)[0].outcome == "failure"


def test_a_value_that_was_changed_since_it_was_opened_is_not_overwritten(rows: Rows, sessions: db.Sessions) -> None:
    key_id = add_key(rows, rows.project(), OLD_RING, "sk-old")
    key = rows.all(UpstreamKey)[0]
    value = RING.seal("sk-new", f"upstream_keys:{key_id}")

    class Overtaken(Keyring):
        def open(self, sealed: str, place: str) -> str:
            rows.change(key, sealed=value)
            return super().open(sealed, place)

    rotation = key_rotation.rotate(sessions, Overtaken(RING.primary, RING.keys), NOW)

    assert rows.fresh(key).sealed == value and not rotation.rewrapped


def test_a_run_that_was_killed_is_gone_on_with(fill: Fill, rows: Rows, sessions: db.Sessions) -> None:
    fill(keys=6)
    before = opened(rows, RING)

    class Killed(BaseException):
        pass

    class Mortal(Keyring):
        def open(self, sealed: str, place: str) -> str:
            asked.append(place)
            if len(asked) == 4:
                raise Killed
            return super().open(sealed, place)

    asked: list[str] = []
    with pytest.raises(Killed):
        key_rotation.rotate(sessions, Mortal(RING.primary, RING.keys), NOW, batch=2)
    half = used(sessions)

    key_rotation.rotate(sessions, RING, NOW, batch=2)

    assert (half["k1"]["upstream_keys"], half["k2"]["upstream_keys"]) == (4, 2)
    assert opened(rows, NEW_RING) == before


def test_keys_that_are_added_and_replaced_meanwhile_all_open_in_the_end(
    rows: Rows, sessions: db.Sessions, database_url: str
) -> None:
    """A manager that still seals with the old key works on; a last run after it has ended finds the rest."""
    projects = [rows.project(name=f"team {number}") for number in range(3)]
    for project in projects:
        for number in range(10):
            add_key(rows, project, OLD_RING, f"{project.name} {number}")
    stop = threading.Event()

    def work(project: Project) -> int:
        done = 0
        while done < 5 or (done < 20 and not stop.wait(0.01)):
            key_id = add_key(rows, project, OLD_RING, f"{project.name} new {done}")
            with sessions.begin() as session:
                row = session.get_one(Project, project.id, with_for_update=True)
                row.version += 1
                key = session.get_one(UpstreamKey, key_id)
                key.sealed = RING.seal(f"{project.name} changed {done}", f"upstream_keys:{key_id}")
            add_key(rows, project, OLD_RING, f"{project.name} late {done}")
            done += 1
        return done

    with ThreadPoolExecutor(3) as threads:
        working = [threads.submit(work, project) for project in projects]
        try:
            key_rotation.rotate(sessions, RING, NOW, batch=10)
        finally:
            stop.set()
        done = [future.result() for future in working]
    key_rotation.rotate(sessions, RING, NOW)

    expected = [f"{project.name} {number}" for project in projects for number in range(10)]
    for project, count in zip(projects, done, strict=True):
        expected += [f"{project.name} {kind} {number}" for kind in ("changed", "late") for number in range(count)]
    assert opened(rows, NEW_RING) == sorted(expected)
