"""Rules of backups: whole or not there, of one moment, for their owner alone, and told to the audit."""

import json
import signal
import stat
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa
import zstandard

from manager import backup, db, jobs, portable, schema
from manager.backup import Backup, Secrets
from manager.backup_file import BackupError, Manifest, Part, opened
from manager.backup_schedule import BackupSchedule, folder_of
from manager.tables import AuditChain, AuditEvent, Project, Token
from shared import sealing
from shared.sealing import Keyring
from tests.manager import full_database
from tests.manager.conftest import NOW, Rows, SettingsOf
from tests.manager.test_jobs import handlers as handlers
from tests.manager.test_jobs import send_when

RING = Keyring.parse(f"k1:{sealing.generate_key()}")
KNOWN = Secrets(RING, b"the pepper of this installation, 32")

type Make = Callable[..., Backup]


@pytest.fixture
def make(engine: sa.Engine, tmp_path: Path) -> Make:
    """Makes a backup in the test's folder."""

    def make(now: datetime = NOW, is_encrypted: bool = False) -> Backup:
        return backup.create(engine, KNOWN, tmp_path / "backups", now, is_encrypted=is_encrypted)

    return make


def lines(path: Path, table: str) -> list[list[object]]:
    """A table's rows, read with ordinary tools."""
    with zipfile.ZipFile(path) as file, file.open(f"{table}.jsonl.zst") as entry:
        text = zstandard.ZstdDecompressor().stream_reader(entry).read()
    return [json.loads(line) for line in text.splitlines()]


def test_ordinary_tools_read_what_is_in_it(make: Make, rows: Rows) -> None:
    token = rows.token(rows.project(), label="Zürich")

    made = make()

    columns = {part.table: part.columns for part in made.manifest.parts}["tokens"]
    [row] = lines(made.path, "tokens")
    values = dict(zip(columns, row, strict=True))
    assert (values["id"], values["label"], values["is_active"]) == (token.id.hex, "Zürich", 1)
    assert values["created_at"] == "2026-05-04 10:20:30.456000"


def test_the_checksums_are_those_of_ordinary_tools(make: Make, rows: Rows, tmp_path: Path) -> None:
    rows.token(rows.project())
    made = make()

    with zipfile.ZipFile(made.path) as file:
        file.extractall(tmp_path)
    told = subprocess.run(
        ["sha256sum", *(part.file for part in made.manifest.parts)], cwd=tmp_path, capture_output=True
    )

    assert [line.split()[0].decode() for line in told.stdout.splitlines()] == [p.sha256 for p in made.manifest.parts]


def test_the_manifest_tells_what_it_is(make: Make, engine: sa.Engine, rows: Rows) -> None:
    project = rows.project(RING.seal("sk", "upstream_keys:x"))
    rows.tokens(project, 5)
    rows.add(AuditChain(name="audit", position=7, mac="m", seal="s", sealed_key=RING.seal("k", "audit_chain:audit")))

    manifest = make().manifest

    assert (manifest.created_at, manifest.database, manifest.key_ids) == (NOW, engine.dialect.name, {"k1": 2})
    assert manifest.audit_chain is not None and manifest.audit_chain.position == 7
    assert {part.table: part.rows for part in manifest.parts}["tokens"] == 5
    with engine.connect() as connection:
        assert manifest.schema == schema.status(connection).head
    assert {part.table for part in manifest.parts} == {table.name for table in portable.tables()}


def test_it_gives_no_secret_away(make: Make, rows: Rows) -> None:
    rows.project(RING.seal("sk-the-provider-key", "upstream_keys:x"))

    written = make().path.read_bytes()

    assert b"sk-the-provider-key" not in written and KNOWN.pepper not in written and RING.keys["k1"] not in written


