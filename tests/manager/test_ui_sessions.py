"""Rules of sessions: found by their secret until they are idle, too old, or what they were opened with has ended."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from manager import audit, db, janitor, operators, ui_sessions
from manager.principals import EVERYTHING, Principal, Role, Scope
from manager.tables import Operator, Project, UiSession
from manager.ui_sessions import Found, Rules
from tests.manager.conftest import NOW, Rows

PEPPER = b"pepper-9876543210-zyxwvutsrqponmlkj"
TOKEN = "management-0123456789-abcdefghijkl"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RULES = Rules(PEPPER, TOKEN, idle=8 * HOUR, remembered=30 * DAY)
MANAGEMENT = Principal(audit.MANAGEMENT, Role.ADMIN)


class Desk:
    """Opens and finds sessions in transactions of their own."""

    def __init__(self, sessions: db.Sessions) -> None:
        self.sessions = sessions

    def begin(
        self,
        who: Principal = MANAGEMENT,
        token: str | None = TOKEN,
        now: datetime = NOW,
        rules: Rules = RULES,
        **more: bool,
    ) -> str:
        return db.transact(self.sessions, lambda session: ui_sessions.begin(session, rules, now, who, token, **more)[1])

    def operator(self, role: Role = Role.OPERATOR, **more: object) -> tuple[Principal, str]:
        def create(session: object) -> tuple[Principal, str]:
            row, token = operators.create(session, PEPPER, NOW, name="ann", role=role, **more)  # type: ignore[arg-type]
            return operators.principal_of(row), token

        return db.transact(self.sessions, create)

    def find(self, secret: str, now: datetime = NOW, rules: Rules = RULES) -> Found | None:
        with db.reading(self.sessions) as session:
            return ui_sessions.find(session, rules, secret, now)

    def stamp(self, secret: str, now: datetime, rules: Rules = RULES) -> None:
        found = self.find(secret, now, rules)
        assert found is not None
        db.transact(self.sessions, lambda session: ui_sessions.stamp(session, rules, now, found))


@pytest.fixture
def desk(sessions: db.Sessions) -> Desk:
    return Desk(sessions)


def test_a_session_is_found_by_its_secret_and_tells_whose_it_is(desk: Desk) -> None:
    found = desk.find(desk.begin())

    assert found is not None
    assert (found.principal, found.expires_at, found.is_stamp_due) == (MANAGEMENT, NOW + 8 * HOUR, False)


def test_sql_knows_no_secret(desk: Desk, rows: Rows) -> None:
    secret = desk.begin()

    [row] = rows.all(UiSession)
    assert secret not in (row.digest, row.credential) and TOKEN not in (row.digest, row.credential)


@pytest.mark.parametrize("made_up", ["", "x", "llmp-op-x", "\udcff"], ids=ascii)
def test_nothing_else_opens_it(desk: Desk, made_up: str) -> None:
    secret = desk.begin()

    assert desk.find(made_up) is None and desk.find(secret[:-1]) is None and desk.find(secret.swapcase()) is None


def test_each_session_has_a_secret_of_its_own(desk: Desk) -> None:
    assert len({desk.begin() for _ in range(5)}) == 5


# Ends


@pytest.mark.parametrize(("after", "is_there"), [(8 * HOUR - timedelta(seconds=1), True), (8 * HOUR, False)])
def test_a_session_ends_when_it_was_idle_for_too_long(desk: Desk, after: timedelta, is_there: bool) -> None:
    assert (desk.find(desk.begin(), NOW + after) is not None) is is_there


def test_using_a_session_puts_off_its_end_but_not_for_ever(desk: Desk) -> None:
    secret, now = desk.begin(), NOW
    while now + 7 * HOUR < NOW + 30 * DAY:
        now += 7 * HOUR
        desk.stamp(secret, now)

    found = desk.find(secret, now)
    assert found is not None and found.expires_at == NOW + 30 * DAY


@pytest.mark.parametrize(("after", "is_there"), [(29 * DAY, True), (30 * DAY, False)])
def test_who_is_remembered_stays_whether_they_come_or_not(desk: Desk, after: timedelta, is_there: bool) -> None:
    secret = desk.begin(is_remembered=True)
    assert (desk.find(secret, NOW + after) is not None) is is_there

    desk.stamp(secret, NOW + DAY)

    assert (desk.find(secret, NOW + after) is not None) is is_there


def test_that_a_session_was_used_is_written_down_once_a_minute(desk: Desk, rows: Rows) -> None:
    who, token = desk.operator()
    secret = desk.begin(who, token)
    found = [desk.find(secret, NOW + timedelta(seconds=seconds)) for seconds in (0, 59, 60)]
    assert [each and each.is_stamp_due for each in found] == [False, False, True]

    desk.stamp(secret, NOW + timedelta(seconds=60))

    assert [row.seen_at for row in rows.all(UiSession)] == [NOW + timedelta(seconds=60)]
    assert [row.last_used_at for row in rows.all(Operator)] == [NOW + timedelta(seconds=60)]
    again = desk.find(secret, NOW + timedelta(seconds=61))
    assert again is not None and not again.is_stamp_due


def test_another_management_token_ends_what_the_old_one_has_opened(desk: Desk) -> None:
    secret = desk.begin()

    assert desk.find(secret, rules=replace(RULES, management_token=TOKEN[::-1])) is None


def test_another_pepper_ends_all_sessions(desk: Desk) -> None:
    assert desk.find(desk.begin(), rules=replace(RULES, pepper=PEPPER[::-1])) is None


@pytest.mark.parametrize(
    "change",
    [{"revoked_at": NOW}, {"expires_at": NOW}, {"digest": "of another token"}],
    ids=["revoked", "expired", "rotated"],
)
def test_an_operators_session_ends_with_its_token(desk: Desk, rows: Rows, change: dict[str, object]) -> None:
    secret = desk.begin(*desk.operator())
    assert desk.find(secret) is not None

    rows.change(rows.all(Operator)[0], **change)

    assert desk.find(secret) is None


def test_an_operator_is_what_it_is_now(desk: Desk, rows: Rows, sessions: db.Sessions) -> None:
    secret = desk.begin(*desk.operator(Role.ADMIN))
    project: Project = rows.project("v1.k1.sealed")

    rows.change(rows.all(Operator)[0], role="auditor", project_ids=[str(project.id)])

    found = desk.find(secret)
    assert found is not None and found.principal.role is Role.AUDITOR
    assert found.principal.scope == Scope(frozenset({project.id})) != EVERYTHING


def test_a_session_of_an_operator_who_is_gone_is_none(desk: Desk, rows: Rows, sessions: db.Sessions) -> None:
    secret = desk.begin(*desk.operator())
    with sessions.begin() as session:
        session.delete(session.merge(rows.all(Operator)[0]))

    assert desk.find(secret) is None


# People


PERSON = Principal("oidc:ann", Role.ADMIN)
WITH_PEOPLE = replace(RULES, people="https://login.example.org\nadmin-ui\nroles\nops=admin", idle=9 * HOUR)


def test_a_person_is_what_they_were_when_they_signed_in(desk: Desk) -> None:
    found = desk.find(desk.begin(PERSON, None, rules=WITH_PEOPLE), rules=WITH_PEOPLE)

    assert found is not None and (found.principal, found.expires_at) == (PERSON, NOW + ui_sessions.PERSON_LASTS)


def test_a_person_is_never_remembered_and_stays_for_hours_whatever_they_do(desk: Desk, rows: Rows) -> None:
    secret = desk.begin(PERSON, None, rules=WITH_PEOPLE, is_remembered=True)
    desk.stamp(secret, NOW + 5 * HOUR, WITH_PEOPLE)

    [row] = rows.all(UiSession)
    assert (row.is_remembered, row.expires_at) == (False, NOW + 8 * HOUR)
    assert desk.find(secret, NOW + 8 * HOUR, WITH_PEOPLE) is None


@pytest.mark.parametrize(
    "rules", [replace(WITH_PEOPLE, remembered=HOUR), replace(WITH_PEOPLE, idle=HOUR)], ids=["longest", "idle"]
)
def test_if_others_stay_for_less_so_do_people(desk: Desk, rules: Rules) -> None:
    found = desk.find(desk.begin(PERSON, None, rules=rules), rules=rules)

    assert found is not None and found.expires_at == NOW + HOUR


@pytest.mark.parametrize("people", ["", "https://other.example\nadmin-ui\nroles\nops=admin", TOKEN])
def test_a_persons_session_ends_with_what_is_set_about_people(desk: Desk, people: str) -> None:
    secret = desk.begin(PERSON, None, rules=WITH_PEOPLE)

    assert desk.find(secret, rules=replace(WITH_PEOPLE, people=people)) is None
    assert desk.find(secret, rules=replace(WITH_PEOPLE, management_token=TOKEN[::-1])) is not None


def test_nobody_is_a_person_by_the_management_token_or_the_other_way_round(desk: Desk) -> None:
    person, management = desk.begin(PERSON, TOKEN), desk.begin(MANAGEMENT, None, rules=WITH_PEOPLE)

    assert desk.find(person, rules=WITH_PEOPLE) is desk.find(management, rules=WITH_PEOPLE) is None
    assert desk.find(desk.begin(PERSON, None)) is None


# Whose


def test_somebody_sees_and_ends_their_own_sessions_alone(desk: Desk, sessions: db.Sessions) -> None:
    ann, token = desk.operator()
    desk.begin(ann, token), desk.begin(ann, token)
    others = desk.begin()
    with sessions.begin() as session:
        mine, theirs = ui_sessions.of(session, ann, NOW), ui_sessions.of(session, MANAGEMENT, NOW)
        assert (len(mine), len(theirs)) == (2, 1)

        assert ui_sessions.end(session, ann, theirs[0].id) is False
        assert ui_sessions.end(session, ann, mine[0].id) is True
        assert ui_sessions.end(session, ann, mine[0].id) is False
        assert ui_sessions.end_all(session, ann) == 1

    assert desk.find(others) is not None


def test_all_sessions_but_one_can_be_ended(desk: Desk, sessions: db.Sessions) -> None:
    secrets = [desk.begin() for _ in range(3)]
    kept = desk.find(secrets[1])
    assert kept is not None

    with sessions.begin() as session:
        assert ui_sessions.end_all(session, MANAGEMENT, but=kept.id) == 2

    assert [desk.find(secret) is not None for secret in secrets] == [False, True, False]


def test_nobody_has_sessions_without_end(desk: Desk, rows: Rows) -> None:
    secrets = [desk.begin(now=NOW + timedelta(seconds=number)) for number in range(ui_sessions.MOST_OF_ONE + 2)]

    assert len(rows.all(UiSession)) == ui_sessions.MOST_OF_ONE
    assert [desk.find(secret) is not None for secret in secrets[:3]] == [False, False, True]


def test_the_janitor_removes_those_that_are_over(desk: Desk, rows: Rows, sessions: db.Sessions) -> None:
    desk.begin(), desk.begin()
    kept = desk.begin(is_remembered=True)

    assert janitor.forget_ui_sessions(sessions, NOW + 8 * HOUR) == 2

    assert len(rows.all(UiSession)) == 1 and desk.find(kept) is not None
