"""Rules of operators: made, changed, given another token and revoked, and never taken for somebody else."""

import uuid
from datetime import timedelta
from typing import Any

import pytest

from manager import db, operators
from manager.errors import Conflict, Invalid, NotFound
from manager.principals import EVERYTHING, Principal, Role, Scope
from manager.tables import Operator
from shared import tokens
from tests.manager.conftest import NOW, Rows

PEPPER = b"pepper-of-the-operators-00000000"
LATER = NOW + timedelta(hours=1)


def create(sessions: db.Sessions, **wanted: Any) -> tuple[Operator, str]:
    with sessions.begin() as session:
        return operators.create(session, PEPPER, NOW, **{"name": "ann", "role": Role.OPERATOR} | wanted)


def update(sessions: db.Sessions, row: Operator, **changes: Any) -> Operator:
    with sessions.begin() as session:
        operator = operators.get(session, row.id, for_update=True)
        operators.update(session, LATER, operator, **changes)
        return operator


def find(sessions: db.Sessions, secret: str) -> Operator | None:
    with db.reading(sessions) as session:
        return operators.find(session, PEPPER, secret)


def test_an_operator_is_known_by_its_token_of_which_only_a_digest_is_kept(sessions: db.Sessions, rows: Rows) -> None:
    row, secret = create(sessions)

    assert tokens.is_well_formed(secret, tokens.OPERATOR_PREFIX)
    [kept] = rows.all(Operator)
    assert (kept.digest, kept.masked) == (tokens.digest(secret, PEPPER), f"llmp-op-****{secret[-4:]}")
    assert secret not in repr(vars(kept)) and (kept.created_at, kept.updated_at, kept.version) == (NOW, NOW, 1)
    found = find(sessions, secret)
    assert found is not None and found.id == row.id and operators.why_not(found, LATER) is None


def test_what_is_no_operators_token_is_nobodys(sessions: db.Sessions) -> None:
    _, secret = create(sessions)
    withering = secret.replace(tokens.OPERATOR_PREFIX, tokens.PREFIX)

    for text in ("", secret[:-1], secret + "0", withering, tokens.generate(prefix=tokens.OPERATOR_PREFIX), "é\0"):
        assert find(sessions, text) is None


def test_a_principal_may_what_its_operator_was_given(sessions: db.Sessions, rows: Rows) -> None:
    ids = [rows.project(name=name).id for name in ("one", "two")]

    free, _ = create(sessions, role=Role.ADMIN)
    bound, _ = create(sessions, name="bob", role=Role.AUDITOR, project_ids=[*ids, ids[0]])

    assert operators.principal_of(free) == Principal("ann", Role.ADMIN, EVERYTHING, free.id)
    assert operators.principal_of(rows.fresh(bound)) == Principal("bob", Role.AUDITOR, Scope(frozenset(ids)), bound.id)


def test_a_token_ends_at_its_time(sessions: db.Sessions) -> None:
    row, _ = create(sessions, expires_in=timedelta(hours=1))

    assert operators.why_not(row, LATER - timedelta(microseconds=1)) is None
    assert operators.why_not(row, LATER) == "expired"


def test_revoking_is_for_good(sessions: db.Sessions, rows: Rows) -> None:
    row, secret = create(sessions)
    with sessions.begin() as session:
        assert operators.revoke(operators.get(session, row.id), LATER)
        assert not operators.revoke(operators.get(session, row.id), LATER)

    found = find(sessions, secret)
    assert found is not None and operators.why_not(found, LATER) == "revoked" and found.revoked_at == LATER
    with pytest.raises(Conflict, match="revoked"):
        update(sessions, row, role=Role.ADMIN)
    with pytest.raises(Conflict, match="revoked"):
        operators.rotate(PEPPER, LATER, found)


def test_another_token_ends_the_one_before(sessions: db.Sessions) -> None:
    row, old = create(sessions)
    with sessions.begin() as session:
        new = operators.rotate(PEPPER, LATER, operators.get(session, row.id))

    found = find(sessions, new)
    assert found is not None and (found.id, found.version, found.updated_at) == (row.id, 2, LATER)
    assert find(sessions, old) is None


