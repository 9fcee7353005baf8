"""Rules of idempotency keys: done once, answered alike, kept sealed, and for a day."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import db, idempotency
from manager.errors import Conflict, Invalid, KeyReused
from manager.idempotency import Answer, Asked
from manager.principals import Principal, Role, Scope
from manager.tables import IdempotentAnswer
from shared.sealing import Keyring, generate_key
from tests.manager.conftest import NOW, PROJECT_ID, TOKEN_ID, Rows

KEYRING = Keyring.parse(f"k1:{generate_key()}")
BOSS = Principal("management", Role.ADMIN)
ASKED = Asked("management", "order-1", idempotency.fingerprint(BOSS, "POST", "/manage/tokens", b"{}"))


class Till:
    """Counts how often something was done."""

    def __init__(self) -> None:
        self.count = 0

    def act(self) -> Answer:
        self.count += 1
        return Answer(201, f'{{"token": "sk-llmp-{self.count}"}}', "v7")


def ask(sessions: db.Sessions, act: Callable[[], Answer], asked: Asked = ASKED, later: timedelta = timedelta()) -> (
    Answer | None
):  # fmt: skip
    def work(session: Session) -> Answer | None:
        return idempotency.once(session, KEYRING, NOW + later, asked, act)

    return db.transact(sessions, work)


def test_what_is_asked_for_twice_is_done_once_and_answered_alike(sessions: db.Sessions) -> None:
    till = Till()

    first, second = ask(sessions, till.act), ask(sessions, till.act)

    assert (first, second) == (None, Answer(201, '{"token": "sk-llmp-1"}', "v7")) and till.count == 1


def test_an_answer_is_kept_sealed_in_its_place(sessions: db.Sessions, rows: Rows) -> None:
    ask(sessions, Till().act)

    [kept] = rows.all(IdempotentAnswer)
    assert "sk-llmp" not in kept.sealed and kept.created_at == NOW
    assert KEYRING.open(kept.sealed, f"idempotent_answers:{kept.id}") == 'v7\n{"token": "sk-llmp-1"}'


@pytest.mark.parametrize(
    "asked", [replace(ASKED, principal="operator-7"), replace(ASKED, key="order-2")], ids=["principal", "key"]
)
def test_another_principal_or_key_is_another_request(sessions: db.Sessions, asked: Asked) -> None:
    till = Till()
    ask(sessions, till.act)

    assert ask(sessions, till.act, asked) is None and till.count == 2


def test_a_key_is_for_one_request_only(sessions: db.Sessions) -> None:
    till = Till()
    ask(sessions, till.act)

    with pytest.raises(KeyReused):
        other = idempotency.fingerprint(BOSS, "POST", "/manage/tokens", b"[]")
        ask(sessions, till.act, replace(ASKED, fingerprint=other))
    assert till.count == 1


def test_requests_differ_by_method_path_and_body() -> None:
    asked = [("POST", "/a", b"b"), ("PUT", "/a", b"b"), ("POST", "/", b"ab"), ("POST", "/a", b"")]

    assert len({idempotency.fingerprint(BOSS, *each) for each in asked}) == 4


def test_requests_differ_by_what_the_principal_may() -> None:
    scopes = [Scope(), Scope(frozenset()), Scope(frozenset([PROJECT_ID])), Scope(frozenset([PROJECT_ID, TOKEN_ID]))]
    principals = [Principal("ann", role, scope) for role in Role for scope in scopes]

    assert len({idempotency.fingerprint(each, "POST", "/a", b"") for each in principals}) == 12


def test_what_failed_is_not_kept(sessions: db.Sessions, rows: Rows) -> None:
    def fail() -> Answer:
        raise Conflict("no")

    with pytest.raises(Conflict):
        ask(sessions, fail)

    assert rows.all(IdempotentAnswer) == [] and ask(sessions, Till().act) is None


def test_an_answer_is_kept_for_a_day(sessions: db.Sessions) -> None:
    till = Till()
    ask(sessions, till.act)

    assert ask(sessions, till.act, later=idempotency.KEPT) is not None
    assert ask(sessions, till.act, later=idempotency.KEPT + timedelta(seconds=1)) is None
    assert till.count == 2


def test_who_comes_meanwhile_waits_and_is_answered_alike(sessions: db.Sessions, engine: sa.Engine) -> None:
    till, begun, answers = Till(), threading.Event(), []

    def slow() -> Answer:
        begun.set()
        waiting.join(0.3)
        return till.act()

    def come_second() -> None:
        begun.wait(5)
        answers.append(ask(sessions, till.act))

    waiting = threading.Thread(target=come_second)
    waiting.start()
    ask(sessions, slow)
    waiting.join(10)

    assert answers == [Answer(201, '{"token": "sk-llmp-1"}', "v7")] and till.count == 1


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "\x00", "x" * 256, "a\n"], ids=ascii)
def test_a_key_is_printable_ascii(key: str) -> None:
    with pytest.raises(Invalid) as refused:
        replace(ASKED, key=key)

    assert refused.value.field == "Idempotency-Key"
