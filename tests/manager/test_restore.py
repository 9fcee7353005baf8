"""Rules of restoring: checked before anything is touched, all or nothing, and what is restored wins over Redis."""

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa
import zstandard

from manager import audit, backup, db, portable, projects, publications, restore, schema
from manager.backup import Backup, Secrets
from manager.backup_file import BackupError
from manager.publications import Name
from manager.publisher import Publisher, published_project, published_token
from manager.sealed import KeysMissing
from manager.tables import AuditChain, AuditEvent, Operator, Project, Publication, Token, Tombstone, UpstreamKey, new_id
from manager.tokens import revoke
from shared import redis_schema, sealing
from shared.sealing import Keyring
from tests.conftest import new_postgresql
from tests.manager import full_database
from tests.manager.conftest import NOW, Rows, token_columns
from tests.manager.test_backup import rezipped

OLD, NEW = sealing.generate_key(), sealing.generate_key()
RING = Keyring.parse(f"k1:{OLD}")
KNOWN = Secrets(RING, b"the pepper of this installation, 32")
LATER = NOW + timedelta(days=30)

LIMIT = {"measure": "requests", "window": "minute", "amount": 5, "on_outage": "closed"}

type Make = Callable[[str], sa.Engine]
KINDS = ("sqlite", "postgresql")


@pytest.fixture
def make(tmp_path: Path, postgres_url: str) -> Iterator[Make]:
    """Makes engines on databases of a kind that have no table."""
    engines: list[sa.Engine] = []

    def make(kind: str) -> sa.Engine:
        file = f"sqlite:///{tmp_path}/made_{len(engines)}.db"
        url = file if kind == "sqlite" else new_postgresql(postgres_url, f"made_{len(engines)}")
        engines.append(db.create_engine(url))
        return engines[-1]

    yield make
    for engine in engines:
        engine.dispose()


def saved(engine: sa.Engine, folder: Path, is_encrypted: bool = False, known: Secrets = KNOWN) -> Path:
    made: Backup = backup.create(engine, known, folder / "backups", NOW, is_encrypted=is_encrypted)
    return made.path


def contents(engine: sa.Engine) -> dict[str, list[tuple[object, ...]]]:
    with engine.connect() as connection:
        return full_database.contents(connection)


def fill(engine: sa.Engine) -> None:
    """Rows in every table, whose sealed values open."""
    db.upgrade(engine)
    with engine.begin() as connection:
        full_database.fill(connection, 6, version=5)
        for table in ("upstream_keys", "idempotent_answers"):
            found = sa.table(table, sa.column("id", sa.Uuid()), sa.column("sealed"))
            for row_id in connection.scalars(sa.select(found.c.id)).all():
                value = RING.seal("x", f"{table}:{row_id}")
                connection.execute(sa.update(found).where(found.c.id == row_id).values(sealed=value))
        for name in connection.scalars(sa.select(AuditChain.name)).all():
            value = {"sealed_key": RING.seal("x", f"audit_chain:{name}")}
            connection.execute(sa.update(AuditChain).where(AuditChain.name == name).values(value))


@pytest.mark.parametrize("is_encrypted", [False, True])
@pytest.mark.parametrize(("source", "target"), list(itertools.product(KINDS, KINDS)))
def test_what_is_restored_is_what_was_saved_in_every_column(
    make: Make, tmp_path: Path, source: str, target: str, is_encrypted: bool
) -> None:
    origin, new = make(source), make(target)
    fill(origin)
    before = contents(origin) | {"ui_sessions": []}  # Who was signed in has to do so again.

    restore.restore(saved(origin, tmp_path, is_encrypted), new, KNOWN, LATER)

    found = contents(new)
    versioned = {"projects", "tokens", "publications", "tombstones", "audit_events"}
    assert {name: rows for name, rows in found.items() if name not in versioned} == {
        name: rows for name, rows in before.items() if name not in versioned
    }
    assert columns(new, "tokens", "id", "digest", "policy", "limits", "expires_at", "request_count") == columns(
        origin, "tokens", "id", "digest", "policy", "limits", "expires_at", "request_count"
    )
    with new.connect() as connection:
        assert schema.status(connection).is_current


