"""Rules as applications and those who decide meet them, under both runners: tagged, hidden, held, edited, denied."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis
from mitmproxy import http
from mitmproxy.master import Master

from addons.call import Call
from shared import flow_schema, live_schema, redis_schema, rules_schema
from shared.flow_schema import FlowRecord, Phase
from shared.inspection import Capture, Hidden, Inspection
from shared.live_schema import RunningRequest, State
from shared.models import Outcome, Policy
from shared.redis_schema import Decided, RulesChanged
from shared.rules_schema import Action, OnDeadline, Rule, RuleSet, encode_rules
from tests.addons.test_attempts import told as told_tenant
from tests.addons.test_cuts import Watcher
from tests.addons.test_proxy import CHAT, PLAIN, Tenant, code_of, exchange, get, post
from tests.addons.test_proxy import configuration as configuration  # a fixture
from tests.addons.test_proxy import proxy as proxy  # a fixture
from tests.addons.test_proxy import runner as runner  # a fixture
from tests.addons.test_proxy import tenant as tenant  # a fixture

DECIDE_SECONDS = 1.0
UPLOAD = 300 << 10


class Provider:
    """Reads whole requests, remembers their bodies, and answers each."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        self.bodies.append(await reader.readexactly(length[0]) if length else b"")
        self.heads.append(head)
        writer.write(PLAIN)
        writer.close()


class Operator(Watcher):
    """Somebody who makes rules, sees what is held, and decides."""

    def __init__(self, client: redis.Redis, master: Master) -> None:
        super().__init__(client)
        self.redis = client
        self.master = master
        self._version = 0

    async def rules(self, *rules: Rule) -> None:
        """Put rules in force, and wait until they are."""
        self._version += 1
        self.redis.set(rules_schema.RULES, encode_rules(RuleSet(self._version, list(rules))))
        self.redis.set(redis_schema.EPOCH, "epoch")
        self._tell(RulesChanged(self._version))
        book = self.master.addons.get("rulebook")
        async with asyncio.timeout(5):
            while (chapter := book.of("project-1")) is None or [each.rule for each in chapter.rules] != list(rules):
                await asyncio.sleep(0.01)

    async def held(self, count: int = 1) -> list[RunningRequest]:
        return await self.sees(State.HELD, count)

    async def shown(self, request_id: str) -> FlowRecord:
        """What can be seen of a held request."""
        async with asyncio.timeout(5):
            while (record := self.redis.get(flow_schema.held_key(request_id))) is None:
                await asyncio.sleep(0.01)
        return flow_schema.decode_record(record)  # type: ignore[arg-type]

    def resume(self, request_id: str, body: bytes | None = None) -> None:
        if body is not None:
            self.redis.set(flow_schema.edit_key(request_id), body, px=flow_schema.DECIDED_MS)
        self._tell(Decided(request_id, "resume", body is not None))

    def refuse(self, request_id: str) -> None:
        self._tell(Decided(request_id, "refuse"))

    def _tell(self, message: redis_schema.ControlMessage) -> None:
        self.redis.publish(redis_schema.CONTROL_CHANNEL, redis_schema.encode_control(message))


@pytest.fixture
def operator(redis_client: redis.Redis, proxy: tuple[Master, int]) -> Operator:
    return Operator(redis_client, proxy[0])


@pytest.fixture
def calls(proxy: tuple[Master, int]) -> list[Call]:
    """What the proxy knows of each request, once it has ended."""
    seen: list[Call] = []
    known = proxy[0].addons.get("rules").calls

    class Witness:
        def response(self, flow: http.HTTPFlow) -> None:
            seen.append(known.of(flow))

        error = response

    proxy[0].addons.add(Witness())
    return seen


@asynccontextmanager
async def providing(tenant: Tenant, **more: object) -> AsyncIterator[Provider]:
    provider = Provider()
    async with told_tenant(tenant, provider, **more):
        yield provider


