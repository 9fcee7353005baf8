"""Money as people write it, US dollars with decimals, and as it is reckoned with: whole nano-USD."""

import re

from shared.models import MOST

DECIMALS = 9
UNIT = 1_000_000_000
_AMOUNT = re.compile(r"(?P<dollars>[0-9]{1,10})(?:\.(?P<rest>[0-9]{1,9}))?", re.ASCII)


def nano_usd(text: str) -> int:
    """Return the nano-USD of a text like 12.50. Raises ValueError for any other notation, and for too much."""
    match = _AMOUNT.fullmatch(text)
    amount = int(match["dollars"]) * UNIT + int((match["rest"] or "").ljust(DECIMALS, "0")) if match else None
    if amount is None or amount > MOST:
        raise ValueError(f'a text like "12.50", with up to {DECIMALS} decimals and at most {usd(MOST)}')
    return amount


def known(nano: int, unpriced: int) -> int | None:
    """Return a sum of what is known; None if all there was has unknown costs: 0 would be a lie."""
    return None if unpriced and not nano else nano


def usd(nano: int) -> str:
    """Return nano-USD as a text in dollars, with two decimals or as many more as are needed."""
    dollars, rest = divmod(nano, UNIT)
    return f"{dollars}.{f'{rest:09}'.rstrip('0').ljust(2, '0')}"