def test_an_encrypted_one_shows_nothing(make: Make, rows: Rows) -> None:
    rows.project(name="the name of the project")

    written = make(is_encrypted=True).path.read_bytes()

    assert b"manifest" not in written and b"jsonl" not in written


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_it_is_for_its_owner_alone_and_leaves_nothing_beside_it(make: Make, is_encrypted: bool) -> None:
    path = make(is_encrypted=is_encrypted).path

    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]
    assert path.name == "llm-proxy-20260504T102030.456000Z.backup"


def test_the_audit_knows_of_it(make: Make, rows: Rows) -> None:
    made = make()

    [event] = rows.all(AuditEvent)
    assert event.action == "backup.create" and event.detail["file"] == made.path.name
    assert event.detail["bytes"] == made.path.stat().st_size and lines(made.path, "audit_events") == []


def test_it_is_of_one_moment(engine: sa.Engine, rows: Rows, tmp_path: Path) -> None:
    """Somebody deletes everything as soon as the first row has been read."""
    project = rows.project()
    rows.tokens(project, 3)
    other = db.create_engine(engine.url.render_as_string(hide_password=False))

    @sa.event.listens_for(engine, "after_cursor_execute")
    def delete_all(connection: sa.Connection, cursor: object, statement: str, *_: object) -> None:
        if "FROM" in statement and "projects" in statement and not deleted:
            deleted.append(1)
            with other.begin() as writer:
                writer.execute(sa.delete(Token))
                writer.execute(sa.delete(Project))

    deleted: list[int] = []
    made = backup.create(engine, KNOWN, tmp_path, NOW, is_encrypted=False)
    other.dispose()

    counts = {part.table: part.rows for part in made.manifest.parts}
    assert deleted and (counts["projects"], counts["tokens"]) == (1, 3) and rows.all(Token) == []


def test_a_database_of_another_schema_is_refused_and_nothing_is_left(empty_url: str, tmp_path: Path) -> None:
    engine = db.create_engine(empty_url)
    schema.upgrade(engine, "0003")

    with pytest.raises(BackupError, match="db upgrade"):
        backup.create(engine, KNOWN, tmp_path / "backups", NOW, is_encrypted=True)

    engine.dispose()
    assert list((tmp_path / "backups").iterdir()) == []


def test_a_backup_that_fails_in_the_middle_leaves_nothing(engine: sa.Engine, rows: Rows, tmp_path: Path) -> None:
    rows.tokens(rows.project(), 3)

    @sa.event.listens_for(engine, "before_cursor_execute")
    def fail(connection: sa.Connection, cursor: object, statement: str, *_: object) -> None:
        if "usage" in statement:
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        backup.create(engine, KNOWN, tmp_path / "backups", NOW, is_encrypted=True)
    sa.event.remove(engine, "before_cursor_execute", fail)

    assert list((tmp_path / "backups").iterdir()) == [] and rows.all(AuditEvent) == []


# What is read again


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_what_was_written_is_read(make: Make, engine: sa.Engine, is_encrypted: bool) -> None:
    with engine.begin() as connection:
        full_database.fill(connection, 7)
    made = make(is_encrypted=is_encrypted)

    with opened(made.path, RING) as reader:
        assert reader.manifest == made.manifest and reader.is_encrypted is is_encrypted
        for part in reader.manifest.parts:
            reader.check(part)
            assert [len(rows) for rows in reader.rows(part, 3)] == [3, 3, 1]


def test_another_key_of_the_same_id_is_refused(make: Make) -> None:
    other = Keyring.parse(f"k1:{sealing.generate_key()}")

    with pytest.raises(BackupError, match="not made with these ENCRYPTION_KEYS"), opened(make().path, other):
        pass


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_a_missing_key_is_named(make: Make, is_encrypted: bool) -> None:
    other = Keyring.parse(f"k2:{sealing.generate_key()}")

    with pytest.raises(BackupError, match="key id 'k1'"), opened(make(is_encrypted=is_encrypted).path, other):
        pass


