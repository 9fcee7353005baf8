"""Rules of the audit's chain: whatever is done to a row is found, and retention cuts only what is whole."""

import threading
import time
import tracemalloc
import uuid
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manager import audit, audit_links, db
from manager.audit import Action, Source
from manager.audit_chain import Chain
from manager.audit_links import ChainBroken, Fault, FaultKind
from manager.audit_verification import Anchor
from manager.tables import AuditChain, AuditEvent
from shared import sealing
from tests.manager.conftest import NOW, PROJECT_ID, TOKEN_ID, Rows

KEYRING = sealing.Keyring.parse(f"k1:{sealing.generate_key()}")
EVENTS = 9
WORKER = Source("ops", "ticket-42", "192.0.2.7")
DAY_MS = 86_400_000

type Tamper = Callable[..., None]


def uuid7(milliseconds: int, number: int = 0) -> uuid.UUID:
    """The id of an event that was written down then."""
    return uuid.UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | number)


def write(sessions: db.Sessions, count: int) -> None:
    """Events that tell something in each of their columns."""
    with sessions.begin() as session:
        for number in range(count):
            detail = {"number": number, "name": "équipe 😀", "share": 0.1}
            ids = {"project_id": PROJECT_ID, "token_id": TOKEN_ID, "subject_id": uuid.UUID(int=5)}
            audit.note(session, NOW, WORKER, Action.TOKEN_UPDATE, **ids, detail=detail)


@pytest.fixture
def chain(sessions: db.Sessions) -> Chain:
    return Chain(sessions, KEYRING)


@pytest.fixture
def chained(chain: Chain, sessions: db.Sessions) -> Chain:
    """A chain of some events."""
    write(sessions, EVENTS - 1)
    assert chain.extend() == EVENTS - 1  # The first event tells that the chain begins.
    return chain


@pytest.fixture
def tamper(sessions: db.Sessions) -> Tamper:
    """Changes columns of the row at a position, as somebody does who may write to the database."""

    def change(place: int, /, **values: Any) -> None:
        with sessions.begin() as session:
            changed = session.execute(sa.update(AuditEvent).where(AuditEvent.position == place).values(**values))
            assert changed.rowcount == 1

    return change


def remove(sessions: db.Sessions, *positions: int) -> None:
    with sessions.begin() as session:
        session.execute(sa.delete(AuditEvent).where(AuditEvent.position.in_(positions)))


def change_record(sessions: db.Sessions, **values: Any) -> None:
    with sessions.begin() as session:
        session.execute(sa.update(AuditChain).values(**values))


def fault(chain: Chain, anchor: Anchor | None = None) -> Fault:
    """What is wrong; fails if nothing is."""
    found = chain.verify(anchor).fault
    assert found is not None
    return found


def row_at(rows: Rows, position: int) -> AuditEvent:
    [found] = [row for row in rows.all(AuditEvent) if row.position == position]
    return found


# Extending


def test_events_get_their_places_in_the_order_in_which_they_were_written(chained: Chain, rows: Rows) -> None:
    found = rows.all(AuditEvent)
    assert [row.position for row in found] == [*range(2, EVENTS + 1), 1]
    assert (found[-1].action, found[-1].actor) == ("audit.begin", "jobs") and found[-1].detail["events"] == EVENTS - 1


def test_a_chain_that_nobody_touched_is_whole(chained: Chain, sessions: db.Sessions) -> None:
    write(sessions, 2)

    report = chained.verify()

    assert report.is_whole and (report.rows, report.position, report.unchained) == (EVENTS + 2, EVENTS + 2, 0)


def test_an_audit_without_events_is_whole(chain: Chain) -> None:
    assert chain.extend() == 0

    report = chain.verify()

    assert report.is_whole and (report.rows, report.position, report.mac) == (0, 0, "")


def test_a_long_backlog_is_chained_in_one_go(chain: Chain, sessions: db.Sessions) -> None:
    write(sessions, audit_links.BATCH * 2 + 1)

    assert chain.extend() == audit_links.BATCH * 2 + 1 and chain.extend() == 0


def test_another_process_goes_on_with_the_same_chain(chained: Chain, sessions: db.Sessions) -> None:
    write(sessions, 1)
    Chain(sessions, KEYRING).extend()

    assert chained.verify().is_whole