def columns(engine: sa.Engine, table: str, *names: str) -> list[str]:
    with engine.connect() as connection:
        mapped = db_table(table)
        return sorted(repr(tuple(row)) for row in connection.execute(sa.select(*(mapped.columns[n] for n in names))))


def db_table(name: str) -> sa.Table:
    [table] = [table for table in portable.tables() if table.name == name]
    return table


def test_the_audit_of_the_restored_database_tells_of_it(
    rows: Rows, engine: sa.Engine, make: Make, tmp_path: Path
) -> None:
    rows.project()
    path, new = saved(engine, tmp_path), make("sqlite")

    restore.restore(path, new, KNOWN, LATER)

    with db.reading(db.create_sessions(new)) as session:
        [event] = session.scalars(sa.select(AuditEvent)).all()
    assert event.action == "backup.restore" and event.detail["file"] == path.name
    assert event.detail["created_at"] == NOW.isoformat() and event.position is None


# What is refused


def untouched(
    engine: sa.Engine, path: Path, known: Secrets = KNOWN, *, match: str, kind: type[Exception] = BackupError
) -> None:
    """Restoring is refused for this reason, and the database is as it was."""
    before = contents(engine)
    with pytest.raises(kind, match=match):
        restore.restore(path, engine, known, LATER, replace=True)
    assert contents(engine) == before


def test_a_target_that_holds_something_is_refused(rows: Rows, engine: sa.Engine, tmp_path: Path) -> None:
    rows.project()
    path = saved(engine, tmp_path)
    before = contents(engine)

    with pytest.raises(BackupError, match=r"not empty \(.*projects.*--replace"):
        restore.restore(path, engine, KNOWN, LATER)

    assert contents(engine) == before


def test_keys_that_are_missing_are_named(rows: Rows, engine: sa.Engine, tmp_path: Path) -> None:
    [key] = rows.project("").keys
    rows.change(key, sealed=RING.seal("sk", f"upstream_keys:{key.id}"))
    both = Keyring.parse(f"k2:{NEW},k1:{OLD}")
    path = saved(engine, tmp_path, known=Secrets(both, KNOWN.pepper))

    untouched(
        engine,
        path,
        Secrets(Keyring.parse(f"k2:{NEW}"), KNOWN.pepper),
        match="the backup needs: 'k1'",
        kind=KeysMissing,
    )


def test_a_sealed_value_that_does_not_open_is_noticed(rows: Rows, engine: sa.Engine, tmp_path: Path) -> None:
    rows.project(RING.seal("sk", "upstream_keys:of another row"))

    untouched(engine, saved(engine, tmp_path), match="upstream_keys.jsonl.zst does not open")


def test_another_pepper_is_refused_unless_it_is_wanted(rows: Rows, engine: sa.Engine, tmp_path: Path) -> None:
    rows.project()
    other, path = Secrets(RING, b"another pepper"), saved(engine, tmp_path)

    untouched(engine, path, other, match="another TOKEN_PEPPER")
    assert restore.restore(path, engine, other, LATER, replace=True, with_pepper=False).rows == 1


def test_a_damaged_backup_is_refused_before_anything_is_touched(rows: Rows, engine: sa.Engine, tmp_path: Path) -> None:
    rows.tokens(rows.project(), 3)
    other = zstandard.ZstdCompressor().compress(b"")

    spoilt = rezipped(saved(engine, tmp_path), lambda name, data: other if name.startswith("tokens") else data)

    untouched(engine, spoilt, match="tokens.jsonl.zst is damaged")


def test_a_target_of_a_later_release_is_refused(rows: Rows, engine: sa.Engine, make: Make, tmp_path: Path) -> None:
    path, new = saved(engine, tmp_path), make("sqlite")
    db.upgrade(new)
    with new.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(BackupError, match="of a later release"):
        restore.restore(path, new, KNOWN, LATER, replace=True)


def test_a_backup_of_a_later_schema_is_refused(rows: Rows, engine: sa.Engine, make: Make, tmp_path: Path) -> None:
    untouched(engine, of_schema(saved(engine, tmp_path), "9999"), match="9999 is of a later release")


