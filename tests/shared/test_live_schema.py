"""What workers tell of what is in flight: read back as it was written, in the one slot, and an error for the rest."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import live_schema
from shared.live_schema import RunningRequest, Snapshot, State
from shared.redis_schema import ContractError

TEXT = st.text(max_size=20)
COUNT = st.integers(0, 2**53)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
REQUESTS = st.builds(
    RunningRequest,
    *[TEXT] * 6,
    st.none() | TEXT,
    MOMENTS,
    st.booleans(),
    st.sampled_from(State),
    COUNT,
    COUNT,
    st.none() | COUNT,
)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@given(MOMENTS, st.dictionaries(TEXT, COUNT, max_size=3), st.lists(REQUESTS, max_size=3))
def test_a_snapshot_reads_back_as_it_was_told(
    moment: datetime, counts: dict[str, int], requests: list[RunningRequest]
) -> None:
    told = Snapshot(moment, counts, requests)

    assert live_schema.decode_snapshot(live_schema.encode_snapshot(told)) == told


@pytest.mark.parametrize(
    "told",
    [b"", b"\xff", msgspec.msgpack.encode([]), msgspec.msgpack.encode({"told_at": NOW, "counts": {}})],
    ids=["nothing", "garbage", "another shape", "a part"],
)
def test_what_is_no_snapshot_is_a_contract_error(told: bytes) -> None:
    with pytest.raises(ContractError):
        live_schema.decode_snapshot(told)


@given(TEXT)
def test_every_key_carries_the_hash_tag(worker: str) -> None:
    assert live_schema.snapshot_key(worker) == f"llmproxy:{{v1}}:live:worker:{worker}"
    assert live_schema.WATCHED == "llmproxy:{v1}:live:watched"


def test_what_a_worker_tells_outlives_the_pause_until_it_tells_again() -> None:
    assert live_schema.SNAPSHOT_MS >= 3000 and live_schema.WATCHED_MS > live_schema.SNAPSHOT_MS
