"""A worker that has not read any rules yet lets nothing through: nobody can say what they forbid."""

import asyncio

import pytest
from mitmproxy import http

from addons.call import Call, Calls
from addons.holding import Holding
from addons.rule_book import Chapter, RuleBook
from addons.rules import Rules
from shared.rules_schema import RuleSet, encode_rules
from tests.addons.fakes import FakeStore
from tests.addons.test_holding import Desk


class Impatient(RuleBook):
    """Waits for its first rules as any other, but not for seconds."""

    async def wait_for(self, project_id: str, seconds: float = 0.05) -> Chapter | None:
        return await super().wait_for(project_id, seconds)


@pytest.fixture
def store() -> FakeStore:
    store = FakeStore()
    store.rule_documents = [None]
    return store


@pytest.fixture
def book(store: FakeStore) -> RuleBook:
    return Impatient(store)  # type: ignore[arg-type]


@pytest.fixture
def room(calls: Calls, book: RuleBook) -> Rules:
    desk = Desk()
    return Rules(calls, book, Holding(desk, desk, lambda text, _: text, lambda _: None), lambda *_: None)


def code_of(call: Call, flow: http.HTTPFlow) -> tuple[int, str | None] | None:
    return None if flow.response is None else (flow.response.status_code, call.refused_with)


@pytest.mark.parametrize("hook", ["requestheaders", "request"])
async def test_without_rules_nothing_is_let_through_and_nothing_shown(
    room: Rules, book: RuleBook, admitted: tuple[http.HTTPFlow, Call], hook: str
) -> None:
    flow, call = admitted
    await book.refresh()

    await getattr(room, hook)(flow)
    room.response(flow)

    assert code_of(call, flow) == (503, "service_unavailable")
    assert call.is_hidden and not call.is_judged


async def test_who_came_before_the_first_rules_passes_when_they_are_there_and_allow_it(
    room: Rules, book: RuleBook, store: FakeStore, admitted: tuple[http.HTTPFlow, Call]
) -> None:
    flow, call = admitted
    waiting = asyncio.create_task(room.requestheaders(flow))
    await asyncio.sleep(0)
    store.rule_documents = [encode_rules(RuleSet(1))]
    await book.refresh()

    await waiting
    await room.request(flow)

    assert code_of(call, flow) is None and call.is_judged
