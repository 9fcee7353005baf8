"""Counting against a request, by name and by a clock that is told the time."""

from manager.mock_provider.quotas import Quotas


def test_a_bucket_fills_up_no_higher_than_one_second_of_it() -> None:
    now = [0.0]
    quotas = Quotas(lambda: now[0])
    assert [quotas.wait("a", 4) for _ in range(5)] == [0, 0, 0, 0, 0.25]

    now[0] = 3600

    assert [quotas.wait("a", 4) for _ in range(5)] == [0, 0, 0, 0, 0.25]


def test_a_slow_rate_lets_one_through_at_a_time() -> None:
    quotas = Quotas(lambda: 0)

    assert [quotas.wait("a", 0.5), quotas.wait("a", 0.5)] == [0, 2]


def test_what_is_forgotten_is_counted_anew() -> None:
    quotas = Quotas(lambda: 0)
    assert [quotas.fails("a", 1), quotas.fails("a", 1)] == [True, False]

    quotas.forget("a")

    assert quotas.fails("a", 1)


def test_the_oldest_name_makes_room() -> None:
    quotas = Quotas(lambda: 0)

    for number in range(1001):
        quotas.fails(str(number), 1)

    assert (quotas.fails("0", 1), quotas.fails("1000", 1)) == (True, False)
