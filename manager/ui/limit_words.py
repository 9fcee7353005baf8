"""Limits in words, and how much of them has been used."""

from flask import Flask

from manager.standing import Standing
from manager.ui.shown import NOTHING, number, usd
from shared.models import Limit, Measure, OnOutage, Window

_OUTAGES = {
    OnOutage.CLOSED: "refuses",
    OnOutage.OPEN: "lets pass",
    OnOutage.LOCAL_SHARE: "each worker counts its share",
}


def teach(app: Flask) -> None:
    """Let templates use them."""
    app.jinja_env.filters |= {"limit": words, "used": used, "outage": lambda limit: _OUTAGES[limit.on_outage]}


def words(limit: Limit) -> str:
    """Return a limit in words.

    >>> words(Limit(Measure.COST, Window.MONTH, 500_000_000_000)), words(Limit(Measure.CONCURRENT, Window.LIFE, 1))
    ('$500.00 per month', '1 request at a time')
    >>> words(Limit(Measure.REQUESTS, Window.MINUTE, 600, burst=20)), words(Limit(Measure.TOKENS, Window.LIFE, 1000))
    ('600 requests per minute, 20 at once', '1,000 tokens in all')
    """
    if limit.measure is Measure.CONCURRENT:
        return f"{_amount(limit, limit.amount)} at a time"
    window = "in all" if limit.window is Window.LIFE else f"per {limit.window}"
    burst = "" if limit.burst is None else f", {number(limit.burst)} at once"
    return f"{_amount(limit, limit.amount)} {window}{burst}"


def used(standing: Standing) -> str:
    """Return what has been used of a limit: of a rate nothing is told, since it comes back all the time.

    >>> used(Standing(Limit(Measure.COST, Window.DAY, 10**9), 250_000_000))
    '$0.25'
    """
    limit = standing.limit
    if standing.used is None:
        return NOTHING
    return usd(standing.used) if limit.measure is Measure.COST else number(standing.used)


def _amount(limit: Limit, amount: int) -> str:
    if limit.measure is Measure.COST:
        return usd(amount)
    noun = "token" if limit.measure is Measure.TOKENS else "request"
    return f"{number(amount)} {noun}{'' if amount == 1 else 's'}"