def rule(filter: str, action: Action, name: str = "r", **more: object) -> Rule:
    return Rule(name, name, filter, action, **more)  # type: ignore[arg-type]


def hold(seconds: int = 30, on_deadline: OnDeadline = OnDeadline.REFUSE, filter: str = "~u chat") -> Rule:
    return rule(filter, Action.HOLD, "keep", hold_seconds=seconds, on_deadline=on_deadline)


def chat(content: str, model: str = "m") -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": content}]}).encode()


async def soon(task: "asyncio.Task[bytes]") -> bytes:
    """An answer that is there within a second."""
    return await asyncio.wait_for(task, DECIDE_SECONDS)


# Deny, allow, tag, hide


@pytest.mark.parametrize(
    ("filter", "body", "is_denied"),
    [
        ("~bq secret", chat("a SECRET plan"), True),
        ("~bq secret", chat("a plan"), False),
        ("~bq a@b", b'{"model":"m","messages":[{"content":"a\\u0040b"}]}', True),
        ("~comment model=gpt-4o", chat("", "gpt-4o"), True),
        ("~comment token=label & ~u /v1/chat/completions$", CHAT, True),
        ("~d elsewhere.example", CHAT, False),
        ("~bq '(a+)+$'", chat("a" * 20_000), False),
    ],
    ids=["body", "another body", "escaped", "model", "token and path", "another host", "catastrophic"],
)
async def test_what_a_rule_denies_does_not_reach_the_provider(
    proxy: tuple[Master, int], tenant: Tenant, operator: Operator, filter: str, body: bytes, is_denied: bool
) -> None:
    await operator.rules(rule(filter, Action.DENY))
    async with providing(tenant) as provider:
        started = time.perf_counter()
        answer = await exchange(proxy[1], post(tenant, body))

    assert time.perf_counter() - started < 2
    assert len(provider.bodies) == (0 if is_denied else 1)
    if is_denied:
        assert code_of(answer) == (403, "request_denied")
        event = await tenant.event()
        assert (event.outcome, event.status, event.error_code) == (Outcome.REFUSED, 403, "request_denied")


async def test_the_first_rule_that_decides_wins_and_others_mark(
    proxy: tuple[Master, int], tenant: Tenant, operator: Operator, calls: list[Call]
) -> None:
    await operator.rules(
        rule("~bq plan", Action.TAG, "t", tag="plans"),
        rule("~bq plan", Action.REDACT, "h"),
        rule("~comment tag=plans", Action.ALLOW, "a"),
        rule("~all", Action.DENY, "d"),
        rule("~all", Action.TAG, "t2"),
    )
    async with providing(tenant) as provider:
        allowed = await exchange(proxy[1], post(tenant, chat("a plan")))
        denied = await exchange(proxy[1], post(tenant, CHAT))

    assert (allowed.split()[1], code_of(denied)) == (b"200", (403, "request_denied"))
    assert provider.bodies == [chat("a plan")]
    assert [(call.tags, call.is_hidden, call.rule) for call in calls] == [(["plans"], True, "a"), ([], False, "d")]


async def test_rules_of_another_project_and_expired_ones_are_not_asked(
    proxy: tuple[Master, int], tenant: Tenant, operator: Operator
) -> None:
    others = rule("~all", Action.DENY, "theirs", project_id="project-2")
    expired = rule("~all", Action.DENY, "old", expires_at_ms=1)
    await operator.rules(expired)
    operator.redis.set(rules_schema.RULES, encode_rules(RuleSet(9, [others, expired])))
    await operator.master.addons.get("rulebook").refresh()
    async with providing(tenant):
        answer = await exchange(proxy[1], post(tenant, CHAT))

    assert answer.split()[1] == b"200"


def upload(tenant: Tenant, content: bytes) -> bytes:
    head = f"POST /v1/files HTTP/1.1\r\nHost: proxy\r\nAuthorization: Bearer {tenant.secret}\r\n"
    head += f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


