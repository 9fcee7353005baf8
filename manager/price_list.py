"""The price list of the package genai-prices, if it is installed, as our own prices.

Loading it takes a hundred megabytes that nobody needs afterwards, so it is read by a process of its own:
`python -m manager.price_list openai anthropic` writes a price table (see shared/prices.py) to its standard output.

The list knows more than we can be sure of. Left out are models whose price depends on the time of day, patterns that no
glob says, and rates for what a usage event does not count (pictures, searches, pages, seconds). Rates for batches and
for service tiers are left out as well: costs are those of the standard tier.
"""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, time
from decimal import ROUND_CEILING, Decimal
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from shared import prices
from shared.prices import Price, PriceTable

if TYPE_CHECKING:
    from genai_prices import types

PACKAGE = "genai-prices"
SECONDS = 60.0
_RATES = {
    "prompt": "input_mtok",
    "cached": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "completion": "output_mtok",
    "reasoning": "output_reasoning_mtok",
    "audio_prompt": "input_audio_mtok",
    "audio_completion": "output_audio_mtok",
}
_NANO = 10**9
_DIGITS = re.compile(r"\\d(?:\{(\d+)\})?")
_DASHES = re.compile(r"\[[^\]\\^]*\]")


def installed(package: str = PACKAGE) -> str | None:
    """Return what prices of the installed list are marked with, None if there is none."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return None


def read(providers: Sequence[str]) -> tuple[Price, ...]:
    """Return the list's prices of some providers. Raises OSError if that fails."""
    command = [sys.executable, "-m", "manager.price_list", *providers]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=SECONDS)  # noqa: S603 - our own module
        return prices.decode_table(done.stdout).prices
    except (subprocess.SubprocessError, prices.PriceError) as error:
        raise OSError(f"the price list cannot be read: {error}") from error


def translated(providers: Iterable[str]) -> PriceTable:
    """Return the list's prices of some providers. Raises ImportError if the package is not there."""
    from genai_prices import data

    wanted = set(providers)
    known = [provider for provider in data.providers if provider.id in wanted]
    return PriceTable(tuple(price for provider in known for price in _prices(provider)))


def _prices(provider: "types.Provider") -> Iterator[Price]:
    # Of several models that a name fits, the list means the first; so does each glob.
    taken: set[str] = set()
    for model in provider.models:
        rates = list(_dated(model))
        for glob in dict.fromkeys(_globs(model.match)):
            if glob.lower() not in taken:
                taken.add(glob.lower())
                yield from (Price(provider.id, glob, **fields) for fields in rates)


def _dated(model: "types.ModelInfo") -> Iterator[dict[str, Any]]:
    from genai_prices import types

    if not isinstance(model.prices, list):
        yield from _tiers(model.prices, None)
        return
    if any(isinstance(entry.constraint, types.TimeOfDateConstraint) for entry in model.prices):
        return
    begun: dict[datetime | None, types.ModelPrice] = {}
    for number, entry in enumerate(model.prices):
        # The first one also holds before its beginning, and of two with one beginning the later one counts.
        start = entry.constraint.start_date if isinstance(entry.constraint, types.StartDateConstraint) else None
        begun[None if start is None or number == 0 else datetime.combine(start, time(), UTC)] = entry.prices
    for moment, found in begun.items():
        yield from _tiers(found, moment)


def _tiers(found: "types.ModelPrice", valid_from: datetime | None) -> Iterator[dict[str, Any]]:
    given = {rate: getattr(found, name, None) for rate, name in _RATES.items()}
    if all(value is None for value in given.values()):
        return
    starts = {tier.start for value in given.values() for tier in getattr(value, "tiers", ())}
    for above in sorted({0, *starts}):
        rates = {rate: _nano(_at(value, above)) for rate, value in given.items() if value is not None}
        if (requests := getattr(found, "requests_kcount", None)) is not None:
            rates["request"] = _nano(_at(requests, above) / 1000)
        yield rates | {"above": above, "valid_from": valid_from}


def _at(value: Any, above: int) -> Decimal:
    """Return the rate of prompts with more tokens than `above`."""
    if isinstance(value, Decimal):
        return value
    rate: Decimal = value.base
    for tier in value.tiers:
        rate = tier.price if tier.start <= above else rate
    return rate


def _nano(dollars: Decimal) -> int:
    return int((dollars * _NANO).to_integral_value(ROUND_CEILING))


def _globs(clause: Any) -> list[str]:
    """Return globs that fit what a clause fits; none for what no glob says."""
    match type(clause).__name__:
        case "ClauseOr":
            return [glob for part in clause.or_ for glob in _globs(part)]
        case "ClauseEquals":
            found = [clause.equals]
        case "ClauseStartsWith":
            found = [f"{clause.starts_with}*"]
        case "ClauseEndsWith":
            found = [f"*{clause.ends_with}"]
        case "ClauseContains":
            found = [f"*{clause.contains}*"]
        case "ClauseRegex":
            found = _of_regex(clause.regex)
        case _:
            found = []
    return found


def _of_regex(regex: str) -> list[str]:
    """Return the glob of a regular expression that begins with `^` and is made of characters, `\\d{n}` and `[...]`."""
    body = regex.removeprefix("^")
    plain = _DASHES.sub("?", _DIGITS.sub(lambda match: "?" * int(match[1] or 1), body.removesuffix("$")))
    plain = plain.replace(r"\.", ".")
    if body == regex or re.search(r"[\\()\[\]{}|+*^$]", plain):
        return []
    return [plain if body.endswith("$") else f"{plain}*"]


if __name__ == "__main__":
    sys.stdout.buffer.write(prices.encode_table(translated(sys.argv[1:])))