def of_schema(path: Path, revision: str, without: dict[str, set[str]] | None = None) -> Path:
    """The same backup as if it were of another schema, which lacks these columns; of no column: the whole table."""
    from manager import backup_file

    lacks = without or {}
    made = path.with_name("other.backup")
    with backup_file.opened(path, RING) as reader, made.open("wb") as file:
        writer = backup_file.Writer(file, RING, is_encrypted=False)
        parts = []
        for part in reader.manifest.parts:
            left_out = lacks.get(part.table)
            if left_out == set():
                continue
            kept = [index for index, name in enumerate(part.columns) if name not in (left_out or set())]
            lines = [[tuple(row[index] for index in kept) for row in batch] for batch in reader.rows(part)]
            parts.append(writer.add(part.table, [part.columns[index] for index in kept], lines))
        fields = {name: getattr(reader.manifest, name) for name in reader.manifest.__struct_fields__}
        writer.finish(backup_file.Manifest(**fields | {"schema": revision, "parts": parts}))
    return made


ADDED = ("tombstones", "operators", "idempotent_answers", "leases", "job_runs", "audit_chain", "usage_daily")
ADDED += ("export_cursors", "database_identity", "activity", "ui_sessions", "rules")
LACKS_0003 = {
    "projects": {"deleted_at", "inspection"},
    "tokens": {"refreshed_at", "previous_digest", "previous_until"},
    "requests": {"recorded_at"},
    "audit_events": {"actor_id", "subject_id", "address", "position", "mac", "chained_at"},
} | {name: set() for name in ADDED}


@pytest.mark.parametrize("kind", KINDS)
def test_a_backup_of_an_earlier_schema_is_migrated(
    rows: Rows, engine: sa.Engine, make: Make, tmp_path: Path, kind: str
) -> None:
    token = rows.token(rows.project())
    earlier, new = of_schema(saved(engine, tmp_path), "0003", LACKS_0003), make(kind)

    restore.restore(earlier, new, KNOWN, LATER)

    with db.reading(db.create_sessions(new)) as session:
        assert session.get_one(Token, token.id).refreshed_at is None
    assert db.is_current(new)


def test_a_restore_that_fails_in_the_middle_changes_nothing(make: Make, tmp_path: Path) -> None:
    """PostgreSQL minds the length of a text, SQLite does not."""
    origin, new = make("sqlite"), make("postgresql")
    fill(origin)
    with origin.begin() as connection:
        connection.execute(sa.update(Token).values(masked="x" * 99))
    fill(new)
    before = contents(new)

    with pytest.raises(portable.PortableError, match="tokens: value too long"):
        restore.restore(saved(origin, tmp_path), new, KNOWN, LATER, replace=True)

    assert contents(new) == before


def test_checking_changes_nothing(rows: Rows, engine: sa.Engine, tmp_path: Path) -> None:
    rows.project()
    path = saved(engine, tmp_path)
    before = contents(engine)

    assert restore.check(path, KNOWN).created_at == NOW
    restore.check_target(engine, replace=True)
    with pytest.raises(BackupError, match="not empty"):
        restore.check_target(engine, replace=False)

    assert contents(engine) == before


# What was revoked since


def test_what_was_revoked_since_stays_revoked(rows: Rows, engine: sa.Engine, tmp_path: Path) -> None:
    stays, off, gone = (rows.project(name=name) for name in ("stays", "switched off", "deleted"))
    token, other = rows.token(stays, digest="d1"), rows.token(stays, digest="d2")
    operator = rows.add(
        Operator(id=new_id(), name="o", role="admin", digest="d", masked="m", created_at=NOW, updated_at=NOW)
    )
    path, since = saved(engine, tmp_path), NOW + timedelta(days=1)
    rows.change(token, is_active=False, revoked_at=since, version=2)
    rows.change(operator, revoked_at=since)
    rows.change(off, is_active=False, deactivated_at=since)
    rows.change(gone, is_active=False, deactivated_at=since, deleted_at=since)
    rows.change(other, label="changed")

    done = restore.restore(path, engine, KNOWN, LATER, replace=True)

    assert kept(done) == {"tokens revoked": 1, "operators revoked": 1, "projects deactivated": 2, "projects deleted": 1}
    assert (rows.fresh(token).is_active, rows.fresh(token).revoked_at) == (False, LATER)
    assert (rows.fresh(other).is_active, rows.fresh(other).label) == (True, "demo")
    assert rows.fresh(operator).revoked_at == LATER
    assert [rows.fresh(project).is_active for project in (stays, off, gone)] == [True, False, False]
    assert rows.fresh(gone).deleted_at == LATER and rows.fresh(off).deleted_at is None