def test_what_is_written_late_comes_last(chained: Chain, sessions: db.Sessions, rows: Rows) -> None:
    rows.add(AuditEvent(id=uuid.UUID(int=1), occurred_at=NOW, action="login", actor="x", outcome="success", detail={}))
    chained.extend()

    assert chained.verify().is_whole and row_at(rows, EVENTS + 1).id == uuid.UUID(int=1)


def test_a_chain_can_be_extended_by_many_at_once(chain: Chain, sessions: db.Sessions) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(5):
                write(sessions, 3)
                chain.extend()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    report = chain.verify()
    assert not failures and report.is_whole and (report.rows, report.unchained) == (91, 0)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_chain_that_another_process_begins_at_the_same_time_is_gone_on_with(
    chain: Chain, engine: sa.Engine, sessions: db.Sessions, database_url: str
) -> None:
    other = db.create_engine(database_url)
    write(sessions, 2)

    came: list[int] = []

    def come_between(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "FROM audit_chain" in statement and not came:
            came.append(Chain(db.create_sessions(other), KEYRING).extend())
            write(sessions, 1)

    sa.event.listen(engine, "after_cursor_execute", come_between)
    assert chain.extend() == 1

    other.dispose()
    assert came == [2] and chain.verify().is_whole and chain.verify().rows == 4


def test_the_key_is_stored_sealed_and_nowhere_else(chained: Chain, rows: Rows) -> None:
    [record] = rows.all(AuditChain)

    key = KEYRING.open(record.sealed_key, "audit_chain:audit")
    assert len(bytes.fromhex(key)) == 32 and key not in repr(vars(record))


def test_the_chain_stays_whole_when_its_key_is_sealed_anew(chained: Chain, sessions: db.Sessions, rows: Rows) -> None:
    ring = sealing.Keyring.parse(f"k2:{sealing.generate_key()}")
    [record] = rows.all(AuditChain)
    change_record(sessions, sealed_key=ring.seal(KEYRING.open(record.sealed_key, audit_links.PLACE), audit_links.PLACE))

    assert Chain(sessions, ring).verify().is_whole


# Tampering

# Another value of each column.
OTHERS: dict[str, Any] = {
    "id": uuid.UUID(int=99),
    "occurred_at": NOW + timedelta(microseconds=1),
    "action": "token.create",
    "actor": "ops2",
    "actor_id": uuid.UUID(int=8),
    "outcome": "denied",
    "project_id": None,
    "token_id": uuid.UUID(int=6),
    "request_id": "ticket-43",
    "subject_id": uuid.UUID(int=6),
    "address": "192.0.2.8",
    "detail": {"number": 0, "name": "équipe 😀"},
    "chained_at": NOW,
    "mac": "0" * 64,
}


def test_every_column_is_covered() -> None:
    assert set(OTHERS) | {"position"} == set(AuditEvent.__table__.columns.keys())


@pytest.mark.parametrize("position", [2, 5, EVENTS])
@pytest.mark.parametrize("column", OTHERS)
def test_whatever_is_changed_in_a_row_is_found(
    chained: Chain, tamper: Tamper, rows: Rows, column: str, position: int
) -> None:
    tamper(position, **{column: OTHERS[column]})

    assert (fault(chained).kind, fault(chained).position) == (FaultKind.CHANGED, position)
    assert fault(chained).id == row_at(rows, position).id


@pytest.mark.parametrize("value", [None, "", "é" * 64])
def test_a_code_that_is_none_is_found(chained: Chain, tamper: Tamper, value: str | None) -> None:
    tamper(4, mac=value)

    assert fault(chained).position == 4


@pytest.mark.parametrize("position", range(1, EVENTS + 1))
def test_a_row_that_was_taken_out_is_named(chained: Chain, sessions: db.Sessions, position: int) -> None:
    remove(sessions, position)

    assert (fault(chained).kind, fault(chained).position) == (FaultKind.MISSING, position)


@pytest.mark.parametrize("positions", [(1, 2, 3), (8, 9), (4, 5), tuple(range(1, EVENTS + 1))])
def test_rows_that_were_cut_off_are_named(chained: Chain, sessions: db.Sessions, positions: tuple[int, ...]) -> None:
    remove(sessions, *positions)

    assert (fault(chained).kind, fault(chained).position) == (FaultKind.MISSING, positions[0])
    assert f"{positions[0]} to {positions[-1]}" in fault(chained).reason


def test_what_was_cut_off_the_end_is_missed_when_the_chain_has_gone_on(chained: Chain, sessions: db.Sessions) -> None:
    remove(sessions, EVENTS)
    write(sessions, 3)

    assert (fault(chained).kind, fault(chained).position) == (FaultKind.MISSING, EVENTS)


@pytest.mark.parametrize(("one", "other"), [(1, 2), (3, 7), (1, EVENTS)])
@pytest.mark.parametrize("with_codes", [True, False])
def test_rows_that_changed_places_are_found(
    chained: Chain, tamper: Tamper, rows: Rows, one: int, other: int, with_codes: bool
) -> None:
    codes = {place: {"mac": row_at(rows, place).mac} if with_codes else {} for place in (one, other)}
    tamper(one, position=1000)
    tamper(other, position=one, **codes[one])
    tamper(1000, position=other, **codes[other])

    assert (fault(chained).kind, fault(chained).position) == (FaultKind.CHANGED, one)


@pytest.mark.parametrize("position", [EVENTS + 1, EVENTS + 7, 0, -3])
def test_a_row_that_was_put_in_is_found(chained: Chain, rows: Rows, position: int) -> None:
    copied = row_at(rows, EVENTS)
    columns = {name: getattr(copied, name) for name in OTHERS} | {"id": uuid.UUID(int=3)}
    rows.add(AuditEvent(**columns, position=position))

    assert (fault(chained).kind, fault(chained).position) == (FaultKind.ADDITIONAL, position)
    assert fault(chained).id == uuid.UUID(int=3)


def test_a_row_that_was_taken_back_to_be_chained_anew_is_missed(chained: Chain, tamper: Tamper) -> None:
    tamper(4, position=None, mac=None, actor="somebody else")

    assert (fault(chained).kind, fault(chained).position) == (FaultKind.MISSING, 4)


@pytest.mark.parametrize("later", [0, 1])
def test_a_row_of_a_time_before_the_chain_was_set_back_does_not_fit(
    chained: Chain, sessions: db.Sessions, rows: Rows, tamper: Tamper, later: int
) -> None:
    [record] = rows.all(AuditChain)
    write(sessions, 1)
    chained.extend()
    old = row_at(rows, EVENTS + 1)
    remove(sessions, EVENTS + 1)
    change_record(sessions, position=record.position, mac=record.mac, seal=record.seal)
    write(sessions, 1 + later)
    assert chained.verify().is_whole

    tamper(EVENTS + 1, **{name: getattr(old, name) for name in OTHERS})

    assert (fault(chained).kind, fault(chained).position) == (FaultKind.CHANGED, EVENTS + 1 + later)


def test_a_row_that_lost_its_place_alone_is_not_chained_anew(chained: Chain, tamper: Tamper, rows: Rows) -> None:
    rows.add(AuditEvent(occurred_at=NOW, action="login", actor="x", outcome="success", detail={}, mac="0" * 64))

    assert chained.extend() == 0
    assert (fault(chained).kind, chained.verify().unchained) == (FaultKind.ADDITIONAL, 1)


RECORD = {
    "chain_id": "another",
    "position": EVENTS - 1,
    "mac": "0" * 64,
    "kept_position": 1,
    "kept_mac": "0" * 64,
    "seal": "0" * 64,
    "sealed_key": KEYRING.seal("00" * 32, audit_links.PLACE),
}


def test_every_column_of_the_record_is_covered() -> None:
    assert set(RECORD) | {"name"} == set(AuditChain.__table__.columns.keys())


@pytest.mark.parametrize("column", RECORD)
def test_whatever_is_changed_in_the_chains_record_is_found(chained: Chain, sessions: db.Sessions, column: str) -> None:
    change_record(sessions, **{column: RECORD[column]})

    assert fault(chained).kind is FaultKind.RECORD


def test_cutting_off_an_end_and_the_record_with_it_is_found(chained: Chain, sessions: db.Sessions, rows: Rows) -> None:
    remove(sessions, EVENTS)
    change_record(sessions, position=EVENTS - 1, mac=row_at(rows, EVENTS - 1).mac)

    assert fault(chained).kind is FaultKind.RECORD


def test_nothing_is_chained_to_a_record_that_was_changed(chained: Chain, sessions: db.Sessions) -> None:
    change_record(sessions, position=3)
    write(sessions, 1)

    with pytest.raises(ChainBroken):
        chained.extend()
    assert chained.verify().unchained == 1 and chained.verify().unchained_since == NOW


def test_a_chain_whose_record_and_codes_are_gone_is_begun_anew_by_command_alone(
    chained: Chain, sessions: db.Sessions, rows: Rows
) -> None:
    with sessions.begin() as session:
        session.execute(sa.delete(AuditChain))
        session.execute(sa.update(AuditEvent).values(position=None, chained_at=None, mac=None, actor="innocent"))
    with pytest.raises(ChainBroken, match="record is gone"):
        chained.extend()
    assert fault(chained).kind is FaultKind.RECORD

    chained.begin_anew()

    assert chained.verify().is_whole and chained.verify().rows == EVENTS + 1
    assert (row_at(rows, 1).action, row_at(rows, 1).actor) == ("audit.begin", "command")


def test_a_broken_chain_is_begun_anew_by_command(chained: Chain, tamper: Tamper, rows: Rows) -> None:
    old = chained.verify()
    tamper(4, actor="x")

    chained.begin_anew()

    assert chained.verify().is_whole
    assert row_at(rows, 1).detail["before"] == {"chain": old.chain, "position": str(EVENTS), "mac": old.mac}


UNREADABLE = {
    "detail": "'not json'",
    "occurred_at": "'garbage'",
    "id": "'garbage'",
    "project_id": "'zz'",
    "position": "3.5",
    "mac": "x'00ff'",
    "actor": "cast(x'ff' as text)",
    "action": "x'ff'",
    "chained_at": "7",
}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("column", UNREADABLE)
def test_a_row_that_cannot_be_read_is_named(chained: Chain, sessions: db.Sessions, column: str) -> None:
    with sessions.begin() as session:
        value = sa.literal_column(UNREADABLE[column])
        session.execute(sa.update(AuditEvent).where(AuditEvent.position == 3).values({column: value}))

    found = fault(chained)
    assert found.position == 3 and found.kind in (FaultKind.CHANGED, FaultKind.MISSING)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_time_without_end_is_named(chained: Chain, sessions: db.Sessions) -> None:
    with sessions.begin() as session:
        session.execute(sa.text("update audit_events set occurred_at = 'infinity' where position = 3"))

    assert (fault(chained).kind, fault(chained).position) == (FaultKind.CHANGED, 3)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("column", "value"),
    [("seal", "x'00'"), ("sealed_key", "'v1.k1.zz'"), ("position", "'abc'"), ("sealed_key", "x'00'")],
)
def test_a_record_that_cannot_be_read_is_named(chained: Chain, sessions: db.Sessions, column: str, value: str) -> None:
    change_record(sessions, **{column: sa.literal_column(value)})

    assert fault(chained).kind is FaultKind.RECORD


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_event_that_waits_and_cannot_be_read_is_told(chained: Chain, sessions: db.Sessions) -> None:
    write(sessions, 1)
    with sessions.begin() as session:
        session.execute(sa.text("update audit_events set occurred_at = 'garbage' where position is null"))

    assert fault(chained).kind is FaultKind.ADDITIONAL and chained.verify().unchained == 1


