"""Rules of what a revocation would end: what is revoked already is not counted, nor what is out of scope."""

from datetime import UTC, datetime

from manager import db, revocable
from manager.principals import Scope
from tests.manager.conftest import NOW, Rows

PRESENT = datetime.now(UTC)


def test_tokens_are_counted_by_project_the_most_first(sessions: db.Sessions, rows: Rows) -> None:
    search, other = rows.project(name="search team"), rows.project(name="other team")
    rows.token(search, digest="d1", label="nightly")
    for number in range(3):
        rows.token(other, digest=f"o{number}", label="nightly")
    rows.token(search, digest="d2", label="nightly", revoked_at=NOW, is_active=False)
    rows.token(search, digest="d3", label="weekly")

    with db.reading(sessions) as session:
        counts = revocable.by_project(revocable.fitting(session, PRESENT, label_contains="night"))
        mine = revocable.fitting(session, PRESENT, Scope(frozenset({search.id})), state="active")

    assert list(counts.items()) == [(other.id, 3), (search.id, 1)]
    assert revocable.by_project(mine) == {search.id: 2}
    assert revocable.digest(mine) == revocable.digest(mine[::-1]) != revocable.digest(mine[:1])


def test_those_with_ids_are_found_unless_they_were_revoked(sessions: db.Sessions, rows: Rows) -> None:
    search, other = rows.project(name="search team"), rows.project(name="other team")
    nightly, weekly = rows.token(search, digest="d1", label="weekly"), rows.token(search, digest="d2", label="daily")
    gone = rows.token(search, digest="d3", revoked_at=NOW, is_active=False)
    foreign = rows.token(other, digest="d4")

    with db.reading(sessions) as session:
        ids = [nightly.id, weekly.id, gone.id, foreign.id]
        found = revocable.these(session, ids, Scope(frozenset({search.id})))

    assert [row.label for row in found] == ["daily", "weekly"]