def test_what_is_given_is_changed_and_the_rest_stays(sessions: db.Sessions, rows: Rows) -> None:
    project_id = rows.project().id
    row, secret = create(sessions, expires_in=timedelta(days=1))

    changed = update(sessions, row, role=Role.AUDITOR, project_ids=[project_id])
    assert (changed.name, changed.role, changed.project_ids) == ("ann", "auditor", [str(project_id)])
    assert changed.expires_at == NOW + timedelta(days=1)

    changed = update(sessions, row, project_ids=None, expires_in=None)
    assert (changed.name, changed.role, changed.project_ids, changed.expires_at) == ("ann", "auditor", None, None)
    assert update(sessions, row, expires_in=timedelta(hours=2)).expires_at == LATER + timedelta(hours=2)
    assert find(sessions, secret) is not None and rows.fresh(row).version == 4


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("name", {"name": " "}),
        ("name", {"name": "x" * 201}),
        ("name", {"name": "a\0b"}),
        ("name", {"name": "Management"}),
        ("name", {"name": "data-plane"}),
        ("name", {"name": "jobs"}),
        ("name", {"name": "command"}),
        ("name", {"name": "anonymous"}),
        ("name", {"name": "OIDC:ann"}),
        ("name", {"name": "ｏidc:ann"}),
        ("name", {"name": "oidc : ann"}),
        ("name", {"name": "ｍanagement"}),
        ("name", {"name": "Management 2"}),
        ("name", {"name": "m\u0430nagement"}),
        ("name", {"name": "data plane"}),
        ("name", {"name": "eve\u200b"}),
        ("name", {"name": "\u202eeve"}),
        ("name", {"name": "eve\u3164"}),
        ("project_ids", {"project_ids": []}),
        ("project_ids", {"project_ids": [uuid.UUID(int=n) for n in range(101)]}),
        ("project_ids", {"project_ids": [uuid.UUID(int=1)]}),
    ],
)
def test_a_faulty_field_is_refused(sessions: db.Sessions, field: str, wanted: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        create(sessions, **wanted)
    assert caught.value.field == field

    if field == "name":
        return  # It stays for good.
    row, _ = create(sessions, name="good")
    with pytest.raises(Invalid) as caught:
        update(sessions, row, **wanted)
    assert caught.value.field == field


def test_an_admin_has_no_scope(sessions: db.Sessions, rows: Rows) -> None:
    ids = [rows.project().id]
    bound, _ = create(sessions, project_ids=ids)
    free, _ = create(sessions, name="bob", role=Role.ADMIN)

    for act in (
        lambda: create(sessions, name="eve", role=Role.ADMIN, project_ids=ids),
        lambda: update(sessions, bound, role=Role.ADMIN),
        lambda: update(sessions, free, project_ids=ids),
    ):
        with pytest.raises(Invalid, match="admin"):
            act()
    assert update(sessions, bound, role=Role.ADMIN, project_ids=None).role == "admin"


def test_a_name_is_taken_once_even_by_who_was_revoked(sessions: db.Sessions) -> None:
    row, _ = create(sessions)
    with sessions.begin() as session:
        operators.revoke(operators.get(session, row.id), LATER)

    for name in ("ann", "ANN", "ａｎｎ"):
        with pytest.raises(Conflict, match="name"):
            create(sessions, name=name)


def test_who_is_not_there_is_not_found(sessions: db.Sessions) -> None:
    with pytest.raises(NotFound), db.reading(sessions) as session:
        operators.get(session, uuid.UUID(int=1))


def test_use_is_written_down_once_a_minute(sessions: db.Sessions, rows: Rows) -> None:
    row, _ = create(sessions)
    assert operators.is_stamp_due(row, NOW)
    with sessions.begin() as session:
        operators.stamp(session, row.id, NOW)

    used = rows.fresh(row)
    assert used.last_used_at == NOW and used.version == 1
    assert not operators.is_stamp_due(used, NOW + timedelta(seconds=59))
    assert operators.is_stamp_due(used, NOW + timedelta(seconds=60))


def test_pages_show_newest_first(sessions: db.Sessions) -> None:
    for name in ("ann", "bob", "eve"):
        create(sessions, name=name)

    with db.reading(sessions) as session:
        first = operators.list_page(session, 2, None)
        rest = operators.list_page(session, 2, first.next_cursor)
    assert [row.name for row in [*first.items, *rest.items]] == ["eve", "bob", "ann"] and rest.next_cursor is None


def test_operators_are_found_by_role_and_sorted_by_name_and_last_use(sessions: db.Sessions) -> None:
    for name, role in [("bob", Role.AUDITOR), ("ann", Role.AUDITOR), ("eve", Role.ADMIN)]:
        row, _ = create(sessions, name=name, role=role)
    with sessions.begin() as session:
        operators.stamp(session, row.id, NOW)

    def names(**wanted: Any) -> list[str]:
        with db.reading(sessions) as session:
            return [row.name for row in operators.list_page(session, 10, None, **wanted).items]

    assert names(role=Role.AUDITOR) == ["ann", "bob"] and names(sort="name") == ["ann", "bob", "eve"]
    assert names(sort="-last_used_at")[0] == "eve" and names(sort="created_at") == ["bob", "ann", "eve"]