@pytest.mark.parametrize("more", [0, 1])
def test_a_record_that_is_gone_is_found_and_not_begun_anew(chained: Chain, sessions: db.Sessions, more: int) -> None:
    with sessions.begin() as session:
        session.execute(sa.delete(AuditChain))
    write(sessions, more)

    assert not chained.verify().is_whole
    assert not chained.verify().is_whole


def test_keys_that_do_not_open_the_chain_are_told(chained: Chain, sessions: db.Sessions) -> None:
    stranger = Chain(sessions, sealing.Keyring.parse(f"k9:{sealing.generate_key()}"))

    assert fault(stranger).kind is FaultKind.RECORD and "k1" in fault(stranger).reason


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(["delete", "swap", "change", "copy"]), min_size=1, max_size=3), st.randoms())
def test_no_few_changes_go_unnoticed(sessions: db.Sessions, deeds: list[str], random: Any) -> None:
    with sessions.begin() as session:
        session.execute(sa.delete(AuditEvent))
        session.execute(sa.delete(AuditChain))
    chain = Chain(sessions, KEYRING)
    write(sessions, EVENTS)
    assert chain.verify().is_whole
    before = contents(sessions)

    with sessions.begin() as session:
        for deed in deeds:
            disturb(session, deed, random)

    assert chain.verify().is_whole == (contents(sessions) == before)


