"""The contract in Redis: one slot, records that read back as they were written, and an error for anything else."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared import redis_schema
from shared.models import Caller, Denial, Outcome, Project, Token, UpstreamKey, Usage, UsageEvent
from shared.redis_schema import ContractError, Denied

TEXT = st.text(max_size=20)
COUNT = st.integers(0, 2**53)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
SECONDS = st.floats(0, 1e9, allow_nan=False)
KEYS = st.builds(UpstreamKey, TEXT, TEXT)
PROJECTS = st.builds(Project, TEXT, TEXT, st.booleans(), TEXT, st.lists(KEYS, max_size=3).map(tuple), COUNT)
TOKENS = st.builds(
    Token, TEXT, TEXT, TEXT, TEXT, st.booleans(), MOMENTS, st.none() | COUNT, COUNT, st.none() | MOMENTS, COUNT
)
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
)
PROJECT = Project("p1", "openai", True, "", (UpstreamKey("k1", "v1.k1.sealed"),), 7)
TOKEN = Token("t1", "d1", "p1", "demo", True, datetime(2030, 1, 1, tzinfo=UTC), 5, 2, None, 3)
EVENT = UsageEvent(
    "r1", datetime(2026, 1, 1, tzinfo=UTC), "p1", "t1", "k1", 1, "openai", "chat.completions", "POST", "gpt-4o", 200,
    Outcome.FINISHED, None, True, 9, 100, 2000, 812.5, 101.25, Usage(1, 2, 3),
)  # fmt: skip
RECORD = msgspec.json.encode(PROJECT)


def named(arguments: list[str | int]) -> dict[str | int, str | int]:
    """Fields and values of an argument list, as HSET takes them."""
    return dict(zip(arguments[::2], arguments[1::2], strict=True))


# Keys


@given(TEXT, TEXT)
def test_every_key_of_an_admission_carries_the_same_hash_tag(digest: str, project_id: str) -> None:
    keys, [project_prefix, *_] = redis_schema.encode_admission(digest, ["openai"])

    for key in [*keys, project_prefix + project_id, redis_schema.token_key(digest)]:
        assert key.startswith("llmproxy:{v1}:")


@pytest.mark.parametrize("name", ["EPOCH", "USAGE_STREAM", "USAGE_DEAD_LETTERS", "PROJECT_PREFIX", "TOKEN_PREFIX"])
def test_every_key_of_the_contract_carries_the_version_as_its_hash_tag(name: str) -> None:
    assert getattr(redis_schema, name).startswith("llmproxy:{v1}:")


def test_the_contract_writes_the_keys_it_reads() -> None:
    [token_key], _ = redis_schema.encode_token(TOKEN)
    [project_key], _ = redis_schema.encode_project(PROJECT)
    keys, [project_prefix, *providers] = redis_schema.encode_admission(TOKEN.digest, ["openai", "anthropic"])

    assert keys == [token_key, redis_schema.EPOCH] == ["llmproxy:{v1}:token:d1", "llmproxy:{v1}:epoch"]
    assert project_key == project_prefix + PROJECT.id == "llmproxy:{v1}:project:p1"
    assert providers == ["openai", "anthropic"]


@given(TEXT, TEXT)
def test_keys_of_different_records_differ(one: str, other: str) -> None:
    fixed = {redis_schema.EPOCH, redis_schema.USAGE_STREAM, redis_schema.USAGE_DEAD_LETTERS}
    keys = {redis_schema.token_key(one), redis_schema.token_key(other)}
    keys |= {redis_schema.project_key(one), redis_schema.project_key(other)}

    assert len(keys | fixed) == 3 + 2 * len({one, other})


# Tokens and projects


@given(TOKENS)
def test_a_token_is_written_completely(token: Token) -> None:
    [key], [version, requests, last_used, forget_at, *rest] = redis_schema.encode_token(token)

    assert key == redis_schema.token_key(token.digest)
    assert (version, requests) == (token.version, token.request_count)
    assert last_used == (0 if token.last_used_at is None else redis_schema.to_ms(token.last_used_at))
    assert forget_at == redis_schema.to_ms(token.expires_at) + 7 * 24 * 3600 * 1000
    assert named(rest) == {
        "id": token.id,
        "label": token.label,
        "project_id": token.project_id,
        "is_active": 1 if token.is_active else 0,
        "expires_at": redis_schema.to_ms(token.expires_at),
        "max_requests": "" if token.max_requests is None else token.max_requests,
    }


def test_a_limit_of_zero_is_not_the_same_as_no_limit() -> None:
    written = [redis_schema.encode_token(replace(TOKEN, max_requests=limit))[1][-1] for limit in (0, None)]

    assert written == [0, ""]


@given(PROJECTS)
def test_a_project_reads_back_as_it_was_written(project: Project) -> None:
    [key], [version, *rest] = redis_schema.encode_project(project)
    fields = named(rest)

    reply = [b"", b"t1", b"demo", 1, str(fields["record"]).encode()]
    assert key == redis_schema.project_key(project.id)
    assert version == project.version
    assert (fields["is_active"], fields["provider"]) == (int(project.is_active), project.provider)
    assert redis_schema.decode_admission(reply) == Caller("t1", "demo", project, 1)


# Admission


@pytest.mark.parametrize("reason", Denial)
@pytest.mark.parametrize(("record", "project"), [(b"", None), (RECORD, PROJECT)])
def test_each_denial_is_read_with_the_token_and_project_it_is_about(
    reason: Denial, record: bytes, project: Project | None
) -> None:
    verdict = redis_schema.decode_admission([reason.value.encode(), b"t1", "däs".encode(), 0, record])

    assert verdict == Denied(reason, "t1", "däs", project)
    assert not verdict


@pytest.mark.parametrize("empty", [b"", ""])
def test_no_denial_is_an_admission(empty: bytes) -> None:
    caller = redis_schema.decode_admission([empty, b"t1", b"demo", 3, RECORD])

    assert caller == Caller("t1", "demo", PROJECT, 3)
    assert caller


@given(TEXT, TEXT, COUNT, PROJECTS)
def test_an_admission_reads_back_as_it_was_answered(token_id: str, label: str, sequence: int, project: Project) -> None:
    reply = [b"", token_id.encode(), label.encode(), sequence, msgspec.json.encode(project)]

    assert redis_schema.decode_admission(reply) == Caller(token_id, label, project, sequence)


@pytest.mark.parametrize(
    "reply",
    [
        None,
        7,
        [],
        [b""],
        [b"", b"t1", b"demo", 1, RECORD, b"more"],
        [b"", b"t1", b"demo", 1, b""],
        [b"", b"t1", b"demo", 1, None],
        [b"", b"t1", b"demo", 1, 7],
        [b"", b"t1", b"demo", 1, b"{}"],
        [b"", b"t1", b"demo", 1, b"\xff"],
        [b"", b"t1", b"demo", 1, RECORD[:-1]],
        [b"", b"t1", b"demo", 1, RECORD.replace(b'"version":7', b'"version":"7"')],
        [b"", b"t1", b"demo", 1, RECORD.replace(b"openai", b"open\xffai")],
        [b"", b"t1", b"demo", None, RECORD],
        [b"", b"t1", b"demo", b"many", RECORD],
        [b"", b"\xff", b"demo", 1, RECORD],
        [b"unheard_of", b"t1", b"demo", 0, b""],
        [b"token_expired", b"\xff", b"demo", 0, b""],
        [b"token_expired", b"t1", b"demo", 0, b"junk"],
        [None, b"t1", b"demo", 1, RECORD],
        [0, b"t1", b"demo", 1, RECORD],
        [1, b"t1", b"demo", 1, RECORD],
    ],
)
def test_a_reply_that_does_not_fit_is_a_contract_error_and_never_an_admission(reply: list[bytes | int]) -> None:
    with pytest.raises(ContractError):
        redis_schema.decode_admission(reply)


JUNK = st.none() | st.integers() | st.binary(max_size=20) | st.sampled_from([b"", RECORD, b"token_expired"])


@given(st.lists(JUNK, max_size=7))
def test_no_reply_makes_another_error(reply: list[bytes | int]) -> None:
    try:
        verdict = redis_schema.decode_admission(reply)
    except ContractError:
        return

    assert isinstance(verdict, Denied) or verdict.project == PROJECT


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


# Moments and scripts


@given(st.integers(0, 7_000_000_000_000))
def test_milliseconds_read_back_the_same(milliseconds: int) -> None:
    moment = redis_schema.from_ms(milliseconds)

    assert moment.utcoffset() == timedelta(0)
    assert redis_schema.to_ms(moment) == milliseconds


def test_moments_are_milliseconds_of_utc() -> None:
    assert redis_schema.to_ms(datetime(1970, 1, 2, tzinfo=UTC)) == 86_400_000
    assert redis_schema.to_ms(datetime.fromisoformat("1970-01-01T01:00:00.0015+01:00")) == 2
    assert redis_schema.from_ms(86_400_001) == datetime(1970, 1, 2, 0, 0, 0, 1000, tzinfo=UTC)


@pytest.mark.parametrize("name", ["admit", "publish_token", "publish_project"])
def test_scripts_come_with_the_package(name: str) -> None:
    assert "redis.call" in redis_schema.script(name)


def test_an_unknown_script_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        redis_schema.script("unheard_of")
