"""Rules of costs: exact integers, rounded up once, parts paid once, and what nobody knows is never nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import prices
from shared.models import Usage
from shared.prices import Price, PriceError, PriceTable, cost

NOW = datetime(2026, 5, 4, 10, 20, tzinfo=UTC)
USD = 10**9
# 2 USD for a million tokens of the prompt, 8 for a million of the completion.
PLAIN = Price("openai", "gpt-5", prompt=2 * USD, completion=8 * USD)


def cost_of(usage: Usage, *table: Price, model: str | None = "gpt-5", moment: datetime = NOW) -> int | None:
    return cost(PriceTable(table or (PLAIN,)), "openai", model, usage, moment)


def price(model: str = "gpt-5", prompt: int = USD, **more: Any) -> Price:
    return Price("openai", model, prompt=prompt, completion=0, **more)


# Amounts


def test_prompt_and_completion_have_their_own_rates() -> None:
    assert cost_of(Usage(1_000_000, 500_000, 1_500_000)) == 6 * USD


def test_nothing_used_costs_nothing() -> None:
    assert cost_of(Usage(0, 0, 0)) == 0


@pytest.mark.parametrize(
    ("rate", "tokens", "expected"),
    [(1, 1, 1), (1, 1_000_000, 1), (1, 1_000_001, 2), (999_999, 1, 1), (1_000_001, 1, 2), (0, 7, 0)],
)
def test_a_cost_is_rounded_up_to_the_next_nano_usd(rate: int, tokens: int, expected: int) -> None:
    assert cost_of(Usage(tokens, 0), price(prompt=rate)) == expected


def test_a_cost_is_rounded_once_and_not_for_each_part() -> None:
    assert cost_of(Usage(1, 1), Price("openai", "gpt-5", prompt=400_000, completion=600_000)) == 1


@given(tokens=st.integers(0, 2**31), rate=st.integers(0, 10**15))
def test_costs_are_exact_however_large(tokens: int, rate: int) -> None:
    found = cost_of(Usage(tokens, 0), price(prompt=rate))

    assert found is not None
    assert 0 <= found * 1_000_000 - tokens * rate < 1_000_000


def test_a_price_for_each_request_comes_on_top() -> None:
    assert cost_of(Usage(1_000_000, 0), price(request=25)) == USD + 25


# Parts

PARTS: dict[str, tuple[str, str]] = {
    "cached": ("cached_tokens", "prompt"),
    "cache_write": ("cache_write_tokens", "prompt"),
    "audio_prompt": ("audio_prompt_tokens", "prompt"),
    "reasoning": ("reasoning_tokens", "completion"),
    "audio_completion": ("audio_completion_tokens", "completion"),
}


@pytest.mark.parametrize("rate", PARTS)
def test_a_part_with_a_rate_is_paid_at_that_rate_and_not_as_the_whole_as_well(rate: str) -> None:
    count, whole = PARTS[rate]
    priced = Price("openai", "gpt-5", **{"prompt": 0, "completion": 0, whole: 10 * USD, rate: USD})
    usage = Usage(**{"prompt_tokens": 0, "completion_tokens": 0, f"{whole}_tokens": 1_000_000, count: 400_000})

    assert cost_of(usage, priced) == 6_400_000_000


@pytest.mark.parametrize("rate", PARTS)
def test_a_part_without_a_rate_costs_as_the_whole(rate: str) -> None:
    count, whole = PARTS[rate]
    usage = Usage(**{"prompt_tokens": 0, "completion_tokens": 0, f"{whole}_tokens": 1_000_000, count: 400_000})

    assert cost_of(usage) == cost_of(Usage(usage.prompt_tokens, usage.completion_tokens))


def test_a_part_may_be_free() -> None:
    assert cost_of(Usage(1_000_000, 0, cached_tokens=1_000_000), price(cached=0)) == 0


def test_parts_that_overlap_are_paid_once_the_cached_ones_first() -> None:
    audio = price(prompt=100 * USD, cached=USD, audio_prompt=10 * USD)

    assert cost_of(Usage(1_000_000, 0, cached_tokens=800_000, audio_prompt_tokens=500_000), audio) == 2_800_000_000


def test_parts_larger_than_their_whole_cost_no_more_than_it_has_tokens() -> None:
    assert cost_of(Usage(1_000_000, 0, cached_tokens=9_000_000), price(cached=USD)) == USD


def test_a_whole_of_nothing_but_parts_needs_no_rate_of_its_own() -> None:
    audio = Price("openai", "gpt-5", audio_prompt=USD, completion=0)

    assert cost_of(Usage(1_000_000, 0, audio_prompt_tokens=1_000_000), audio) == USD
    assert cost_of(Usage(1_000_000, 0, audio_prompt_tokens=999_999), audio) is None


# What is not known


@pytest.mark.parametrize("model", [None, "gpt-5-mini", ""], ids=["none", "other", "empty"])
def test_a_model_without_a_price_costs_nobody_knows_what(model: str | None) -> None:
    assert cost_of(Usage(1, 1, 2), model=model) is None


def test_another_provider_has_other_prices() -> None:
    assert cost(PriceTable((PLAIN,)), "azure", "gpt-5", Usage(1, 1, 2), NOW) is None


@pytest.mark.parametrize(
    "usage", [Usage(), Usage(total_tokens=9), Usage(prompt_tokens=9), Usage(completion_tokens=9)], ids=str
)
def test_usage_that_was_not_told_costs_nobody_knows_what(usage: Usage) -> None:
    assert cost_of(usage) is None


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (Usage(1_000_000, None, 2_000_000), 10 * USD),
        (Usage(None, 1_000_000, 2_000_000), 10 * USD),
        (Usage(1_000_000, None, 5), 2 * USD),
        (Usage(None, 1_000_000, 5), 8 * USD),
    ],
    ids=["completion", "prompt", "less than the prompt", "less than the completion"],
)
def test_a_count_that_was_not_told_follows_from_the_total(usage: Usage, expected: int) -> None:
    assert cost_of(usage) == expected


def test_a_price_without_completions_is_for_models_that_complete_nothing() -> None:
    embeddings = Price("openai", "gpt-5", prompt=USD)

    assert cost_of(Usage(1_000_000), embeddings) == USD
    assert cost_of(Usage(1_000_000, 0), embeddings) == USD
    assert cost_of(Usage(1_000_000, 1), embeddings) is None


def test_an_empty_table_knows_nothing() -> None:
    assert cost(PriceTable(), "openai", "gpt-5", Usage(1, 1, 2), NOW) is None


# Which price


@pytest.mark.parametrize(
    ("glob", "model", "fits"),
    [
        ("gpt-5*", "gpt-5", True),
        ("gpt-5*", "gpt-5-mini", True),
        ("*", "", True),
        ("*", "g" * 256, True),
        ("*", "g" * 257, False),
        ("g*t*5*x", "gpt-5-5-x", True),
        ("g*t*5*x", "gpt-x-5", False),
        ("gpt-?", "gpt-5", True),
        ("gpt-?", "gpt-55", False),
        ("gpt.5", "gpt-5", False),
        ("GPT-5", "gpt-5", True),
        ("gpt-5", "GPT-5", True),
        ("[a]", "a", False),
        ("[a]", "[a]", True),
        ("gpt-5", "gpt-5\n", False),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else None,
)
def test_models_are_globs(glob: str, model: str, fits: bool) -> None:
    assert (cost_of(Usage(0, 0), price(glob), model=model) is not None) is fits


def test_an_override_wins_however_little_its_glob_says() -> None:
    assert cost_of(Usage(1_000_000, 0), price(), price("*", 7 * USD, is_override=True)) == 7 * USD


@pytest.mark.parametrize(
    ("loser", "winner"), [("gpt*", "gpt-5"), ("gpt-?", "gpt-5"), ("*", "gpt*"), ("g*5", "gpt-*")], ids=lambda g: g
)
def test_of_several_globs_the_one_that_says_most_wins(loser: str, winner: str) -> None:
    table = [price(winner, 7 * USD), price(loser)]

    assert cost_of(Usage(1_000_000, 0), *table) == cost_of(Usage(1_000_000, 0), *reversed(table)) == 7 * USD


def test_each_price_holds_from_its_beginning_until_the_next_one_begins() -> None:
    table = [price(), price(prompt=2 * USD, valid_from=NOW), price(prompt=3 * USD, valid_from=NOW + timedelta(days=1))]
    moments = [NOW - timedelta(microseconds=1), NOW, NOW + timedelta(hours=23), NOW + timedelta(days=1)]

    found = [cost_of(Usage(1_000_000, 0), *table, moment=moment) for moment in moments]

    assert found == [USD, 2 * USD, 2 * USD, 3 * USD]


def test_a_price_that_ended_gives_way_to_what_holds_without_it() -> None:
    table = [price(), price(prompt=2 * USD, valid_until=NOW, is_override=True)]

    found = [cost_of(Usage(1_000_000, 0), *table, moment=NOW - timedelta(seconds=seconds)) for seconds in (1, 0)]

    assert found == [2 * USD, USD]


def test_a_price_that_has_not_begun_is_no_price() -> None:
    assert cost_of(Usage(1, 0), price(valid_from=NOW + timedelta(seconds=1))) is None


@pytest.mark.parametrize(("tokens", "rate"), [(1000, USD), (1001, 5 * USD)])
def test_all_tokens_of_a_long_prompt_have_the_price_of_long_prompts(tokens: int, rate: int) -> None:
    assert cost_of(Usage(tokens, 0), price(), price(prompt=5 * USD, above=1000)) == tokens * rate // 1_000_000


def test_a_price_of_nothing_but_long_prompts_says_nothing_of_short_ones() -> None:
    assert cost_of(Usage(1000, 0), price(above=1000)) is None


def test_many_models_do_not_fill_the_memory() -> None:
    table = PriceTable((price("*"),))

    for number in range(3 * prices._REMEMBERED):
        assert cost(table, "openai", f"model-{number}", Usage(0, 0), NOW) == 0

    assert len(table._remembered) <= prices._REMEMBERED


def test_no_name_makes_matching_take_long() -> None:
    table = PriceTable((price("*a*a*a*a*a*a*a*a*a*a*b"),))

    assert cost(table, "openai", "a" * 256, Usage(0, 0), NOW) is None


# On the wire


def test_a_table_comes_back_as_it_was_written() -> None:
    table = PriceTable((PLAIN, price(valid_from=NOW, valid_until=NOW, above=7, cached=0, is_override=True, request=1)))

    assert prices.decode_table(prices.encode_table(table)) == table


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'{"prices":[{}]}', b'{"prices":[{"provider":1}]}', b"\xff"])
def test_what_is_no_table_is_refused(payload: bytes) -> None:
    with pytest.raises(PriceError, match="unreadable price table"):
        prices.decode_table(payload)