def rezipped(path: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """The same zip with other contents."""
    other = path.with_name("changed.backup")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return other


def test_a_changed_manifest_is_refused(make: Make) -> None:
    changed = rezipped(make().path, lambda name, data: data.replace(b'"0006"', b'"0003"'))

    with pytest.raises(BackupError, match="manifest has been changed"), opened(changed, RING):
        pass


def test_changed_rows_are_refused(make: Make, rows: Rows) -> None:
    rows.project(name="old name")
    none = zstandard.ZstdCompressor().compress(b"")
    changed = rezipped(make().path, lambda name, data: none if name.startswith("projects") else data)

    with opened(changed, RING) as reader, pytest.raises(BackupError, match="projects.jsonl.zst is damaged"):
        for part in reader.manifest.parts:
            reader.check(part)


def test_rows_that_are_missing_are_noticed(make: Make, rows: Rows) -> None:
    rows.project()

    with opened(make().path, RING) as reader, pytest.raises(BackupError, match="1 rows in the place of 2"):
        [part] = [part for part in reader.manifest.parts if part.table == "projects"]
        list(reader.rows(Part(part.table, part.file, part.columns, 2, part.sha256)))


@pytest.mark.parametrize("content", [b"", b"PK", b"llm-proxy encrypted 1\n", b"nonsense" * 100])
def test_what_is_no_backup_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.backup").write_bytes(content)

    with pytest.raises(BackupError, match="x.backup"), opened(tmp_path / "x.backup", RING):
        pass


@pytest.mark.parametrize("is_encrypted", [False, True])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.7, 0.99])
def test_a_flipped_bit_or_a_lost_end_never_goes_unnoticed(
    make: Make, engine: sa.Engine, is_encrypted: bool, share: float
) -> None:
    with engine.begin() as connection:
        full_database.fill(connection, 30)
    path = make(is_encrypted=is_encrypted).path
    whole = path.read_bytes()
    at = int(len(whole) * share)

    for spoilt in (whole[:at], whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :]):
        path.write_bytes(spoilt)
        # Where a zip keeps what nobody reads, such as a name twice, a bit may be another one; the rows may not.
        try:
            with opened(path, RING) as reader:
                for part in reader.manifest.parts:
                    reader.check(part)
                    assert sum(map(len, reader.rows(part))) == 30
        except BackupError:
            continue
        assert len(spoilt) == len(whole) and not is_encrypted


@pytest.mark.parametrize(
    ("offset", "value"),
    [(8, 1), (10, 9), (10, 12), (10, 14), (10, 93), (10, 255), (6, 255), (42, 255)],
    ids=["password", "deflate64", "bzip2", "lzma", "zstandard", "unknown", "later version", "elsewhere"],
)
def test_a_zip_that_claims_to_be_of_another_kind_is_refused(make: Make, offset: int, value: int) -> None:
    path = make().path
    content = bytearray(path.read_bytes())
    at = -1
    while (at := content.find(b"PK\1\2", at + 1)) >= 0:  # Each entry of the directory.
        content[at + offset] = value
    path.write_bytes(content)

    with pytest.raises(BackupError), opened(path, RING):
        pass


@pytest.mark.parametrize("kind", [ValueError, KeyError, RuntimeError])
def test_what_fails_in_the_hands_of_whoever_reads_is_not_the_backup_s_fault(
    make: Make, rows: Rows, kind: type[Exception]
) -> None:
    rows.project()
    path = make().path

    with pytest.raises(kind, match="of mine"), opened(path, RING) as reader:  # noqa: PT012
        part = next(part for part in reader.manifest.parts if part.table == "projects")
        for _ in reader.rows(part):
            raise kind("of mine")


def test_rows_that_change_after_they_were_checked_are_noticed(make: Make, rows: Rows) -> None:
    rows.project()
    path = make().path

    with opened(path, RING) as reader, pytest.raises(BackupError, match="projects.jsonl.zst is damaged"):  # noqa: PT012
        part = next(part for part in reader.manifest.parts if part.table == "projects")
        reader.check(part)
        list(reader.rows(Part(part.table, part.file, part.columns, part.rows, "0" * 64)))


