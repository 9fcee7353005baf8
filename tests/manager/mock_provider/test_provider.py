"""Faults come by chance, and the same chance again after the same seed."""

import pytest

from manager.mock_provider.behaviour import Behaviour
from manager.mock_provider.errors import ProviderError
from manager.mock_provider.provider import Provider, injected_error


class Clock:
    """Seconds, as told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


type Failed = tuple[int, str | None, bytes | None]


def outcomes(provider: Provider, times: int, key: str = "sk-a", override: bytes | None = None) -> list[Failed | None]:
    """Status, code and Retry-After of each of so many requests; None for one that is served."""
    return [_outcome(provider, key, override) for _ in range(times)]


def _outcome(provider: Provider, key: str, override: bytes | None) -> Failed | None:
    try:
        provider.fail_if_due(provider.behaviour_for(override, key), key, override)
    except ProviderError as error:
        return error.status, error.code, dict(error.headers).get(b"retry-after")
    return None


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


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "invalid_api_key"),
        (402, "insufficient_quota"),
        (403, "permission_denied"),
        (429, "rate_limit_exceeded"),
        (500, None),
        (503, None),
    ],
)
def test_a_status_is_an_error_of_its_own(status: int, code: str | None) -> None:
    assert outcomes(Provider(Behaviour(status=status, retry_after_s=3), frozenset()), 1) == [(status, code, b"3")]


def test_a_key_may_ask_so_often_and_is_told_when_to_come_back() -> None:
    provider = Provider(Behaviour(rate=2), frozenset(), clock := Clock())

    first = outcomes(provider, 3) + outcomes(provider, 1, "sk-other")
    clock.now += 0.5
    later = outcomes(provider, 2)

    refused = (429, "rate_limit_exceeded", b"1")
    assert first == [None, None, refused, None]
    assert later == [None, refused]


def test_a_rate_of_none_at_all_refuses_after_one() -> None:
    provider = Provider(Behaviour(rate=0, retry_after_s=9), frozenset(), Clock())

    assert outcomes(provider, 2) == [None, (429, "rate_limit_exceeded", b"9")]


def test_the_first_requests_fail_whoever_asks_until_it_is_set_anew() -> None:
    provider = Provider(plan := Behaviour(fail_first=2, error_status=503), frozenset())

    seen = [outcomes(provider, 1, key)[0] for key in ("sk-a", "sk-b", "sk-a")]
    provider.behave(plan)

    failed = (503, None, None)
    assert seen == [failed, failed, None]
    assert outcomes(provider, 3) == [failed, failed, None]


def test_first_failures_of_a_key_are_its_own() -> None:
    provider = Provider(Behaviour(), frozenset())
    for key in ("sk-a", "sk-b"):
        provider.treat(key, {"fail_first": 1})

    assert [[bool(failed) for failed in outcomes(provider, 2, key)] for key in ("sk-a", "sk-b", "sk-c")] == [
        [True, False],
        [True, False],
        [False, False],
    ]


def test_first_failures_of_a_header_are_those_of_its_text() -> None:
    provider = Provider(Behaviour(), frozenset())

    seen = [outcomes(provider, 2, override=b'{"fail_first": 1, "seed": %d}' % seed) for seed in (1, 2)]

    assert [[bool(failed) for failed in pair] for pair in seen] == [[True, False]] * 2


def test_a_key_set_is_a_key_accepted() -> None:
    provider = Provider(Behaviour(), frozenset({"sk-only"}))
    provider.treat("sk-new", {})

    provider.require_key("sk-new")
    provider.key_rules.forget("sk-new")

    with pytest.raises(ProviderError):
        provider.require_key("sk-new")


def test_a_keys_behaviour_is_over_the_providers_and_under_the_requests() -> None:
    provider = Provider(Behaviour(latency_ms=5, chunks=1), frozenset())
    provider.treat("sk-a", {"chunks": 2, "rate": 1})

    assert provider.behaviour_for(b'{"rate": 3}', "sk-a") == Behaviour(latency_ms=5, chunks=2, rate=3)
    assert provider.behaviour_for(None, "sk-b") == Behaviour(latency_ms=5, chunks=1)


def test_a_request_may_override_the_behaviour_for_itself() -> None:
    provider = Provider(Behaviour(latency_ms=5), frozenset())

    assert provider.behaviour_for(b'{"chunks": 2}') == Behaviour(latency_ms=5, chunks=2)
    assert provider.behaviour_for(None) == Behaviour(latency_ms=5)


@pytest.mark.parametrize("override", [b"nonsense", b'{"chunk": 2}', b"\xff"])
def test_a_flawed_override_is_refused(override: bytes) -> None:
    with pytest.raises(ProviderError) as refused:
        Provider(Behaviour(), frozenset()).behaviour_for(override)

    assert (refused.value.status, refused.value.code) == (400, "invalid_mock_behaviour")
