"""Rules of the price list: its prices are ours, as its own reckoning confirms, and what no glob says is left out."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import genai_prices
import pytest
from genai_prices import data, types

from manager import price_list
from shared.models import Usage
from shared.prices import Price, PriceTable, cost

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PROVIDERS = ("openai", "anthropic", "google", "groq", "mistral")
SHORT = Usage(1000, 500, 1500, cached_tokens=200, cache_write_tokens=100)
LONG = Usage(900_000, 500, 900_500, cached_tokens=200_000, cache_write_tokens=100)
MODELS = [
    ("openai", "gpt-4o"),
    ("openai", "gpt-4o-mini-2024-07-18"),
    ("openai", "gpt-5"),
    ("openai", "gpt-5.4"),
    ("openai", "ft:gpt-3.5-turbo-0125:acme::1"),
    ("openai", "text-embedding-3-small"),
    ("openai", "o3-mini"),
    ("anthropic", "claude-3-5-haiku-20241022"),
    ("anthropic", "claude-sonnet-4-5-20250929"),
    ("anthropic", "claude-opus-4-6"),
    ("anthropic", "claude-opus-5-20260101"),
    ("google", "gemini-2.5-flash-lite"),
    ("mistral", "mistral-large-latest"),
]


@pytest.fixture(scope="module")
def table() -> PriceTable:
    return price_list.translated(PROVIDERS)


def of_the_list(provider: str, model: str, usage: Usage, moment: datetime) -> int:
    """What the package itself reckons, in nano-USD, rounded up."""
    asked = genai_prices.Usage(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cache_read_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_tokens,
    )
    found = genai_prices.calc_price(asked, model, provider_id=provider, genai_request_timestamp=moment)
    return price_list._nano(found.total_price)


@pytest.mark.parametrize("usage", [SHORT, LONG], ids=["short", "long"])
@pytest.mark.parametrize(("provider", "model"), MODELS, ids=[model for _, model in MODELS])
def test_costs_are_those_that_the_list_itself_reckons(
    table: PriceTable, provider: str, model: str, usage: Usage
) -> None:
    if model.startswith("text-embedding"):
        usage = Usage(usage.prompt_tokens)

    assert cost(table, provider, model, usage, NOW) == of_the_list(provider, model, usage, NOW)


def names(clause: Any) -> list[str]:
    """The plain names in a clause, also of what it says with a beginning."""
    if isinstance(clause, types.ClauseOr):
        return [name for part in clause.or_ for name in names(part)]
    found = getattr(clause, "equals", None) or getattr(clause, "starts_with", None)
    return [found] if found else []


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_model_that_the_list_names_has_the_price_of_the_list(table: PriceTable, provider: str) -> None:
    [listed] = [found for found in data.providers if found.id == provider]
    plain = [name for model in listed.models for name in names(model.match)]

    differing = []
    for name in plain:
        ours = cost(table, provider, name, Usage(1000, 500), NOW)
        if ours is not None and ours != of_the_list(provider, name, Usage(1000, 500), NOW):
            differing.append(name)

    assert len(plain) > 20
    assert differing == []


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_no_way_of_naming_a_model_of_the_bundled_providers_is_left_out(provider: str) -> None:
    [listed] = [found for found in data.providers if found.id == provider]

    for model in listed.models:
        clauses = model.match.or_ if isinstance(model.match, types.ClauseOr) else [model.match]
        assert [clause for clause in clauses if not price_list._globs(clause)] == []


def test_prices_of_other_providers_are_left_out() -> None:
    assert {price.provider for price in price_list.translated(["openai", "nobody"]).prices} == {"openai"}


# Made-up models


def translate(*models: types.ModelInfo) -> list[Price]:
    return list(price_list._prices(types.Provider(id="p", name="P", api_pattern="", models=list(models))))


def model(match: Any, prices: Any) -> types.ModelInfo:
    return types.ModelInfo(id="m", match=match, prices=prices)


def usd(amount: str, **more: Any) -> types.ModelPrice:
    return types.ModelPrice(input_mtok=Decimal(amount), output_mtok=Decimal("1"), **more)


EQUALS = types.ClauseEquals(equals="m")


def test_rates_are_nano_usd_and_requests_are_single_ones() -> None:
    every = {name: Decimal(number) for number, name in enumerate(price_list._RATES.values(), 1)}

    [price] = translate(model(EQUALS, types.ModelPrice(**every, requests_kcount=Decimal("5"))))

    rates = [getattr(price, rate) for rate in price_list._RATES]
    assert rates == [number * 10**9 for number in range(1, 8)]
    assert (price.request, price.above, price.valid_from, price.is_override) == (5_000_000, 0, None, False)


def test_what_is_finer_than_a_nano_usd_is_rounded_up() -> None:
    assert translate(model(EQUALS, usd("0.0000000011")))[0].prompt == 2


def test_a_model_without_any_rate_that_counts_has_no_price() -> None:
    assert translate(model(EQUALS, types.ModelPrice(audio_hours=Decimal("1")))) == []


def test_dated_prices_hold_from_midnight_utc_and_the_first_one_ever_since() -> None:
    entries = [
        types.ConditionalPrice(types.StartDateConstraint(date(2020, 1, 1)), prices=usd("1")),
        types.ConditionalPrice(types.StartDateConstraint(date(2026, 3, 13)), prices=usd("2")),
    ]

    found = translate(model(EQUALS, entries))

    assert [(price.valid_from, price.prompt) for price in found] == [
        (None, 10**9),
        (datetime(2026, 3, 13, tzinfo=UTC), 2 * 10**9),
    ]


def test_prices_by_the_time_of_day_are_left_out() -> None:
    night = types.TimeOfDateConstraint(start_time=(NOW + timedelta(hours=1)).timetz(), end_time=NOW.timetz())

    assert translate(model(EQUALS, [types.ConditionalPrice(night, prices=usd("1"))])) == []


def test_each_tier_has_its_own_price() -> None:
    tiers = [types.Tier(start=100, price=Decimal("2")), types.Tier(start=200, price=Decimal("3"))]
    tiered = types.ModelPrice(
        input_mtok=types.TieredPrices(base=Decimal("1"), tiers=tiers),
        output_mtok=types.TieredPrices(base=Decimal("7"), tiers=tiers[1:]),
    )

    found = translate(model(EQUALS, tiered))

    billion = 10**9
    assert [(price.above, price.prompt, price.completion) for price in found] == [
        (0, billion, 7 * billion),
        (100, 2 * billion, 7 * billion),
        (200, 3 * billion, 3 * billion),
    ]


def test_of_two_models_with_one_name_the_first_counts() -> None:
    assert [price.prompt for price in translate(model(EQUALS, usd("1")), model(EQUALS, usd("2")))] == [10**9]


@pytest.mark.parametrize(
    ("clause", "globs"),
    [
        (EQUALS, ["m"]),
        (types.ClauseStartsWith(starts_with="m"), ["m*"]),
        (types.ClauseEndsWith(ends_with="m"), ["*m"]),
        (types.ClauseContains(contains="m"), ["*m*"]),
        (types.ClauseOr(or_=[EQUALS, types.ClauseContains(contains="n")]), ["m", "*n*"]),
        (types.ClauseAnd(and_=[EQUALS]), []),
        (types.ClauseRegex(regex=r"^gpt-6\.1-\d{4}-\d{2}$"), ["gpt-6.1-????-??"]),
        (types.ClauseRegex(regex=r"^gemini-4-\d"), ["gemini-4-?*"]),
        (types.ClauseRegex(regex=r"^opus[-@]\d{3}$"), ["opus????"]),
        (types.ClauseRegex(regex=r"gpt"), []),
        (types.ClauseRegex(regex=r"^(a|b)$"), []),
        (types.ClauseRegex(regex=r"^gpt-\w$"), []),
        (types.ClauseRegex(regex=r"^x\[fast=true\]$"), []),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, list) else ",".join(value) or "none",
)
def test_clauses_become_globs(clause: Any, globs: list[str]) -> None:
    assert price_list._globs(clause) == globs


# The package


def test_the_list_is_read_by_a_process_of_its_own() -> None:
    assert PriceTable(price_list.read(["anthropic"])) == price_list.translated(["anthropic"])


def test_a_list_that_cannot_be_read_is_an_error_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")

    with pytest.raises(OSError, match="price list cannot be read"):
        price_list.read(["openai"])


def test_the_list_is_named_with_its_version() -> None:
    assert price_list.installed() == f"genai-prices {price_list.version('genai-prices')}"


def test_without_the_package_there_is_no_list() -> None:
    assert price_list.installed("genai-prices-of-nobody") is None


def test_the_package_is_not_loaded_by_who_does_not_read_the_list() -> None:
    code = "import manager.price_list, manager.jobs, sys; sys.exit('genai_prices' in sys.modules)"

    subprocess.run([sys.executable, "-c", code], check=True)
