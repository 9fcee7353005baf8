"""How values are shown: numbers with separators, money in US dollars, moments in UTC, links to the same list."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from flask import Flask, request, url_for

from manager import money

NOTHING = "–"


def teach(app: Flask) -> None:
    """Let templates use them."""
    env = app.jinja_env
    env.filters |= {"number": number, "usd": usd, "utc": utc, "iso": iso, "bytesize": bytesize}
    env.filters |= {"usd_short": usd_short, "number_short": number_short}
    env.globals |= {"with_args": with_args, "with_query": with_query, "here": here}


def number(value: float | None, digits: int = 0) -> str:
    """Return a number with separators.

    >>> number(1234567), number(0.25, 2), number(None)
    ('1,234,567', '0.25', '–')
    """
    return NOTHING if value is None else f"{value:,.{digits}f}"


def usd(nano_usd: int | None) -> str:
    """Return an amount in US dollars: cents, and as much as there is of what is less than that.

    >>> usd(1_234_500_000_000), usd(12_345_000), usd(0), usd(None)
    ('$1,234.50', '$0.012345', '$0.00', '–')
    """
    if nano_usd is None:
        return NOTHING
    return f"${money.usd(nano_usd)}" if 0 < nano_usd < money.UNIT else f"${nano_usd / money.UNIT:,.2f}"


def utc(moment: datetime) -> str:
    """Return a moment for people, to the second.

    >>> utc(datetime(2026, 5, 4, 10, 20, 30, tzinfo=UTC))
    '2026-05-04 10:20:30 UTC'
    """
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def iso(moment: datetime) -> str:
    """Return a moment for programs."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def bytesize(value: float | None) -> str:
    """Return a number of bytes in units of 1000.

    >>> bytesize(999), bytesize(1_500_000)
    ('999 B', '1.5 MB')
    """
    if value is None:
        return NOTHING
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"


def duration_short(milliseconds: float | None) -> str:
    """Return about how long something took, where there is little room.

    >>> duration_short(0.42), duration_short(812.5), duration_short(2300), duration_short(150_000)
    ('0.42 ms', '812 ms', '2.30 s', '2.50 min')
    """
    if milliseconds is None:
        return NOTHING
    units = ((60_000, "min"), (1000, "s"))
    size, unit = next(((size, unit) for size, unit in units if milliseconds >= size), (1, "ms"))
    return f"{significant(milliseconds / size)} {unit}"


def usd_short(nano_usd: int | None) -> str:
    """Return about how much it is in US dollars, where there is little room.

    >>> usd_short(1_234_567_000_000), usd_short(12_345_678), usd_short(9), usd_short(0), usd_short(None)
    ('$1,234.57', '$0.0123', '<$0.0001', '$0.00', '–')
    """
    if nano_usd is None or not 0 < nano_usd < money.UNIT:
        return usd(nano_usd)
    return f"${significant(nano_usd / money.UNIT)}" if nano_usd * 10_000 >= money.UNIT else "<$0.0001"


def number_short(value: float | None) -> str:
    """Return about how many, where there is little room.

    >>> number_short(9999), number_short(12_345), number_short(1_234_567), number_short(None)
    ('9,999', '12.3k', '1.23M', '–')
    """
    if value is None or abs(value) < 10_000:
        return number(value)
    units = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))
    size, unit = next((size, unit) for size, unit in units if abs(value) >= size)
    return f"{significant(value / size)}{unit}"


def significant(value: float) -> str:
    """Return a number with three digits that say something.

    >>> significant(0), significant(0.00012345), significant(1234.5)
    ('0', '0.000123', '1,234')
    """
    digits = 0 if value == 0 else min(9, max(0, 2 - math.floor(math.log10(abs(value)))))
    return f"{value:,.{digits}f}"


def with_args(**changes: Any) -> str:
    """Return the address of the current page with other parameters; None takes one away."""
    kept: dict[str, Any] = {**{name: request.args.getlist(name) for name in request.args}, **changes}
    return with_query(url_for(request.endpoint or "ui.home", **(request.view_args or {})), kept)


def with_query(path: str, query: Mapping[str, Any]) -> str:
    """Return a path with parameters, of any names; those that are None are left out.

    What comes with a request is never an argument of url_for, which takes some names for itself.

    >>> with_query("/ui/tokens", {"_anchor": "x", "ids": ["a", "b"], "cursor": None}), with_query("/ui/tokens", {})
    ('/ui/tokens?_anchor=x&ids=a&ids=b', '/ui/tokens')
    """
    found = urlencode({name: value for name, value in query.items() if value is not None}, doseq=True)
    return f"{path}?{found}" if found else path


def here() -> str:
    """Return the current page and its parameters, as a form may bring them back."""
    return request.full_path.rstrip("?")