def test_what_was_revoked_before_is_in_the_backup_and_counts_no_more(
    rows: Rows, engine: sa.Engine, tmp_path: Path
) -> None:
    token = rows.token(rows.project(), is_active=False, revoked_at=NOW - timedelta(hours=1))

    done = restore.restore(saved(engine, tmp_path), engine, KNOWN, LATER, replace=True)

    assert kept(done) == {} and rows.fresh(token).revoked_at == NOW - timedelta(hours=1)


def kept(done: restore.Restored) -> dict[str, int]:
    """What was kept of each kind, if anything was."""
    return {kind: count for kind, count in done.kept_revoked.items() if count}


SINCE = NOW + timedelta(days=1)
REFRESHED = {
    "digest": "new",
    "masked": "m-new",
    "previous_digest": "d1",
    "previous_until": SINCE,
    "refreshed_at": SINCE,
}


def test_a_secret_that_was_replaced_since_stays_replaced(rows: Rows, engine: sa.Engine, tmp_path: Path) -> None:
    project = rows.project()
    token, other = rows.token(project, label="as it was"), rows.token(project, digest="d2")
    path = saved(engine, tmp_path)
    rows.change(token, **REFRESHED, label="changed", updated_at=SINCE, version=2)

    done = restore.restore(path, engine, KNOWN, LATER, replace=True)

    found = rows.fresh(token)
    assert {name: getattr(found, name) for name in REFRESHED} == REFRESHED and found.label == "as it was"
    assert kept(done) == {"tokens refreshed": 1} and rows.fresh(other).digest == "d2"


def test_a_backup_that_is_newer_than_what_it_replaces_keeps_its_secrets(
    rows: Rows, engine: sa.Engine, tmp_path: Path
) -> None:
    refreshed_at, earlier = NOW - timedelta(hours=1), NOW - timedelta(hours=2)
    token = rows.token(rows.project(), digest="newest", refreshed_at=refreshed_at, updated_at=refreshed_at)
    path = saved(engine, tmp_path)
    rows.change(token, digest="older", refreshed_at=earlier, updated_at=earlier)

    done = restore.restore(path, engine, KNOWN, LATER, replace=True)

    assert rows.fresh(token).digest == "newest" and kept(done) == {}


def test_a_token_that_was_paused_or_shortened_since_stays_so(rows: Rows, engine: sa.Engine, tmp_path: Path) -> None:
    project, life = rows.project(), LATER + timedelta(days=9)
    paused, shortened, longer = (rows.token(project, digest=f"d{number}", expires_at=life) for number in range(3))
    path = saved(engine, tmp_path)
    rows.change(paused, is_active=False, updated_at=SINCE)
    rows.change(shortened, expires_at=SINCE, updated_at=SINCE)
    rows.change(longer, expires_at=life + timedelta(days=9), updated_at=SINCE)

    done = restore.restore(path, engine, KNOWN, LATER, replace=True)

    assert kept(done) == {"tokens paused": 1, "tokens shortened": 1}
    assert [rows.fresh(token).is_active for token in (paused, shortened, longer)] == [False, True, True]
    assert [rows.fresh(token).expires_at for token in (paused, shortened, longer)] == [life, SINCE, life]


def operator(**columns: object) -> Operator:
    defaults = {"id": new_id(), "name": "o", "role": "admin", "digest": "d", "masked": "m"}
    return Operator(**(defaults | {"created_at": NOW, "updated_at": NOW} | columns))


