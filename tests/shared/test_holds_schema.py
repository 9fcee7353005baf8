"""Holds, limits and what is said of them: read back as they were written, and an error for anything else."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import holds_schema, limits_schema
from shared.holds_schema import Held, NotExtended, OpenRequest
from shared.limits_schema import period_of
from shared.models import WINDOWS, Amounts, Limit, LimitState, Measure, OnOutage, Scope, Window
from shared.redis_schema import ContractError

REQUEST = OpenRequest("r1", datetime(2026, 1, 1, tzinfo=UTC), "openai", "chat.completions", "POST", "gpt-4o", True, 9)
TAKEN = msgspec.msgpack.encode(["t1", "p1", "e1", 7, 0, 500, 2**53, "token", "tokens:day", "20526", 500, 0])
HOLD = holds_schema.encode_request(REQUEST) + b"\n" + TAKEN
PAIRS = [(measure, window) for measure in Measure for window in sorted(WINDOWS[measure])]
COUNT = st.integers(0, 2**53)
LIMITS = st.lists(
    st.tuples(st.sampled_from(PAIRS), COUNT, st.none() | COUNT, st.sampled_from(OnOutage)).map(
        lambda drawn: Limit(*drawn[0], *drawn[1:])
    ),
    max_size=len(PAIRS),
).map(tuple)


@given(LIMITS)
def test_limits_read_back_as_they_were_published(limits: tuple[Limit, ...]) -> None:
    assert limits_schema.decode_limits(limits_schema.encode_limits(limits)) == limits


def test_no_limits_are_nothing_to_be_read() -> None:
    assert limits_schema.encode_limits([]) == b""
    assert limits_schema.decode_limits(b"\0") == ()


def test_a_hold_reads_back_with_whose_it_is() -> None:
    request = msgspec.structs.replace(REQUEST, token_id="t1", project_id="p1")

    assert holds_schema.decode_hold(HOLD) == Held(request, 7, Amounts(500, 2**53))


@pytest.mark.parametrize(
    "hold",
    [b"", b"\n", HOLD[1:], HOLD[:-1], HOLD.partition(b"\n")[0], b"{}\n" + TAKEN, HOLD + b"x"],
    ids=["nothing", "newline", "headless", "cut", "request only", "no request", "too long"],
)
def test_what_is_no_hold_is_a_contract_error(hold: bytes) -> None:
    with pytest.raises(ContractError):
        holds_schema.decode_hold(hold)


STATE = msgspec.msgpack.encode([["token", "tokens", "day", 100, 7]])


def test_an_extension_is_the_hold_from_now_on_or_what_denies_it() -> None:
    state = LimitState(Scope.TOKEN, Measure.TOKENS, Window.DAY, 100, 7)

    assert holds_schema.decode_extension([HOLD, b""]) == HOLD
    assert holds_schema.decode_extension([b"", b""]) == NotExtended(None)
    assert holds_schema.decode_extension([b"", STATE]) == NotExtended(state)


@pytest.mark.parametrize(
    "reply",
    [[], [b""], [1, b""], [b"", 1], [b"", STATE[:-1]], [b"", STATE.replace(b"day", b"dax")]],
    ids=["nothing", "short", "no hold", "no standing", "cut", "window"],
)
def test_an_extension_that_does_not_fit_is_a_contract_error(reply: list[bytes | int]) -> None:
    with pytest.raises(ContractError):
        holds_schema.decode_extension(reply)


@pytest.mark.parametrize(
    ("window", "period"),
    [(Window.LIFE, 0), (Window.MINUTE, 29453759), (Window.DAY, 20453), (Window.MONTH, 24311)],
    ids=["life", "minute", "day", "month"],
)
def test_periods_are_those_of_utc(window: Window, period: int) -> None:
    assert period_of(window, datetime.fromisoformat("2026-01-01T00:59:59+01:00")) == period


def test_expired_leases_are_ids_with_their_holds() -> None:
    assert holds_schema.decode_leases([b"r1", HOLD, b"r2", b"any"]) == [("r1", HOLD), ("r2", b"any")]
    assert holds_schema.decode_leases([]) == []


@pytest.mark.parametrize("reply", [[b"r1"], [1, HOLD], [b"r1", 1], [b"\xff", HOLD]])
def test_leases_that_do_not_fit_are_a_contract_error(reply: list[bytes | int]) -> None:
    with pytest.raises(ContractError):
        holds_schema.decode_leases(reply)
