"""What a behaviour may be, and how it is read."""

import pytest

from manager.mock_provider.behaviour import Behaviour, from_json, parse


def test_no_fields_mean_good_behaviour() -> None:
    assert parse({}) == Behaviour()


def test_fields_are_laid_over_the_base() -> None:
    base = Behaviour(latency_ms=20, compress="gzip")

    behaviour = parse({"latency_ms": 1.5, "hold_after": 0}, base)

    assert behaviour == Behaviour(latency_ms=1.5, compress="gzip", hold_after=0)


def test_every_field_can_be_read_back() -> None:
    behaviour = Behaviour(5, 2, 3, 0.5, 429, 1.5, 0.25, 7, 4096, "gzip", 42, 503, 1.5, 2, True, 3, 0.5)

    assert parse(behaviour.as_dict()) == behaviour


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"latncy_ms": 5}, "unknown behaviour 'latncy_ms'; known: latency_ms, chunk_interval_ms, chunks"),
        ({"latency_ms": -1}, "latency_ms must be a number from 0 to 600000, not -1"),
        ({"latency_ms": None}, "latency_ms must be a number"),
        ({"chunk_interval_ms": float("nan")}, "chunk_interval_ms must be a number"),
        ({"chunks": 0}, "chunks must be a whole number from 1 to 1000000 or null, not 0"),
        ({"chunks": 1.5}, "chunks must be a whole number"),
        ({"error_rate": 1.1}, "error_rate must be a number from 0 to 1, not 1.1"),
        ({"error_rate": "half"}, "error_rate must be a number from 0 to 1, not 'half'"),
        ({"error_status": 200}, "error_status must be a whole number from 400 to 599, not 200"),
        ({"retry_after_s": -0.1}, "retry_after_s must be a number from 0 to 86400 or null"),
        ({"abort_rate": True}, "abort_rate must be a number from 0 to 1, not True"),
        ({"hold_after": -1}, "hold_after must be a whole number from 0 to 1000000 or null"),
        ({"response_bytes": 2**40}, "response_bytes must be a whole number"),
        ({"seed": None}, "seed must be a whole number"),
        ({"compress": "br"}, "compress must be \"gzip\" or null, not 'br'"),
        ({"compress": 1}, 'compress must be "gzip" or null, not 1'),
        ({"status": 200}, "status must be 204, 304 or a whole number from 400 to 599 or null, not 200"),
        ({"status": True}, "status must be 204, 304 or a whole number"),
        ({"rate": -1}, "rate must be a number from 0 to 1000000 or null, not -1"),
        ({"fail_first": None}, "fail_first must be a whole number from 0 to 1000000, not None"),
        ({"close_after_answer": 1}, "close_after_answer must be true or false, not 1"),
        ({"answers_per_connection": 0}, "answers_per_connection must be a whole number from 1"),
        ({"keep_alive_s": -1}, "keep_alive_s must be a number from 0 to 86400 or null"),
        ([], "a behaviour must be a JSON object"),
    ],
)
def test_a_fault_names_the_field_and_what_it_may_be(fields: object, fault: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse(fields)

    assert str(refused.value).startswith(fault)


def test_json_is_read_and_what_is_none_is_refused() -> None:
    assert from_json(b'{"chunks": 3}') == Behaviour(chunks=3)
    with pytest.raises(ValueError):
        from_json(b"{chunks}")
