"""Rules of following the rules: none are skipped, what cannot be used changes nothing, and projects have their own."""

import asyncio

import pytest
import redis

from addons.rule_book import Chapter, RuleBook
from addons.store import Store, StoreUnavailable
from shared import flow_schema, redis_schema, rules_schema
from shared.redis_schema import Decided, RulesChanged, encode_control
from shared.rules_schema import Action, Rule, RuleSet, encode_rules
from tests.addons.fakes import FakeStore

DENY = Rule("1", "deny", "~b secret", Action.DENY)
THEIRS = Rule("2", "theirs", "~u files", Action.REDACT, project_id="project-2")
HOLD = Rule("3", "hold", "~u chat", Action.HOLD, project_id="project-3")


def published(*rules: Rule, version: int = 1) -> bytes:
    return encode_rules(RuleSet(version, list(rules)))


def names(chapter: Chapter | None) -> list[str] | None:
    return None if chapter is None else [each.rule.name for each in chapter.rules]


def book_of(store: FakeStore, noted: list[str] | None = None, pause_seconds: float = 0.01) -> RuleBook:
    told = [] if noted is None else noted
    return RuleBook(store, lambda: told.append("rejected"), pause_seconds)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("project", "expected", "needs_body", "hides"),
    [
        ("project-1", ["deny"], True, False),
        ("project-2", ["deny", "theirs"], True, True),
        ("project-3", ["hold", "deny"], True, False),
        ("", ["deny"], True, False),
    ],
)
async def test_each_project_has_its_own_and_those_for_all_in_their_order(
    project: str, expected: list[str], needs_body: bool, hides: bool
) -> None:
    store = FakeStore()
    store.rule_documents = [published(HOLD, DENY, THEIRS)]
    book = book_of(store)
    assert book.of(project) is None

    await book.refresh()

    chapter = book.of(project)
    assert chapter is not None and (names(chapter), chapter.needs_body, chapter.hides) == (expected, needs_body, hides)


async def test_rules_that_look_at_heads_need_no_body_and_those_that_hold_do() -> None:
    store = FakeStore()
    store.rule_documents = [published(HOLD, THEIRS)]
    book = book_of(store)
    await book.refresh()

    needed = [chapter.needs_body for name in ("project-1", "project-2", "project-3") if (chapter := book.of(name))]
    assert needed == [False, False, True]


@pytest.mark.parametrize(
    ("document", "is_rejected"),
    [
        (b"{", True),
        (published(DENY, Rule("9", "bad", "~s", Action.TAG), version=2), True),
        (b"", False),
        (None, False),
    ],
    ids=["unreadable", "no filter", "none", "nothing"],
)
async def test_what_cannot_be_used_keeps_the_old_ones_and_is_told_once(
    document: bytes | None, is_rejected: bool
) -> None:
    store, noted = FakeStore(), list[str]()
    store.rule_documents = [published(DENY), document]
    book = book_of(store, noted)

    for _ in range(3):
        await book.refresh()

    assert (names(book.of("project-1")), noted) == (["deny"], ["rejected"] * is_rejected)


@pytest.mark.parametrize(
    ("document", "expected"),
    [(b"", []), (published(), []), (None, None), (b"{", None)],
    ids=["none", "an empty set", "nothing", "unreadable"],
)
async def test_at_the_start_only_what_was_published_counts(document: bytes | None, expected: list[str] | None) -> None:
    store = FakeStore()
    store.rule_documents = [document]
    book = book_of(store)

    await book.refresh()

    assert names(book.of("project-1")) == expected
    assert names(await book.wait_for("project-1", 0.01)) == expected


async def test_who_waits_for_the_first_rules_gets_them_as_soon_as_they_are_there() -> None:
    store = FakeStore()
    store.rule_documents = [StoreUnavailable("away"), None, published(DENY)]
    book = book_of(store)
    book.running()

    chapter = await book.wait_for("project-1")

    await book.done()
    assert names(chapter) == ["deny"]


async def test_a_worker_that_is_told_looks_at_once() -> None:
    store = FakeStore()
    store.rule_documents = [b"", published(DENY)]
    book = book_of(store, pause_seconds=60)
    book.running()
    async with asyncio.timeout(5):
        while book.of("project-1") is None:
            await asyncio.sleep(0.001)
        book.look()
        while names(book.of("project-1")) != ["deny"]:
            await asyncio.sleep(0.001)
    await book.done()


async def test_what_redis_has_is_read(valkey_url: str, redis_client: redis.Redis) -> None:
    store = Store.connect(valkey_url, 1000)
    found = [await store.rules()]
    redis_client.set(redis_schema.EPOCH, "epoch")
    found.append(await store.rules())
    redis_client.set(rules_schema.RULES, published(DENY))
    found.append(await store.rules())
    decided = Decided("r1", "resume", True)
    redis_client.set(flow_schema.decided_key("r1"), encode_control(decided))
    redis_client.set(flow_schema.decided_key("r2"), encode_control(RulesChanged(1)))
    redis_client.set(flow_schema.edit_key("r1"), b"edited")

    assert found == [None, b"", published(DENY)]
    assert [await store.decision(name) for name in ("r1", "r2", "r3")] == [decided, None, None]
    assert [await store.take_edit("r1"), await store.take_edit("r1")] == [b"edited", None]
    await store.done()


async def test_a_redis_that_is_away_is_told() -> None:
    away = Store.connect("unix:///nobody/listens/here.sock", 100)

    for asked in (away.rules(), away.decision("r1"), away.take_edit("r1")):
        with pytest.raises(StoreUnavailable):
            await asked
    await away.done()
