"""Faults come by chance, and the same chance again after the same seed."""

import pytest

from manager.mock_provider.behaviour import Behaviour
from manager.mock_provider.errors import ProviderError
from manager.mock_provider.provider import Provider, injected_error


def cuts(provider: Provider, times: int = 400) -> list[bool]:
    return [provider.cuts_by_chance(provider.behaviour) for _ in range(times)]


def test_the_same_seed_brings_the_same_faults() -> None:
    behaviour = Behaviour(abort_rate=0.5, seed=7)
    provider = Provider(behaviour, frozenset())
    first = cuts(provider)

    provider.behave(behaviour)

    assert cuts(provider) == first
    assert cuts(provider) != first
    assert 150 < sum(first) < 250


@pytest.mark.parametrize(("rate", "all_of_them"), [(0.0, False), (1.0, True)])
def test_a_rate_of_none_or_one_leaves_nothing_to_chance(rate: float, all_of_them: bool) -> None:
    assert set(cuts(Provider(Behaviour(abort_rate=rate), frozenset()))) == {all_of_them}


def test_an_error_comes_at_the_error_rate() -> None:
    provider = Provider(Behaviour(error_rate=1, error_status=503), frozenset())

    with pytest.raises(ProviderError) as failed:
        provider.fail_by_chance(provider.behaviour)

    assert failed.value.status == 503
    provider.fail_by_chance(Behaviour())


@pytest.mark.parametrize(("after", "header"), [(2, b"2"), (0.5, b"0.5")])
def test_an_injected_error_says_when_to_come_back(after: float, header: bytes) -> None:
    error = injected_error(Behaviour(error_status=429, retry_after_s=after))

    assert (error.status, error.code, error.headers) == (
        429,
        "rate_limit_exceeded",
        ((b"retry-after", header),),
    )


def test_an_injected_error_without_a_time_has_no_such_header() -> None:
    assert injected_error(Behaviour()).headers == ()


def test_a_request_may_override_the_behaviour_for_itself() -> None:
    provider = Provider(Behaviour(latency_ms=5), frozenset())

    assert provider.behaviour_for(b'{"chunks": 2}') == Behaviour(latency_ms=5, chunks=2)
    assert provider.behaviour_for(None) == Behaviour(latency_ms=5)


@pytest.mark.parametrize("override", [b"nonsense", b'{"chunk": 2}', b"\xff"])
def test_a_flawed_override_is_refused(override: bytes) -> None:
    with pytest.raises(ProviderError) as refused:
        Provider(Behaviour(), frozenset()).behaviour_for(override)

    assert (refused.value.status, refused.value.code) == (400, "invalid_mock_behaviour")
