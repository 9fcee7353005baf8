"""Keeps the prices in SQL those of the installed price list, for the providers that the provider table has."""

from datetime import datetime
from functools import partial
from pathlib import Path

from manager import db, price_list, prices
from manager.db import Sessions
from shared import logs, providers

log = logs.get("prices")


class PriceSeed:
    """Reads the price list when it is newer than what SQL has, and once at the start."""

    def __init__(self, sessions: Sessions, providers_file: Path | None, package: str = price_list.PACKAGE) -> None:
        self._package = package
        self._sessions = sessions
        self._providers_file = providers_file
        self._done: tuple[str | None, frozenset[str]] | None = None

    def seed(self, now: datetime) -> bool:
        """Bring the prices up to date; tell whether any changed. Raises OSError if the list cannot be read.

        Without a price list what was there stays, and if that is nothing, it is said once that costs are unknown.
        """
        source = price_list.installed(self._package)
        wanted = (source, frozenset(providers.load(self._providers_file).providers))
        if wanted == self._done:
            return False
        has_changed = self._replace(now, source, sorted(wanted[1])) if source else self._warn()
        self._done = wanted
        return has_changed

    def _replace(self, now: datetime, source: str, names: list[str]) -> bool:
        listed = price_list.read(names)
        replace = partial(prices.replace_list, now=now, source=source, listed=listed)
        has_changed = db.transact(self._sessions, replace)
        if has_changed:
            log.info("prices_seeded", source=source, count=len(listed))
        return has_changed

    def _warn(self) -> bool:
        with db.reading(self._sessions) as session:
            if not prices.count(session):
                hint = "install genai-prices or put prices over the API; without any, costs are unknown"
                log.warning("no_prices", hint=hint)
        return False