@pytest.mark.parametrize(
    ("was", "since", "expected"),
    [
        ({}, {"digest": "new", "masked": "m-new"}, {"digest": "new", "masked": "m-new"}),
        ({}, {"role": "auditor", "project_ids": ["a"]}, {"role": "auditor", "project_ids": ["a"]}),
        ({"role": "auditor"}, {"role": "admin"}, {"role": "auditor"}),
        ({"role": "operator", "project_ids": ["a", "b"]}, {"project_ids": ["b", "c"]}, {"project_ids": ["b"]}),
        ({"role": "operator", "project_ids": ["a"]}, {"project_ids": None}, {"project_ids": ["a"]}),
        ({}, {"expires_at": SINCE}, {"expires_at": SINCE}),
        ({"expires_at": SINCE}, {"expires_at": None}, {"expires_at": SINCE}),
    ],
    ids=["rotated", "demoted", "promoted", "other projects", "all projects", "ends", "ends no more"],
)
def test_an_operator_may_do_no_more_than_before_and_after(
    rows: Rows,
    engine: sa.Engine,
    tmp_path: Path,
    was: dict[str, object],
    since: dict[str, object],
    expected: dict[str, object],
) -> None:
    row = rows.add(operator(**was))
    path = saved(engine, tmp_path)
    rows.change(row, **since, updated_at=SINCE)

    done = restore.restore(path, engine, KNOWN, LATER, replace=True)

    found = rows.fresh(row)
    assert {name: getattr(found, name) for name in expected} == expected
    is_stricter = any((was.get(name) or getattr(operator(), name)) != value for name, value in expected.items())
    assert kept(done) == ({"operators restricted": 1} if is_stricter else {})


def test_what_a_replaced_database_of_an_earlier_schema_revoked_is_kept_as_well(
    rows: Rows, engine: sa.Engine, make: Make, tmp_path: Path
) -> None:
    token = rows.token(rows.project())
    path, old = saved(engine, tmp_path), make(engine.dialect.name)
    restore.restore(path, old, KNOWN, LATER)
    with old.begin() as connection:
        connection.execute(sa.update(Token).values(is_active=False, revoked_at=SINCE, updated_at=SINCE))
    schema.downgrade(old, "0003")

    done = restore.restore(path, old, KNOWN, LATER, replace=True)

    assert kept(done) == {"tokens revoked": 1}
    with db.reading(db.create_sessions(old)) as session:
        assert session.get_one(Token, token.id).revoked_at == LATER


def test_tables_of_a_schema_that_is_not_told_are_not_replaced(rows: Rows, engine: sa.Engine, tmp_path: Path) -> None:
    rows.project()
    path = saved(engine, tmp_path)
    with engine.begin() as connection:
        version = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
        connection.exec_driver_sql("DELETE FROM alembic_version")
    try:
        untouched(engine, path, match="it does not say of which schema they are")
    finally:
        with engine.begin() as connection:
            told = sa.table("alembic_version", sa.column("version_num"))
            connection.execute(sa.insert(told).values(version_num=version))


def purge(sessions: db.Sessions, project: Project, *, is_told: bool) -> None:
    with sessions.begin() as session:
        row = projects.get(session, project.id)
        projects.delete(session, SINCE, row)
        projects.purge(session, SINCE, row)
        if is_told:
            who = audit.Source("ann")
            audit.note(session, SINCE, who, audit.Action.PROJECT_PURGE, project_id=project.id)


def test_a_project_that_was_purged_since_comes_back_as_a_deleted_one(
    rows: Rows, sessions: db.Sessions, engine: sa.Engine, tmp_path: Path
) -> None:
    gone, stays = rows.project(name="gone"), rows.project(name="stays")
    token, other = rows.token(gone), rows.token(stays, digest="d2")
    path = saved(engine, tmp_path)
    purge(sessions, gone, is_told=True)

    done = restore.restore(path, engine, KNOWN, LATER, replace=True)

    assert kept(done) == {"projects deleted": 1, "projects deactivated": 1, "tokens revoked": 1}
    assert (rows.fresh(gone).is_active, rows.fresh(gone).deleted_at) == (False, LATER)
    assert (rows.fresh(token).is_active, rows.fresh(token).revoked_at) == (False, LATER)
    assert rows.fresh(other).is_active and rows.fresh(stays).is_active