@pytest.mark.parametrize(
    ("filter", "is_denied"),
    [("~u /v1/files", True), ("~bq needle", True), ("~bq haystack", False), ("~u /v1/chat", False)],
    ids=["by its head", "by its body", "by another body", "by another path"],
)
async def test_an_upload_that_streams_is_judged_before_it_goes_out(
    proxy: tuple[Master, int], tenant: Tenant, operator: Operator, filter: str, is_denied: bool
) -> None:
    await operator.rules(rule(filter, Action.DENY))
    body = b'--b\r\ncontent-disposition: form-data; name="file"\r\n\r\n' + b"x" * UPLOAD + b"needle\r\n--b--\r\n"
    async with providing(tenant) as provider:
        answer = await exchange(proxy[1], upload(tenant, body))

    assert provider.bodies == ([] if is_denied else [body])
    assert not is_denied or code_of(answer) == (403, "request_denied")


@pytest.mark.parametrize("action", [Action.DENY, Action.ALLOW], ids=str)
async def test_a_body_that_cannot_be_read_is_denied_and_not_allowed(
    proxy: tuple[Master, int], tenant: Tenant, operator: Operator, action: Action
) -> None:
    await operator.rules(rule("~bq harmless", action), *[rule("~all", Action.DENY)] * (action is Action.ALLOW))
    raw = upload(tenant, b"whatever").replace(b"Content-Type", b"Content-Encoding: gzip\r\nContent-Type")
    async with providing(tenant) as provider:
        answer = await exchange(proxy[1], raw)

    assert code_of(answer) == (403, "request_denied") and provider.bodies == []


async def test_what_was_refused_before_is_hidden_if_anything_is(
    proxy: tuple[Master, int], tenant: Tenant, operator: Operator, calls: list[Call]
) -> None:
    await operator.rules(rule("~bq secret", Action.REDACT))
    async with providing(tenant):
        await exchange(proxy[1], post(tenant, b"no json"))
        await exchange(proxy[1], post(tenant, CHAT))

    assert [call.is_hidden for call in calls] == [True, False]


