"""Rules of the portable form: both databases give the same and take it, whatever a column holds; copies are whole."""

import itertools
import time
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from manager import database_copy, db, portable, schema
from manager.database_copy import CopyRefused
from manager.portable import PortableError
from manager.tables import Base, Project, Token, UiSession, UpstreamKey
from tests.conftest import new_postgresql
from tests.manager import full_database
from tests.manager.conftest import NOW, Rows, token_columns

type Make = Callable[[str], sa.Engine]
KINDS = ("sqlite", "postgresql")


@pytest.fixture
def make(tmp_path: object, postgres_url: str) -> Iterator[Make]:
    """Makes engines on databases of a kind that have no table."""
    engines: list[sa.Engine] = []

    def make(kind: str) -> sa.Engine:
        number = len(engines)
        file = f"sqlite:///{tmp_path}/{number}.db"
        engines.append(db.create_engine(file if kind == "sqlite" else new_postgresql(postgres_url, f"made_{number}")))
        return engines[-1]

    yield make
    for engine in engines:
        engine.dispose()


@pytest.fixture
def full(make: Make) -> Callable[[str], sa.Engine]:
    """Makes databases of a kind with rows in every table."""

    def full(kind: str) -> sa.Engine:
        engine = make(kind)
        db.upgrade(engine)
        with engine.begin() as connection:
            full_database.fill(connection, 12)
        return engine

    return full


def rows_of(engine: sa.Engine) -> dict[str, list[portable.Row]]:
    with portable.snapshot(engine) as connection:
        found = {table: itertools.chain(*portable.read(connection, table, 5)) for table in portable.tables()}
        return {table.name: sorted(rows, key=repr) for table, rows in found.items()}


def contents(engine: sa.Engine) -> dict[str, list[tuple[object, ...]]]:
    with engine.connect() as connection:
        return full_database.contents(connection)


def test_both_databases_give_the_same_rows(full: Make) -> None:
    assert rows_of(full("sqlite")) == rows_of(full("postgresql"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_snapshot_is_of_one_moment_and_holds_up_nobody(full: Make, kind: str) -> None:
    engine = full(kind)

    with portable.snapshot(engine) as connection:
        before = portable.checksum(connection, Token.__table__)
        with engine.begin() as writer:
            writer.execute(sa.delete(Token))
        after = portable.checksum(connection, Token.__table__)

    assert before == after and before[0] == 12


@pytest.mark.parametrize("kind", KINDS)
def test_a_snapshot_takes_the_time_it_needs(make: Make, kind: str, postgres_url: str) -> None:
    hasty = db.create_engine(postgres_url, db.Tuning(statement_timeout=1)) if kind == "postgresql" else make(kind)

    with portable.snapshot(hasty) as connection:
        if kind == "postgresql":
            assert connection.exec_driver_sql("SHOW statement_timeout").scalar() == "0"
    hasty.dispose()


@pytest.mark.parametrize(("source", "target"), list(itertools.product(KINDS, KINDS)))
def test_a_copy_is_the_same_by_every_column(full: Make, make: Make, source: str, target: str) -> None:
    origin, new = full(source), make(target)
    before = contents(origin) | {"ui_sessions": []}

    counts = database_copy.copy(origin, new, NOW)

    found = contents(new)
    events = found.pop("audit_events")
    assert len(events) == len(before.pop("audit_events")) + 1
    assert found == before and set(counts.values()) == {12}


@pytest.mark.parametrize("target", KINDS)
def test_a_copy_is_noted_in_the_audit_of_the_target(full: Make, make: Make, target: str) -> None:
    new = make(target)

    database_copy.copy(full("sqlite"), new, NOW)

    [event] = [row for row in contents(new)["audit_events"] if "database.copy" in row]
    assert any(isinstance(value, dict) and value.get("to") == target for value in event)


@pytest.mark.parametrize("target", KINDS)
def test_a_target_that_holds_something_is_refused_and_left_alone(full: Make, target: str) -> None:
    new = full(target)
    before = contents(new)

    with pytest.raises(CopyRefused, match="not empty: .*tokens"):
        database_copy.copy(full("sqlite"), new, NOW)

    assert contents(new) == before


def test_a_source_of_another_schema_is_refused(make: Make) -> None:
    origin, new = make("sqlite"), make("sqlite")
    schema.upgrade(origin)
    schema.downgrade(origin, "0003")

    with pytest.raises(CopyRefused, match="db upgrade"):
        database_copy.copy(origin, new, NOW)

    assert sa.inspect(new).get_table_names() == []


def test_what_a_database_does_not_take_is_told_and_nothing_of_it_stays(full: Make, make: Make) -> None:
    """SQLite does not mind the length of a text."""
    origin, new = full("sqlite"), make("postgresql")
    with origin.begin() as connection:
        connection.execute(sa.update(Token).values(masked="sk-the-long-secret" * 9))

    with pytest.raises(PortableError, match="tokens: value too long") as caught:
        database_copy.copy(origin, new, NOW)

    assert "sk-the-long-secret" not in str(caught.value) and sa.inspect(new).get_table_names() == []


def test_a_table_that_arrives_otherwise_is_noticed_and_nothing_of_it_stays(full: Make, make: Make) -> None:
    origin, new = full("sqlite"), make("postgresql")
    db.upgrade(new)
    with new.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql"
            " AS 'BEGIN NEW.label = ''spoilt''; RETURN NEW; END'"
        )
        connection.exec_driver_sql("CREATE TRIGGER t BEFORE INSERT ON tokens FOR EACH ROW EXECUTE FUNCTION spoil()")

    with pytest.raises(CopyRefused, match="tokens did not arrive"):
        database_copy.copy(origin, new, NOW)

    with new.connect() as connection:
        assert portable.filled(connection) == []


def test_many_rows_are_copied_fast(database_url: str, rows: Rows, engine: sa.Engine, make: Make) -> None:
    project = rows.project("v1.k1.sealed")
    columns = token_columns(project)
    many = [columns | {"id": new, "digest": f"{number:064}"} for number, new in enumerate(ids(100_000))]
    with engine.begin() as connection:
        connection.execute(sa.insert(Token), many)
    other = make("postgresql" if engine.dialect.name == "sqlite" else "sqlite")

    begun = time.perf_counter()
    counts = database_copy.copy(engine, other, NOW)
    seconds = time.perf_counter() - begun

    assert counts["tokens"] == 100_000 and seconds < 60


def ids(count: int) -> Iterator[object]:
    from uuid import UUID

    return (UUID(int=(0x018F << 112) + number) for number in range(count))


def test_every_table_is_portable_but_sessions() -> None:
    assert set(portable.all_tables()) == set(Base.metadata.tables.values())
    assert set(portable.all_tables()) - set(portable.tables()) == {UiSession.__table__}
    assert portable.tables().index(Project.__table__) < portable.tables().index(UpstreamKey.__table__)