def test_what_was_made_and_purged_after_the_backup_is_still_taken_out_of_redis(
    rows: Rows, sessions: db.Sessions, engine: sa.Engine, redis_client: redis.Redis, tmp_path: Path
) -> None:
    publisher = Publisher(redis_client, sessions)
    publisher.republish_all()
    path = saved(engine, tmp_path)
    project = rows.project(name="young")
    token = rows.token(project)
    publisher.republish_all()
    purge(sessions, project, is_told=True)  # Redis was away, and has not heard of it.

    restore.restore(path, engine, KNOWN, LATER, replace=True)
    publisher.publish_pending()

    assert not redis_client.exists(redis_schema.token_key(token.digest))
    assert rows.all(Tombstone) == []


# Redis


def test_what_was_purged_and_restored_is_alive_in_redis_at_once(
    rows: Rows, sessions: db.Sessions, engine: sa.Engine, redis_client: redis.Redis, tmp_path: Path
) -> None:
    publisher, project = Publisher(redis_client, sessions), rows.project()
    token = rows.token(project)
    publisher.republish_all()
    path = saved(engine, tmp_path)
    purge(sessions, project, is_told=False)
    publisher.publish_pending()

    restore.restore(path, engine, KNOWN, LATER, replace=True)
    publisher.publish_pending()

    assert differences(redis_client, rows) == [] and rows.fresh(token).is_active
    assert redis_client.hget(redis_schema.identity_key(str(token.id)), "is_active") == b"1"


def test_versions_are_higher_than_those_of_what_is_replaced_even_if_the_clock_went_back(
    rows: Rows, engine: sa.Engine, tmp_path: Path
) -> None:
    token = rows.token(rows.project())
    path = saved(engine, tmp_path)
    restore.restore(path, engine, KNOWN, LATER, replace=True)
    first = rows.fresh(token).version

    restore.restore(path, engine, KNOWN, NOW, replace=True)

    assert rows.fresh(token).version > first


def differences(client: redis.Redis, rows: Rows) -> list[str]:
    """What Redis says of projects and tokens in another way than SQL does."""
    found = []
    for token in rows.all(Token):
        record = client.hgetall(redis_schema.token_key(token.digest))
        _, arguments = redis_schema.encode_token(published_token(token))
        wanted = dict(zip(arguments[8::2], arguments[9::2], strict=True)) | {"version": token.version}
        wanted["is_active"] = arguments[7]
        found += [
            f"token {token.digest} {name}"
            for name, value in wanted.items()
            if record.get(as_key(name)) != as_key(value)
        ]
    for project in rows.all(Project):
        record = client.hgetall(redis_schema.project_key(str(project.id)))
        _, arguments = redis_schema.encode_project(published_project(project))
        wanted = dict(zip(arguments[3::2], arguments[4::2], strict=True)) | {"version": project.version}
        found += [
            f"project {project.name} {name}"
            for name, value in wanted.items()
            if record.get(as_key(name)) != as_key(value)
        ]
    return found