async def test_unusable_rules_change_nothing(
    proxy: tuple[Master, int], tenant: Tenant, operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    await operator.rules(rule("~all", Action.DENY))
    book = operator.master.addons.get("rulebook")
    for published in (b"{", encode_rules(RuleSet(2, [rule("~s", Action.TAG)]))):
        operator.redis.set(rules_schema.RULES, published)
        await book.refresh()
    operator.redis.delete(rules_schema.RULES)
    await book.refresh()

    async with providing(tenant):
        assert code_of(await exchange(proxy[1], post(tenant, CHAT))) == (403, "request_denied")


# Hold


async def test_a_held_request_is_seen_edited_and_resumed(
    proxy: tuple[Master, int], tenant: Tenant, operator: Operator, calls: list[Call]
) -> None:
    await operator.rules(hold())
    async with providing(tenant) as provider:
        waiting = asyncio.create_task(exchange(proxy[1], post(tenant, chat("my plan"))))
        [seen] = await operator.held()
        assert (seen.rule, seen.model, provider.bodies) == ("keep", "m", [])
        assert seen.held_until is not None and 25 < (seen.held_until - seen.started_at).total_seconds() <= 31
        edited = chat("our longer plan", "n")
        operator.resume(seen.request_id, edited)
        answer = await soon(waiting)

    assert answer.split()[1] == b"200" and provider.bodies == [edited]
    [call] = calls
    assert (call.is_edited, call.model, call.request_bytes, call.held_until) == (True, "n", len(edited), None)
    assert (await tenant.event()).model == "n"
    assert not operator.redis.exists(flow_schema.edit_key(seen.request_id))


async def test_who_decides_sees_the_body_without_what_is_hidden_and_it_comes_back(
    proxy: tuple[Master, int], tenant: Tenant, operator: Operator
) -> None:
    await operator.rules(hold())
    async with providing(tenant, inspection=Inspection(Capture.OFF, hidden=(Hidden.EMAILS,))) as provider:
        waiting = asyncio.create_task(exchange(proxy[1], post(tenant, chat("to ann@example.org"))))
        [seen] = await operator.held()
        shown = await operator.shown(seen.request_id)
        assert shown.request.body is not None and (shown.rule, shown.phase) == ("keep", Phase.HELD)
        assert b"to [email 1]" in shown.request.body and b"ann@" not in shown.request.body
        operator.resume(seen.request_id, shown.request.body.replace(b"to [email 1]", b"for [email 1], not [email 2]"))
        await soon(waiting)

    assert json.loads(provider.bodies[0])["messages"][0]["content"] == "for ann@example.org, not [email 2]"


@pytest.mark.parametrize(
    ("edited", "code"),
    [
        (b"no json", (400, "invalid_request")),
        (chat("x", "forbidden"), (403, "model_not_allowed")),
        (None, (403, "hold_expired")),
    ],
    ids=["no JSON", "against the policy", "gone"],
)
async def test_an_edited_body_is_judged_like_any_other_and_the_old_one_never_sent(
    proxy: tuple[Master, int],
    tenant: Tenant,
    operator: Operator,
    edited: bytes | None,
    code: tuple[int, str],
) -> None:
    await operator.rules(hold())
    async with providing(tenant, policy=Policy(denied_models=("forbidden",))) as provider:
        waiting = asyncio.create_task(exchange(proxy[1], post(tenant, chat("x"))))
        [seen] = await operator.held()
        operator.resume(seen.request_id, edited or b"x")
        if edited is None:
            operator.redis.delete(flow_schema.edit_key(seen.request_id))
        answer = await soon(waiting)

    assert code_of(answer) == code and provider.bodies == []


async def test_a_held_request_is_refused(proxy: tuple[Master, int], tenant: Tenant, operator: Operator) -> None:
    await operator.rules(hold())
    async with providing(tenant) as provider:
        waiting = asyncio.create_task(exchange(proxy[1], post(tenant, CHAT)))
        [seen] = await operator.held()
        operator.resume("another request")
        operator.refuse(seen.request_id)
        operator.resume(seen.request_id)
        answer = await soon(waiting)

    assert code_of(answer) == (403, "request_refused") and provider.bodies == []
    event = await tenant.event()
    assert (event.outcome, event.status, event.error_code) == (Outcome.REFUSED, 403, "request_refused")


@pytest.mark.parametrize("on_deadline", list(OnDeadline), ids=str)
async def test_what_nobody_decides_about_ends_by_itself(
    proxy: tuple[Master, int], tenant: Tenant, operator: Operator, on_deadline: OnDeadline
) -> None:
    await operator.rules(hold(1, on_deadline))
    async with providing(tenant) as provider:
        started = time.monotonic()
        answer = await exchange(proxy[1], post(tenant, CHAT))

    assert 1 <= time.monotonic() - started < 3
    if on_deadline is OnDeadline.RELEASE:
        assert answer.split()[1] == b"200" and provider.bodies == [CHAT]
    else:
        assert code_of(answer) == (403, "hold_expired") and provider.bodies == []


async def test_a_decision_that_was_not_heard_is_found_at_the_deadline(
    proxy: tuple[Master, int], tenant: Tenant, operator: Operator
) -> None:
    await operator.rules(hold(3))
    async with providing(tenant) as provider:
        waiting = asyncio.create_task(exchange(proxy[1], post(tenant, CHAT)))
        [seen] = await operator.held()
        decided = redis_schema.encode_control(Decided(seen.request_id, "resume"))
        operator.redis.set(flow_schema.decided_key(seen.request_id), decided)
        answer = await waiting

    assert answer.split()[1] == b"200" and len(provider.bodies) == 1


async def test_a_decision_that_was_not_heard_is_found_on_connecting_anew(
    proxy: tuple[Master, int], tenant: Tenant, operator: Operator
) -> None:
    await operator.rules(hold())
    async with providing(tenant):
        waiting = asyncio.create_task(exchange(proxy[1], post(tenant, CHAT)))
        [seen] = await operator.held()
        decided = redis_schema.encode_control(Decided(seen.request_id, "refuse"))
        operator.redis.set(flow_schema.decided_key(seen.request_id), decided)
        operator.redis.client_kill_filter(_type="pubsub")
        answer = await asyncio.wait_for(waiting, 5)

    assert code_of(answer) == (403, "request_refused")


@pytest.mark.parametrize(
    ("end", "code"),
    [("cut", (403, "request_cut")), ("token", (401, "token_inactive")), ("project", (403, "project_inactive"))],
    ids=["cut", "token revoked", "project inactive"],
)
async def test_what_ends_a_request_ends_its_wait(
    proxy: tuple[Master, int], tenant: Tenant, operator: Operator, end: str, code: tuple[int, str]
) -> None:
    await operator.rules(hold())
    async with providing(tenant) as provider:
        waiting = asyncio.create_task(exchange(proxy[1], post(tenant, CHAT)))
        [seen] = await operator.held()
        if end == "cut":
            operator.cut(seen.request_id)
        else:
            tenant.revoke(end)
            gone = redis_schema.Revoked(end, f"{end}-1")  # type: ignore[arg-type]
            operator.redis.publish(redis_schema.CONTROL_CHANNEL, redis_schema.encode_control(gone))
        answer = await soon(waiting)

    assert code_of(answer) == code and provider.bodies == []
    event = await tenant.event()
    assert (event.outcome, event.status, event.error_code) == (Outcome.CUT, *code)


async def test_a_client_that_leaves_is_not_waited_for(
    proxy: tuple[Master, int], tenant: Tenant, operator: Operator
) -> None:
    await operator.rules(hold())
    async with providing(tenant) as provider:
        _, writer = await asyncio.open_connection("127.0.0.1", proxy[1])
        writer.write(post(tenant, CHAT))
        [seen] = await operator.held()
        writer.close()
        event = await tenant.event()
        operator.resume(seen.request_id)
        await asyncio.sleep(0.1)

    assert (event.outcome, event.request_id, event.duration_ms < 5000) == (
        Outcome.CLIENT_ABORTED,
        seen.request_id,
        True,
    )
    assert provider.bodies == []


async def test_a_hundred_are_held_at_once_and_others_pass(
    proxy: tuple[Master, int], tenant: Tenant, operator: Operator
) -> None:
    await operator.rules(hold())
    async with providing(tenant) as provider:
        waiting = [asyncio.create_task(exchange(proxy[1], post(tenant, chat(str(each))))) for each in range(100)]
        seen = await operator.held(100)
        passed = await soon(asyncio.create_task(exchange(proxy[1], get(tenant))))
        for each in seen:
            operator.resume(each.request_id)
        answers = await asyncio.gather(*waiting)

    assert passed.split()[1] == b"200" and {answer.split()[1] for answer in answers} == {b"200"}
    assert len(provider.bodies) == 101


async def test_a_held_request_keeps_its_hold_when_rules_change(
    proxy: tuple[Master, int], tenant: Tenant, operator: Operator
) -> None:
    await operator.rules(hold())
    async with providing(tenant):
        waiting = asyncio.create_task(exchange(proxy[1], post(tenant, CHAT)))
        [seen] = await operator.held()
        await operator.rules()
        assert (await exchange(proxy[1], post(tenant, CHAT))).split()[1] == b"200"
        operator.refuse(seen.request_id)
        answer = await soon(waiting)

    assert code_of(answer) == (403, "request_refused")
    assert operator.redis.exists(live_schema.WATCHED)
