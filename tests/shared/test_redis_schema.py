"""The contract in Redis: one slot, records that read back as they were written, and an error for anything else."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared import redis_schema
from shared.limits_schema import encode_limits
from shared.models import (
    WINDOWS,
    Caller,
    Denial,
    Feature,
    Limit,
    LimitState,
    Measure,
    OnOutage,
    Outcome,
    Policy,
    Project,
    Scope,
    Token,
    UpstreamKey,
    Usage,
    UsageEvent,
    Window,
)
from shared.redis_schema import BreakerChange, ContractError, ControlMessage, Cut, Denied, Revoked

TEXT = st.text(max_size=20)
COUNT = st.integers(0, 2**53)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
SECONDS = st.floats(0, 1e9, allow_nan=False)
KEYS = st.builds(UpstreamKey, TEXT, TEXT, st.integers(1, 1000))
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
CAPS = st.dictionaries(TEXT, st.floats(allow_nan=False, allow_infinity=False), max_size=3)
POLICIES = st.just(Policy()) | st.builds(Policy, TEXTS, TEXTS, TEXTS, CAPS)
PAIRS = [(measure, window) for measure in Measure for window in sorted(WINDOWS[measure])]
LIMITS = st.lists(
    st.builds(
        lambda pair, *rest: Limit(*pair, *rest),
        st.sampled_from(PAIRS),
        COUNT,
        st.none() | COUNT,
        st.sampled_from(OnOutage),
    ),
    max_size=4,
).map(tuple)
PROJECTS = st.builds(
    Project,
    id=TEXT,
    provider=TEXT,
    is_active=st.booleans(),
    base_url=TEXT,
    keys=st.lists(KEYS, max_size=3).map(tuple),
    version=COUNT,
    fallback_urls=TEXTS,
    policy=POLICIES,
    cors_origins=TEXTS,
    features=st.dictionaries(st.sampled_from(Feature), st.booleans()),
    limits=LIMITS,
)
TOKENS = st.builds(
    Token,
    id=TEXT,
    digest=TEXT,
    project_id=TEXT,
    label=TEXT,
    is_active=st.booleans(),
    expires_at=MOMENTS,
    max_requests=st.none() | COUNT,
    request_count=COUNT,
    last_used_at=st.none() | MOMENTS,
    version=COUNT,
    policy=POLICIES,
    limits=LIMITS,
    previous_digest=TEXT,
    previous_until=st.none() | MOMENTS,
)
CHANGES = st.builds(BreakerChange, TEXT, st.booleans(), TEXT, COUNT, COUNT)
REVOCATIONS = st.builds(Revoked, st.sampled_from(["token", "project"]), TEXT)
MESSAGES: st.SearchStrategy[ControlMessage] = REVOCATIONS | st.builds(Cut, TEXT) | CHANGES
USAGES = st.builds(Usage, st.none() | COUNT, st.none() | COUNT, st.none() | COUNT)
EVENTS = st.builds(
    UsageEvent,
    request_id=TEXT,
    occurred_at=MOMENTS,
    project_id=TEXT,
    token_id=TEXT,
    upstream_key_id=st.none() | TEXT,
    sequence=COUNT,
    provider=TEXT,
    route=TEXT,
    method=TEXT,
    model=st.none() | TEXT,
    status=st.integers(0, 599),
    outcome=st.sampled_from(Outcome),
    error_code=st.none() | TEXT,
    is_stream=st.booleans(),
    chunks=COUNT,
    request_bytes=COUNT,
    response_bytes=COUNT,
    duration_ms=SECONDS,
    first_byte_ms=st.none() | SECONDS,
    usage=USAGES,
    attempts=COUNT,
)
PROJECT = Project("p1", "openai", True, "", (UpstreamKey("k1", "v1.k1.sealed"),), 7)
TOKEN = Token("t1", "d1", "p1", "demo", True, datetime(2030, 1, 1, tzinfo=UTC), 5, 2, None, 3)
EVENT = UsageEvent(
    "r1", datetime(2026, 1, 1, tzinfo=UTC), "p1", "t1", "k1", 1, "openai", "chat.completions", "POST", "gpt-4o", 200,
    Outcome.FINISHED, None, True, 9, 100, 2000, 812.5, 101.25, Usage(1, 2, 3),
)  # fmt: skip
RECORD = msgspec.json.encode(PROJECT)
POLICY = Policy(("gpt-4o*",), ("*-preview",), ("logit_bias",), {"max_tokens": 100.0})
NARROWED = msgspec.json.encode(POLICY)
# The end of a reply that holds nothing, with no limits.
REST = [b"", b"", b"", b""]


def named(arguments: list[str | int]) -> dict[str | int, str | int]:
    """Fields and values of an argument list, as HSET takes them."""
    return dict(zip(arguments[::2], arguments[1::2], strict=True))


# Keys

FIXED = [
    "EPOCH", "USAGE_STREAM", "USAGE_DEAD_LETTERS", "PROJECT_PREFIX", "TOKEN_PREFIX", "IDENTITY_PREFIX",
    "CONTROL_CHANNEL", "BREAKERS",
]  # fmt: skip


@given(TEXT, TEXT)
def test_every_key_of_an_admission_carries_the_same_hash_tag(digest: str, project_id: str) -> None:
    keys, [project_prefix, *_] = redis_schema.encode_admission(digest, ["openai"])

    for key in [*keys, project_prefix + project_id, redis_schema.token_key(digest)]:
        assert key.startswith("llmproxy:{v1}:")


@pytest.mark.parametrize("name", FIXED)
def test_every_key_of_the_contract_carries_the_version_as_its_hash_tag(name: str) -> None:
    assert getattr(redis_schema, name).startswith("llmproxy:{v1}:")


@given(TEXT)
def test_the_lock_of_a_probe_carries_the_hash_tag_and_its_subject(subject: str) -> None:
    assert redis_schema.probe_key(subject) == f"llmproxy:{{v1}}:probe:{subject}"


def test_the_contract_writes_the_keys_it_reads() -> None:
    [token_key, *_], _ = redis_schema.encode_token(TOKEN)
    [project_key], _ = redis_schema.encode_project(PROJECT)
    keys, [project_prefix, *_, one, other] = redis_schema.encode_admission(TOKEN.digest, ["openai", "anthropic"])

    running = [redis_schema.OPEN, redis_schema.HOLDS]
    assert keys == [token_key, redis_schema.EPOCH, redis_schema.GLOBAL_LIMITS, *running]
    assert keys[:2] == ["llmproxy:{v1}:token:d1", "llmproxy:{v1}:epoch"]
    assert project_key == project_prefix + PROJECT.id == "llmproxy:{v1}:project:p1"
    assert [one, other] == ["openai", "anthropic"]


@given(TEXT, TEXT)
def test_keys_of_different_records_differ(one: str, other: str) -> None:
    fixed = {getattr(redis_schema, name) for name in FIXED if not name.endswith("_PREFIX")}
    keys = {redis_schema.token_key(one), redis_schema.token_key(other)}
    keys |= {redis_schema.project_key(one), redis_schema.project_key(other)}
    keys |= {redis_schema.probe_key(one), redis_schema.probe_key(other)}
    keys |= {redis_schema.identity_key(one), redis_schema.identity_key(other)}

    assert len(keys | fixed) == 5 + 4 * len({one, other})


# Tokens and projects


@given(TOKENS)
def test_a_token_is_written_completely(token: Token) -> None:
    keys, arguments = redis_schema.encode_token(token)
    key, used, identity, previous = keys
    version, channel, _, requests, last_used, forget_at, works_until, is_active, *rest = arguments
    fields = named(rest)
    policy = str(fields.pop("policy")).encode()

    assert used == f"llmproxy:{{v1}}:used:token:{token.id}"
    assert identity == f"llmproxy:{{v1}}:identity:{token.id}"
    assert key == redis_schema.token_key(token.digest)
    assert previous == redis_schema.token_key(token.previous_digest or token.digest)
    assert works_until == (0 if token.previous_until is None else redis_schema.to_ms(token.previous_until))
    assert is_active == (1 if token.is_active else 0)
    assert channel == redis_schema.CONTROL_CHANNEL
    assert (msgspec.json.decode(policy, type=Policy) if policy else Policy()) == token.policy
    assert (version, requests) == (token.version, token.request_count)
    assert last_used == (0 if token.last_used_at is None else redis_schema.to_ms(token.last_used_at))
    assert forget_at == redis_schema.to_ms(token.expires_at) + 7 * 24 * 3600 * 1000
    assert fields == {
        "id": token.id,
        "label": token.label,
        "project_id": token.project_id,
        "expires_at": redis_schema.to_ms(token.expires_at),
        "max_requests": "" if token.max_requests is None else token.max_requests,
        "limits": encode_limits(token.limits),
    }


def test_a_limit_of_zero_is_not_the_same_as_no_limit() -> None:
    written = [redis_schema.encode_token(replace(TOKEN, max_requests=limit))[1][8:] for limit in (0, None)]

    assert [named(fields)["max_requests"] for fields in written] == [0, ""]


@pytest.mark.parametrize(("policy", "written"), [(Policy(), ""), (POLICY, NARROWED.decode())], ids=["none", "some"])
def test_a_token_without_a_policy_of_its_own_has_nothing_to_be_read(policy: Policy, written: str) -> None:
    _, arguments = redis_schema.encode_token(replace(TOKEN, policy=policy))

    assert named(arguments[8:])["policy"] == written


@pytest.mark.parametrize(
    ("is_active", "notices"),
    [(True, ("", "")), (False, (Revoked("token", "t1"), Revoked("project", "p1")))],
    ids=["active", "inactive"],
)
def test_only_what_may_not_be_used_any_longer_comes_with_a_notice(
    is_active: bool, notices: tuple[Revoked | str, Revoked | str]
) -> None:
    _, [_, token_channel, token_notice, *_] = redis_schema.encode_token(replace(TOKEN, is_active=is_active))
    _, [_, project_channel, project_notice, *_] = redis_schema.encode_project(replace(PROJECT, is_active=is_active))

    written = [str(notice).encode() for notice in (token_notice, project_notice)]
    assert token_channel == project_channel == redis_schema.CONTROL_CHANNEL
    assert tuple(redis_schema.decode_control(notice) if notice else "" for notice in written) == notices


@given(PROJECTS)
def test_a_project_reads_back_as_it_was_written(project: Project) -> None:
    [key], [version, _, _, *rest] = redis_schema.encode_project(project)
    fields = named(rest)

    reply = [b"", b"t1", b"demo", b"", 1, str(fields["record"]).encode(), *REST]
    assert key == redis_schema.project_key(project.id)
    assert version == project.version
    assert (fields["is_active"], fields["provider"]) == (int(project.is_active), project.provider)
    assert redis_schema.decode_admission(reply) == Caller("t1", "demo", project, 1)


def test_a_project_of_an_earlier_release_is_read_with_the_defaults_of_this_one() -> None:
    earlier = b"""{"id":"p1","provider":"openai","is_active":true,"base_url":"","version":7,
        "keys":[{"id":"k1","sealed":"v1.k1.sealed"}]}"""

    assert redis_schema.decode_admission([b"", b"t1", b"demo", b"", 1, earlier, *REST]) == Caller(
        "t1", "demo", PROJECT, 1
    )


# Admission


@pytest.mark.parametrize("reason", Denial)
@pytest.mark.parametrize(("record", "project"), [(b"", None), (RECORD, PROJECT)])
def test_each_denial_is_read_with_the_token_and_project_it_is_about(
    reason: Denial, record: bytes, project: Project | None
) -> None:
    verdict = redis_schema.decode_admission([reason.value.encode(), b"t1", "däs".encode(), b"", -1, record, *REST])

    assert verdict == Denied(reason, "t1", "däs", project)
    assert not verdict


@pytest.mark.parametrize("empty", [b"", ""])
def test_no_denial_is_an_admission(empty: bytes) -> None:
    caller = redis_schema.decode_admission([empty, b"t1", b"demo", b"", 3, RECORD, *REST])

    assert caller == Caller("t1", "demo", PROJECT, 3)
    assert caller


@given(st.builds(Caller, TEXT, TEXT, PROJECTS, COUNT, POLICIES))
def test_an_admission_reads_back_as_it_was_answered(caller: Caller) -> None:
    policy, record = msgspec.json.encode(caller.policy), msgspec.json.encode(caller.project)
    reply = [b"", caller.token_id.encode(), caller.token_label.encode(), policy, caller.sequence, record, *REST]

    assert redis_schema.decode_admission(reply) == caller


def test_the_tightest_limits_are_those_at_the_places_told() -> None:
    a_day, a_month = Limit(Measure.TOKENS, Window.DAY, 100), Limit(Measure.COST, Window.MONTH, 7)
    record = msgspec.json.encode(replace(PROJECT, limits=(a_day,)))
    limits = [b"5", b"", encode_limits([a_month])]

    caller = redis_schema.decode_admission([b"", b"t1", b"demo", b"", 3, record, b"", *limits, 2, 6, 2000, 0, 4, -1])

    assert isinstance(caller, Caller)
    assert caller.standing == (
        LimitState(Scope.GLOBAL, Measure.COST, Window.MONTH, 7, 6, 2000),
        LimitState(Scope.TOKEN, Measure.REQUESTS, Window.LIFE, 5, 4, None),
    )
    of_life = (Scope.TOKEN, Limit(Measure.REQUESTS, Window.LIFE, 5))
    assert caller.limits == (of_life, (Scope.PROJECT, a_day), (Scope.GLOBAL, a_month))


@pytest.mark.parametrize("standing", [[1, 5, 60], [0, 5], [0], [0, b"many", 60], [0, 5, b"never"], [None, 5, 60]])
def test_a_standing_that_does_not_fit_is_a_contract_error(standing: list[bytes | int]) -> None:
    with pytest.raises(ContractError):
        redis_schema.decode_admission([b"", b"t1", b"demo", b"", 3, RECORD, b"", b"5", b"", b"", *standing])


@given(TOKENS)
def test_a_policy_is_read_as_it_was_published(token: Token) -> None:
    _, arguments = redis_schema.encode_token(token)
    reply = [b"", b"t1", b"demo", str(named(arguments[8:])["policy"]).encode(), 1, RECORD, *REST]

    assert redis_schema.decode_admission(reply) == Caller("t1", "demo", PROJECT, 1, token.policy)


@pytest.mark.parametrize(
    "reply",
    [
        None,
        7,
        [],
        [b""],
        [b"", b"t1", b"demo", b"", 1, RECORD, b"more"],
        [b"", b"t1", b"demo", b"", 1, b""],
        [b"", b"t1", b"demo", b"", 1, None],
        [b"", b"t1", b"demo", b"", 1, 7],
        [b"", b"t1", b"demo", b"", 1, b"{}"],
        [b"", b"t1", b"demo", b"", 1, b"\xff"],
        [b"", b"t1", b"demo", b"", 1, RECORD[:-1]],
        [b"", b"t1", b"demo", b"", 1, RECORD.replace(b'"version":7', b'"version":"7"')],
        [b"", b"t1", b"demo", b"", 1, RECORD.replace(b"openai", b"open\xffai")],
        [b"", b"t1", b"demo", b"", 1, RECORD.replace(b'"features":{}', b'"features":{"unheard_of":true}')],
        [b"", b"t1", b"demo", b"", None, RECORD],
        [b"", b"t1", b"demo", b"", b"many", RECORD],
        [b"", b"\xff", b"demo", b"", 1, RECORD],
        [b"", b"t1", b"demo", 1, RECORD],
        [b"", b"t1", b"demo", None, 1, RECORD],
        [b"", b"t1", b"demo", 0, 1, RECORD],
        [b"", b"t1", b"demo", b"{", 1, RECORD],
        [b"", b"t1", b"demo", b"[]", 1, RECORD],
        [b"", b"t1", b"demo", b"\xff", 1, RECORD],
        [b"", b"t1", b"demo", NARROWED[:-1], 1, RECORD],
        [b"", b"t1", b"demo", NARROWED.replace(b"100.0", b'"100"'), 1, RECORD],
        [b"", b"t1", b"demo", NARROWED.replace(b'["gpt-4o*"]', b"null"), 1, RECORD],
        [b"unheard_of", b"t1", b"demo", b"", 0, b""],
        [b"token_expired", b"\xff", b"demo", b"", 0, b""],
        [b"token_expired", b"t1", b"demo", b"", 0, b"junk"],
        [None, b"t1", b"demo", b"", 1, RECORD],
        [0, b"t1", b"demo", b"", 1, RECORD],
        [1, b"t1", b"demo", b"", 1, RECORD],
    ],
)
def test_a_reply_that_does_not_fit_is_a_contract_error_and_never_an_admission(reply: list[bytes | int]) -> None:
    with pytest.raises(ContractError):
        redis_schema.decode_admission(reply if reply is None or reply == 7 else [*reply, *REST])


JUNK = st.none() | st.integers() | st.binary(max_size=20) | st.sampled_from([b"", RECORD, b"token_expired"])


@given(st.lists(JUNK, max_size=14))
def test_no_reply_makes_another_error(reply: list[bytes | int]) -> None:
    try:
        verdict = redis_schema.decode_admission(reply)
    except ContractError:
        return

    assert isinstance(verdict, Denied) or verdict.project == PROJECT


# The control channel


@given(MESSAGES)
def test_a_control_message_reads_back_as_it_was_written(message: ControlMessage) -> None:
    assert redis_schema.decode_control(redis_schema.encode_control(message).encode()) == message


CHANGE = redis_schema.encode_control(BreakerChange("key:k1", True, "429", 1_900_000_000_000, 2)).encode()
NOTICE = redis_schema.encode_control(Revoked("token", "t1")).encode()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        b"null",
        b"[]",
        b"{}",
        b"7",
        None,
        7,
        NOTICE[:-1],
        NOTICE + b"x",
        NOTICE.replace(b"revoked", b"unheard_of"),
        NOTICE.replace(b'"token"', b'"tenant"'),
        NOTICE.replace(b'"t1"', b"1"),
        NOTICE.replace(b'"t1"', b'"t\xff"'),
        NOTICE.replace(b',"id":"t1"', b""),
        CHANGE.replace(b"true", b'"yes"'),
        CHANGE.replace(b"1900000000000", b"0.5"),
        CHANGE.replace(b'"subject":"key:k1",', b""),
    ],
)
def test_what_is_no_control_message_is_a_contract_error(payload: bytes) -> None:
    with pytest.raises(ContractError):
        redis_schema.decode_control(payload)


@given(st.sampled_from([NOTICE, CHANGE]), st.data())
def test_a_damaged_control_message_is_one_or_a_contract_error(whole: bytes, data: st.DataObject) -> None:
    position, byte = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.binary(min_size=1, max_size=1))

    try:
        message = redis_schema.decode_control(whole[:position] + byte + whole[position + 1 :])
    except ContractError:
        return

    assert isinstance(message, Revoked | BreakerChange)


def test_a_control_message_of_a_later_release_with_more_in_it_is_still_read() -> None:
    later = NOTICE[:-1] + b',"added_later":1}'

    assert redis_schema.decode_control(later) == Revoked("token", "t1")


# Usage events


@given(EVENTS)
@example(EVENT)
def test_an_event_reads_back_as_it_was_written(event: UsageEvent) -> None:
    entry = {name.encode(): value for name, value in redis_schema.encode_event(event).items()}

    assert redis_schema.decode_event(entry) == event


ENTRY = redis_schema.encode_event(EVENT)["event"]


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {b"other": ENTRY},
        {b"event": b""},
        {b"event": None},
        {b"event": 7},
        {b"event": b"\xff"},
        {b"event": b"[]"},
        {b"event": b"{}"},
        {b"event": ENTRY[:-1]},
        {b"event": ENTRY + b"x"},
        {b"event": ENTRY.replace(b'"finished"', b'"vanished"')},
        {b"event": ENTRY.replace(b'"status":200', b'"status":"200"')},
        {b"event": ENTRY.replace(b"gpt-4o", b"gpt-\xff")},
        {b"event": ENTRY.replace(b"2026-01-01", b"2026-13-01")},
    ],
)
def test_an_entry_that_is_no_event_is_a_contract_error(entry: dict[bytes, bytes]) -> None:
    with pytest.raises(ContractError):
        redis_schema.decode_event(entry)


@given(st.integers(0, len(ENTRY) - 1), st.integers(0, 255))
def test_a_damaged_entry_is_an_event_or_a_contract_error(position: int, byte: int) -> None:
    damaged = ENTRY[:position] + bytes([byte]) + ENTRY[position + 1 :]

    try:
        event = redis_schema.decode_event({b"event": damaged})
    except ContractError:
        return

    assert isinstance(event, UsageEvent)


def test_an_event_of_a_later_release_with_more_in_it_is_still_read() -> None:
    later = b'{"added_later":1,' + ENTRY[1:]

    assert redis_schema.decode_event({b"event": later}) == EVENT


# Moments


@given(st.integers(0, 7_000_000_000_000))
def test_milliseconds_read_back_the_same(milliseconds: int) -> None:
    moment = redis_schema.from_ms(milliseconds)

    assert moment.utcoffset() == timedelta(0)
    assert redis_schema.to_ms(moment) == milliseconds


def test_moments_are_milliseconds_of_utc() -> None:
    assert redis_schema.to_ms(datetime(1970, 1, 2, tzinfo=UTC)) == 86_400_000
    assert redis_schema.to_ms(datetime.fromisoformat("1970-01-01T01:00:00.0015+01:00")) == 2
    assert redis_schema.from_ms(86_400_001) == datetime(1970, 1, 2, 0, 0, 0, 1000, tzinfo=UTC)