def contents(sessions: db.Sessions) -> list[Any]:
    with db.reading(sessions) as session:
        return [tuple(row) for row in session.execute(audit_links.in_order())]


def disturb(session: Any, deed: str, random: Any) -> None:
    found = list(session.scalars(sa.select(AuditEvent).where(AuditEvent.position.is_not(None))))
    if len(found) < 2:
        return
    one, other = random.sample(found, 2)
    if deed == "delete":
        session.delete(one)
    elif deed == "change":
        one.actor += "x"
    elif deed == "copy":
        one.detail, one.mac = other.detail, other.mac
    else:
        places = one.position, other.position
        one.position = None
        session.flush()
        other.position = places[0]
        session.flush()
        one.position = places[1]
    session.flush()


# Anchors


def test_an_anchor_of_an_earlier_end_fits_for_good(chained: Chain, sessions: db.Sessions) -> None:
    anchor = Anchor.parse(f"{EVENTS}:{chained.verify().mac}")
    assert chained.verify(anchor).is_whole
    write(sessions, 2)

    assert chained.verify(anchor).is_whole


@pytest.mark.parametrize("more", [0, 3])
def test_an_anchor_finds_a_chain_that_was_begun_anew(chained: Chain, sessions: db.Sessions, more: int) -> None:
    anchor, chain_id = Anchor(EVENTS, chained.verify().mac), chained.verify().chain
    with sessions.begin() as session:
        session.execute(sa.delete(AuditChain))
        session.execute(sa.delete(AuditEvent).where(AuditEvent.action == "audit.begin"))
        session.execute(sa.update(AuditEvent).values(position=None, chained_at=None, mac=None))
    write(sessions, more)

    assert chained.verify().is_whole and chained.verify().chain != chain_id
    assert "begun anew" in fault(chained, Anchor(EVENTS, anchor.mac, chain_id)).reason
    assert (fault(chained, anchor).kind, fault(chained, anchor).position) == (FaultKind.CHANGED, EVENTS)