def test_a_later_format_is_refused(make: Make, tmp_path: Path) -> None:
    from manager.backup_file import Writer

    manifest: Manifest = make().manifest
    path = tmp_path / "later.backup"
    with path.open("wb") as file:
        writer = Writer(file, RING, is_encrypted=False)
        later = {name: getattr(manifest, name) for name in manifest.__struct_fields__} | {"format": 2}
        writer.finish(Manifest(**later))

    with pytest.raises(BackupError, match="its format is 2"), opened(path, RING):
        pass


# By the clock


@pytest.fixture
def schedule(engine: sa.Engine, tmp_path: Path) -> BackupSchedule:
    return BackupSchedule(engine, KNOWN, tmp_path / "kept", timedelta(hours=1), keep=2, is_encrypted=False)


def test_a_backup_is_made_when_it_is_due_and_not_before(schedule: BackupSchedule) -> None:
    first = schedule.run(NOW)

    assert first is not None and schedule.run(NOW + timedelta(minutes=59)) is None
    assert schedule.run(NOW + timedelta(minutes=60)) not in (None, first)


def test_a_restart_makes_none_due(schedule: BackupSchedule) -> None:
    schedule.run(NOW)

    assert replace(schedule).run(NOW + timedelta(minutes=1)) is None


def test_the_newest_are_kept_and_nothing_else_is_touched(schedule: BackupSchedule) -> None:
    schedule.folder.mkdir()
    foreign = [schedule.folder / "llm-proxy-of-somebody.backup", schedule.folder / "notes.txt"]
    for path in foreign:
        path.write_text("mine")

    made = [schedule.run(NOW + timedelta(hours=number)) for number in range(5)]

    assert [path for _, path in backup.existing(schedule.folder)] == [made[4], made[3]]
    assert all(path.exists() for path in foreign)


def test_what_a_killed_backup_left_is_swept_away_later(schedule: BackupSchedule) -> None:
    schedule.folder.mkdir()
    left = schedule.folder / "llm-proxy-x.backup.1.backup.unfinished"
    left.write_text("half")

    backup.prune(schedule.folder, 2, datetime.now(UTC))
    was_kept = left.exists()
    backup.prune(schedule.folder, 2, datetime.now(UTC) + timedelta(days=2))

    assert was_kept and not left.exists()


def test_the_settings_say_when_and_where(settings_of: SettingsOf, engine: sa.Engine, tmp_path: Path) -> None:
    settings = settings_of(LLM_PROXY_BACKUP_EVERY="PT6H", LLM_PROXY_BACKUP_KEEP="3", LLM_PROXY_DATA_DIR=str(tmp_path))

    schedule = BackupSchedule.of(settings, engine)

    assert schedule is not None and (schedule.every, schedule.keep) == (timedelta(hours=6), 3)
    assert schedule.folder == folder_of(settings) == tmp_path / "backups" and schedule.is_encrypted


def test_without_a_time_there_is_no_schedule(settings_of: SettingsOf, engine: sa.Engine) -> None:
    assert BackupSchedule.of(settings_of(LLM_PROXY_BACKUP_DIR="/elsewhere"), engine) is None
    assert folder_of(settings_of(LLM_PROXY_BACKUP_DIR="/elsewhere")) == Path("/elsewhere")


@pytest.mark.usefixtures("handlers")
def test_the_jobs_process_makes_backups(
    settings_of: SettingsOf, database_url: str, valkey_url: str, redis_client: redis.Redis, tmp_path: Path
) -> None:
    settings = settings_of(
        DATABASE_URL=database_url, REDIS_URL=valkey_url, LLM_PROXY_BACKUP_EVERY="PT1H", LLM_PROXY_DATA_DIR=str(tmp_path)
    )

    watcher = send_when(lambda: bool(backup.existing(tmp_path / "backups")), signal.SIGTERM)
    jobs.run(settings)
    watcher.join()

    [(_, path)] = backup.existing(tmp_path / "backups")
    with opened(path, settings.encryption_keys) as reader:
        assert reader.is_encrypted