def as_key(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.mark.parametrize("times", [1, 2])
def test_what_is_restored_wins_over_what_redis_knows(
    rows: Rows, sessions: db.Sessions, engine: sa.Engine, redis_client: redis.Redis, tmp_path: Path, times: int
) -> None:
    publisher = Publisher(redis_client, sessions)
    project = rows.project(name="search team", cors_origins=["https://old.example"])
    tokens = [rows.token(project, digest=f"d{number}") for number in range(3)]
    publisher.republish_all()
    path = saved(engine, tmp_path)

    for number in range(times):
        change_everything(sessions, project, tokens[0], tokens[1])
        publisher.publish_pending()
        publisher.publish_prices()
        restore.restore(path, engine, KNOWN, LATER + timedelta(hours=number), replace=True)
        assert differences(redis_client, rows)
        publisher.publish_pending()

        assert differences(redis_client, rows) == []
        assert redis_client.smembers(redis_schema.CORS_ORIGINS) == {b"", b"https://old.example"}
        assert redis_client.get(redis_schema.GLOBAL_LIMITS) == b""
        assert publisher.publish_pending() == 0


def change_everything(sessions: db.Sessions, project: Project, token: Token, revoked: Token) -> None:
    with sessions.begin() as session:
        row = session.get_one(Project, project.id)
        for _ in range(3):
            row.version += 1
        row.cors_origins = ["https://new.example"]
        changed = session.get_one(Token, token.id)
        changed.max_requests, changed.version = 1, changed.version + 40
        revoke(session.get_one(Token, revoked.id), NOW - timedelta(days=9))
        publications.set_global_limits(session, NOW, [LIMIT])


def test_versions_of_a_later_restore_are_higher_than_all_changes_after_an_earlier_one(
    rows: Rows, engine: sa.Engine, tmp_path: Path
) -> None:
    token = rows.token(rows.project())
    path = saved(engine, tmp_path)

    restore.restore(path, engine, KNOWN, LATER, replace=True)
    first = rows.fresh(token).version
    rows.change(token, version=first + 3000)
    restore.restore(path, engine, KNOWN, LATER + timedelta(hours=1), replace=True)

    assert rows.fresh(token).version > first + 3000 > 200_000_000 and rows.fresh(token).published_version == 0


def test_a_backup_of_what_was_restored_just_now_has_yet_higher_versions(
    rows: Rows, engine: sa.Engine, tmp_path: Path
) -> None:
    token = rows.token(rows.project())
    restore.restore(saved(engine, tmp_path), engine, KNOWN, LATER, replace=True)
    first = rows.fresh(token).version
    again = saved(engine, tmp_path / "again")

    restore.restore(again, engine, KNOWN, LATER, replace=True)

    assert rows.fresh(token).version == first + 1 < 2**31


# Under load


def test_a_backup_under_write_load_restores_to_one_whole_moment(
    rows: Rows, sessions: db.Sessions, engine: sa.Engine, make: Make, tmp_path: Path
) -> None:
    """Whoever makes a token also makes its project, notes it in the audit and counts it: all or nothing is there."""
    stop = threading.Event()
    chain = rows.add(
        AuditChain(name="audit", position=0, mac="0", seal="s", sealed_key=RING.seal("00" * 32, "audit_chain:audit"))
    )

    def work(number: int) -> None:
        for turn in itertools.count():
            if stop.wait(0.005) or turn >= 300:
                return
            db.transact(sessions, lambda session, turn=turn: write(session, f"{number}-{turn}"))

    def write(session: db.Session, name: str) -> None:
        head = session.get_one(AuditChain, chain.name, with_for_update=True)
        head.position += 1
        project = Project(id=new_id(), name=name, provider="openai", created_at=NOW, updated_at=NOW)
        key = UpstreamKey(id=new_id(), masked="sk", created_at=NOW)
        key.sealed = RING.seal(name, f"upstream_keys:{key.id}")
        project.keys.append(key)
        session.add(project)
        session.flush()
        session.add(Token(**token_columns(project, digest=name, is_active=False, revoked_at=NOW)))
        event = AuditEvent(occurred_at=NOW, action="token.revoke", actor="load", outcome="success", detail={})
        event.position, event.mac = head.position, name
        session.add(event)

    with ThreadPoolExecutor(3) as threads:
        working = [threads.submit(work, number) for number in range(3)]
        while len(rows.all(Token)) < 20:
            stop.wait(0.02)
        paths = [saved(engine, tmp_path / str(number)) for number in range(3)]
        stop.set()
        for future in working:
            future.result()
    news = [make(kind) for kind in ("sqlite", "postgresql", "sqlite")]
    for path, new in zip(paths, news, strict=True):
        restore.restore(path, new, KNOWN, LATER)

        with new.connect() as connection:
            found = full_database.counts(connection)
            positions = sorted(connection.scalars(sa.select(AuditEvent.position).where(AuditEvent.actor == "load")))
            head = connection.scalar(sa.select(AuditChain.position))
            lonely = sa.select(sa.func.count()).where(Token.project_id.not_in(sa.select(Project.id)))
            assert connection.scalar(lonely) == 0
            if new.dialect.name == "sqlite":
                assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        assert found["projects"] == found["tokens"] == found["upstream_keys"] == head >= 20
        assert positions == list(range(1, head + 1))


def test_every_publication_has_a_row_after_restoring(rows: Rows, engine: sa.Engine, tmp_path: Path) -> None:
    restore.restore(saved(engine, tmp_path), engine, KNOWN, LATER, replace=True)

    assert {row.name for row in rows.all(Publication)} == set(Name)