def test_an_anchor_finds_an_end_that_was_cut_off_with_an_old_record(
    chained: Chain, sessions: db.Sessions, rows: Rows
) -> None:
    [old] = rows.all(AuditChain)
    write(sessions, 2)
    anchor = Anchor(EVENTS + 2, chained.verify().mac)
    remove(sessions, EVENTS + 1, EVENTS + 2)
    change_record(sessions, position=old.position, mac=old.mac, seal=old.seal)

    assert chained.verify().is_whole
    assert (fault(chained, anchor).kind, fault(chained, anchor).position) == (FaultKind.MISSING, EVENTS + 1)


def test_without_events_an_anchor_misses_them(chain: Chain) -> None:
    assert fault(chain, Anchor(2, "0" * 64)).position == 1


@pytest.mark.parametrize("text", ["", "7", ":", "x:" + "0" * 64, "7:" + "0" * 63, "-1:" + "0" * 64, "7:" + "é" * 64])
def test_what_is_no_anchor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="position:mac"):
        Anchor.parse(text)


# Retention


@pytest.fixture
def aged(sessions: db.Sessions) -> Chain:
    """A chain of events of the first eight days of 1970; of the first day there are two, since it begins the chain."""
    today = [after(0)]
    chain = Chain(sessions, KEYRING, lambda: today[0])
    for day in range(EVENTS - 1):
        today[0] = after(day)
        with sessions.begin() as session:
            columns = {"action": "login", "actor": "ops", "outcome": "success", "detail": {}, "occurred_at": NOW}
            session.execute(sa.insert(AuditEvent), [columns | {"id": uuid7(day * DAY_MS)}])
        chain.extend()
    return chain


def after(days: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=days)


def test_what_is_old_enough_is_cut_off_and_that_is_told(aged: Chain, rows: Rows) -> None:
    assert aged.forget(after(9), timedelta(days=5)) == 5

    report = aged.verify()
    assert report.is_whole and (report.rows, report.kept_position, report.position) == (5, 5, 10)
    told = row_at(rows, 10)
    assert (told.action, told.actor) == ("audit.retention", "jobs")
    assert told.detail == {"events": 5, "until_position": 5, "chained_before": "1970-01-05T00:00:00+00:00"}


def test_an_event_that_says_it_is_of_the_future_stops_nothing(aged: Chain, sessions: db.Sessions) -> None:
    with sessions.begin() as session:
        forged = {"action": "login", "actor": "forger", "outcome": "success", "detail": {}}
        forged |= {"id": uuid.UUID("ffffffff-ffff-7000-8000-00000000000a"), "occurred_at": after(900_000)}
        session.execute(sa.insert(AuditEvent), [forged])
    aged.extend()

    assert aged.forget(after(30), timedelta(days=5)) == EVENTS + 1


