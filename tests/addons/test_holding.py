"""Rules of holding: bounded in number and bytes, told to onlookers, and over however it ends."""

import asyncio
from datetime import UTC, datetime

import pytest
from mitmproxy import http

from addons.call import Call, Calls
from addons.holding import Bounds, Holding
from addons.refusal import Refused
from addons.store import StoreUnavailable
from shared.models import Caller
from shared.redis_schema import Decided
from shared.rules_schema import Action, OnDeadline, Rule
from tests.addons.conftest import request

RULE = Rule("1", "keep", "~all", Action.HOLD, hold_seconds=30)


class Desk:
    """A store and an onlooker, which remember."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.until: list[float] = []
        self.counts: list[int] = []
        self.decisions: dict[str, Decided] = {}
        self.edits: dict[str, bytes] = {}
        self.is_away = False

    def held(self, flow: http.HTTPFlow, rule_name: str, until: float) -> None:
        self.seen.append(f"held by {rule_name}")
        self.until.append(until)

    def released(self, flow: http.HTTPFlow) -> None:
        self.seen.append("released")

    async def decision(self, request_id: str) -> Decided | None:
        if self.is_away:
            raise StoreUnavailable("away")
        return self.decisions.get(request_id)

    async def take_edit(self, request_id: str) -> bytes | None:
        if self.is_away:
            raise StoreUnavailable("away")
        return self.edits.pop(request_id, None)


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def room(desk: Desk) -> Holding:
    return Holding(desk, desk, lambda text, _: text, lambda _: None, desk.counts.append)


def asked(calls: Calls, caller: Caller, project_id: str = "project-1", body: bytes = b"{}") -> http.HTTPFlow:
    flow = request("POST", "/v1/chat/completions", body)
    call = calls.of(flow)
    call.caller, call.project_id = caller, project_id
    return flow


async def begun(room: Holding, calls: Calls, *flows: http.HTTPFlow, rule: Rule = RULE) -> list["asyncio.Task[None]"]:
    tasks = [asyncio.create_task(room.hold(flow, calls.of(flow), rule)) for flow in flows]
    await asyncio.sleep(0)
    return tasks


def code_of(task: "asyncio.Task[None]") -> str | None:
    error = task.exception()
    return error.refusal.code if isinstance(error, Refused) else None


async def finished(*tasks: "asyncio.Task[None]") -> list[str | None]:
    await asyncio.wait(tasks, timeout=5)
    return [code_of(task) for task in tasks]


async def test_onlookers_are_told_when_it_begins_and_ends(
    room: Holding, desk: Desk, calls: Calls, caller: Caller
) -> None:
    flow = asked(calls, caller)
    tasks = await begun(room, calls, flow)
    assert desk.seen == ["held by keep"] and 29 < desk.until[0] - datetime.now(UTC).timestamp() <= 30
    assert calls.of(flow).held_until is not None

    room.decided(Decided(calls.of(flow).request_id, "resume"))

    assert await finished(*tasks) == [None]
    assert (desk.seen, desk.counts, calls.of(flow).held_until) == (["held by keep", "released"], [1, 0], None)


@pytest.mark.parametrize(
    ("bounds", "sizes", "projects"),
    [
        (Bounds(count=2), [2, 2, 2], ["a", "b", "c"]),
        (Bounds(of_project=1), [2, 2, 2], ["a", "b", "a"]),
        (Bounds(size=10), [5, 5, 1], ["a", "b", "c"]),
    ],
    ids=["requests", "of a project", "bytes"],
)
async def test_what_is_held_at_a_time_is_bounded(
    desk: Desk, calls: Calls, caller: Caller, bounds: Bounds, sizes: list[int], projects: list[str]
) -> None:
    room = Holding(desk, desk, lambda text, _: text, lambda _: None, bounds=bounds)
    flows = [asked(calls, caller, name, b"x" * size) for size, name in zip(sizes, projects, strict=True)]
    first, second, third = await begun(room, calls, *flows)

    assert await finished(third) == ["too_many_held"]

    for flow in flows[:2]:
        room.decided(Decided(calls.of(flow).request_id, "refuse"))
    assert await finished(first, second) == ["request_refused"] * 2
    [again] = await begun(room, calls, flows[2])
    room.decided(Decided(calls.of(flows[2]).request_id, "resume"))
    assert await finished(again) == [None]


async def test_the_first_decision_stands(room: Holding, calls: Calls, caller: Caller) -> None:
    flow = asked(calls, caller)
    tasks = await begun(room, calls, flow)
    for verdict in ("refuse", "resume"):
        room.decided(Decided(calls.of(flow).request_id, verdict))  # type: ignore[arg-type]

    assert await finished(*tasks) == ["request_refused"]


@pytest.mark.parametrize(
    ("decided", "is_away", "on_deadline", "code"),
    [
        (None, False, OnDeadline.REFUSE, "hold_expired"),
        (None, False, OnDeadline.RELEASE, None),
        ("refuse", False, OnDeadline.RELEASE, "request_refused"),
        ("resume", False, OnDeadline.REFUSE, None),
        ("resume", True, OnDeadline.REFUSE, "hold_expired"),
        ("refuse", True, OnDeadline.RELEASE, "service_unavailable"),
    ],
)
async def test_at_the_deadline_decisions_are_looked_up(
    room: Holding,
    desk: Desk,
    calls: Calls,
    caller: Caller,
    decided: str | None,
    is_away: bool,
    on_deadline: OnDeadline,
    code: str | None,
) -> None:
    flow = asked(calls, caller)
    request_id, desk.is_away = calls.of(flow).request_id, is_away
    desk.decisions = {request_id: Decided(request_id, decided)} if decided else {}  # type: ignore[arg-type]
    rule = Rule("1", "keep", "~all", Action.HOLD, hold_seconds=0, on_deadline=on_deadline)

    assert await finished(*await begun(room, calls, flow, rule=rule)) == [code]


async def test_a_hold_lasts_ten_minutes_at_most(room: Holding, desk: Desk, calls: Calls, caller: Caller) -> None:
    flow = asked(calls, caller)
    tasks = await begun(room, calls, flow, rule=Rule("1", "keep", "~all", Action.HOLD, hold_seconds=86_400))
    tasks[0].cancel()
    await asyncio.wait(tasks)

    assert desk.until[0] - datetime.now(UTC).timestamp() <= 600
    assert desk.seen[-1] == "released" and desk.counts[-1] == 0


def edit_of(call: Call, desk: Desk, body: bytes) -> Decided:
    desk.edits[call.request_id] = body
    return Decided(call.request_id, "resume", True)


async def test_an_edited_body_takes_the_place_of_the_old_one(
    room: Holding, desk: Desk, calls: Calls, caller: Caller
) -> None:
    flow = asked(calls, caller)
    call = calls.of(flow)
    flow.request.headers.update({"content-md5": "x", "content-length": "2"})
    call.model, call.is_stream, call.request_bytes = "old", True, 2
    tasks = await begun(room, calls, flow)
    room.decided(edit_of(call, desk, "größer".encode()))

    assert await finished(*tasks) == [None]
    assert flow.request.raw_content == "größer".encode() and flow.request.headers["content-length"] == "8"
    assert (call.request_bytes, call.model, call.is_stream, call.is_edited) == (8, None, False, True)
    assert "content-md5" not in flow.request.headers


async def test_a_chunked_body_stays_chunked(room: Holding, desk: Desk, calls: Calls, caller: Caller) -> None:
    flow = asked(calls, caller)
    flow.request.headers["transfer-encoding"] = "chunked"
    flow.request.headers.pop("content-length", None)
    tasks = await begun(room, calls, flow)
    room.decided(edit_of(calls.of(flow), desk, b"{}"))

    assert await finished(*tasks) == [None] and "content-length" not in flow.request.headers


@pytest.mark.parametrize(
    ("problem", "code"), [("gone", "hold_expired"), ("away", "service_unavailable"), ("large", "request_too_large")]
)
async def test_without_the_edited_body_nothing_is_sent(
    room: Holding, desk: Desk, calls: Calls, admitted: tuple[http.HTTPFlow, Call], problem: str, code: str
) -> None:
    flow, call = admitted
    assert call.route is not None
    tasks = await begun(room, calls, flow)
    decided = edit_of(call, desk, b"x" * (call.route.max_body_bytes + 1))
    desk.is_away = problem == "away"
    if problem == "gone":
        desk.edits.clear()
    room.decided(decided)

    assert await finished(*tasks) == [code]


async def test_one_who_left_just_when_it_was_decided_is_not_served(room: Holding, calls: Calls, caller: Caller) -> None:
    flow = asked(calls, caller)
    tasks = await begun(room, calls, flow)
    room.decided(Decided(calls.of(flow).request_id, "resume"))
    calls.of(flow).ended_by_client = True

    assert await finished(*tasks) == [None] and flow.error is not None


async def test_what_ended_while_nobody_had_decided_goes_no_further(room: Holding, calls: Calls, caller: Caller) -> None:
    flow = asked(calls, caller)
    call = calls.of(flow)
    tasks = await begun(room, calls, flow, rule=Rule("1", "k", "~all", Action.HOLD, on_deadline=OnDeadline.RELEASE))
    assert call.attempts.waiter is not None
    call.ended_by_client = True
    call.attempts.waiter.set()

    assert await finished(*tasks) == [None] and flow.error is not None


async def test_what_was_missed_is_found_on_catching_up(room: Holding, desk: Desk, calls: Calls, caller: Caller) -> None:
    flows = [asked(calls, caller) for _ in range(2)]
    tasks = await begun(room, calls, *flows)
    missed, other = [calls.of(flow).request_id for flow in flows]
    desk.decisions = {missed: Decided(missed, "refuse")}

    await room.catch_up()

    assert await finished(tasks[0]) == ["request_refused"] and not tasks[1].done()
    room.decided(Decided(other, "resume"))
    await finished(tasks[1])
