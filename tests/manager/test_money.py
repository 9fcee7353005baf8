"""Rules of money: every nano-USD survives both ways, and what is no plain amount is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager import money


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("12.50", 12_500_000_000),
        ("0", 0),
        ("0.000000001", 1),
        ("7.1", 7_100_000_000),
        ("007", 7_000_000_000),
        ("9007199.254740992", 2**53),
    ],
)
def test_amounts_are_read_exactly(text: str, nano: int) -> None:
    assert money.nano_usd(text) == nano


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".5",
        "5.",
        "-1",
        "+1",
        "1e3",
        "1,000",
        "1_000",
        " 1",
        "1\n",
        "٣",
        "NaN",
        "$1",
        "0.0000000001",
        "9007199.254740993",
    ],
)
def test_what_is_no_plain_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r'a text like "12.50", with up to 9 decimals and at most 9007199.254740992'):
        money.nano_usd(text)


@pytest.mark.parametrize(
    ("nano", "text"),
    [(0, "0.00"), (1, "0.000000001"), (12_500_000_000, "12.50"), (1_230_000_000, "1.23"), (10**9, "1.00")],
)
def test_amounts_are_written_with_two_decimals_or_as_many_as_are_needed(nano: int, text: str) -> None:
    assert money.usd(nano) == text


@given(nano=st.integers(0, money.MOST))
def test_what_is_written_is_read_again_as_it_was(nano: int) -> None:
    assert money.nano_usd(money.usd(nano)) == nano