def test_what_was_not_exported_yet_is_kept_for_twice_as_long(aged: Chain, rows: Rows) -> None:
    forgotten = [aged.forget(after(9), timedelta(days=5), shipped=2), aged.forget(after(14), timedelta(days=5), 2)]

    assert forgotten == [2, 3]
    assert aged.verify().is_whole


def test_everything_may_be_cut_off(aged: Chain, rows: Rows) -> None:
    assert aged.forget(after(30), timedelta(days=5)) == EVENTS

    report = aged.verify()
    assert report.is_whole and (report.rows, report.kept_position, report.position) == (1, EVENTS, EVENTS + 1)


@pytest.mark.parametrize("retention", [None, timedelta(days=9)])
def test_what_is_not_old_enough_stays_and_nothing_is_told(aged: Chain, rows: Rows, retention: timedelta | None) -> None:
    assert aged.forget(after(9), retention) == 0

    assert len(rows.all(AuditEvent)) == EVENTS


def test_much_is_cut_off_in_short_transactions(chain: Chain, sessions: db.Sessions, rows: Rows) -> None:
    write(sessions, audit_links.BATCH + 5)
    chain.extend()

    assert chain.forget(datetime.now(UTC) + timedelta(days=2), timedelta(days=1)) == audit_links.BATCH + 6
    assert [row.detail["events"] for row in rows.all(AuditEvent)] == [audit_links.BATCH, 6]
    assert chain.verify().is_whole


def test_retention_hides_no_row_that_was_changed_or_taken_out(
    aged: Chain, sessions: db.Sessions, tamper: Tamper
) -> None:
    tamper(2, actor="somebody else")

    with pytest.raises(ChainBroken):
        aged.forget(after(30), timedelta(days=5))
    assert (fault(aged).kind, fault(aged).position) == (FaultKind.CHANGED, 2)


def test_a_row_from_before_the_beginning_that_comes_back_is_found(aged: Chain, rows: Rows) -> None:
    old = row_at(rows, 2)
    aged.forget(after(9), timedelta(days=5))
    rows.add(AuditEvent(**{name: getattr(old, name) for name in OTHERS}, position=2))

    assert (fault(aged).kind, fault(aged).position) == (FaultKind.ADDITIONAL, 2)


def test_taking_off_more_than_retention_did_is_found(aged: Chain, sessions: db.Sessions) -> None:
    aged.forget(after(9), timedelta(days=5))
    remove(sessions, 6)

    assert (fault(aged).kind, fault(aged).position) == (FaultKind.MISSING, 6)


def test_an_anchor_that_retention_has_cut_off_tells_nothing_more(aged: Chain, rows: Rows) -> None:
    anchor, border = Anchor(2, row_at(rows, 2).mac or ""), Anchor(5, row_at(rows, 5).mac or "")
    aged.forget(after(9), timedelta(days=5))

    assert aged.verify(anchor).is_whole and aged.verify(border).is_whole
    assert fault(aged, Anchor(5, "0" * 64)).position == 5


# Size


def fill(sessions: db.Sessions, chain: Chain, count: int) -> None:
    """A long chain."""
    with sessions.begin() as session:
        columns = {
            "action": "login",
            "actor": "ops",
            "outcome": "success",
            "occurred_at": NOW,
            "project_id": PROJECT_ID,
        }
        made = [columns | {"id": uuid7(n + 1), "detail": {"name": "search team", "n": n}} for n in range(count)]
        session.execute(sa.insert(AuditEvent), made)
    assert chain.extend() == count


def test_a_hundred_thousand_events_are_verified_in_seconds(chain: Chain, sessions: db.Sessions) -> None:
    fill(sessions, chain, 100_000)

    begin = time.perf_counter()
    assert chain.verify().rows == 100_001
    assert time.perf_counter() - begin < 20  # Some 2 seconds, unless others work as well.


def peak_of_verifying(url: str) -> int:
    """Return how many bytes the verification holds at most."""
    chain = Chain(db.create_sessions(db.create_engine(url)), KEYRING)
    chain.verify()
    tracemalloc.start()
    chain.verify()
    return tracemalloc.get_traced_memory()[1]


def test_verifying_takes_no_more_memory_for_more_events(chain: Chain, sessions: db.Sessions, engine: sa.Engine) -> None:
    fill(sessions, chain, 20_000)

    # In a process of its own: what other threads of this one take meanwhile does not count.
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        peak = process.submit(peak_of_verifying, engine.url.render_as_string(hide_password=False)).result()

    assert peak < 5 << 20
