"""Stand-ins, written by hand, for what rooms talk to."""

from collections.abc import Sequence

from addons.store import StoreCannotWrite, StoreUnavailable
from shared import prices
from shared.holds_schema import NotExtended
from shared.models import NOTHING, Amounts, Caller
from shared.redis_schema import Denied

type Verdict = Caller | Denied | StoreUnavailable


class FakeStore:
    """Gives its verdicts one after the other, the last one again and again, and remembers what it was asked."""

    def __init__(self, *verdicts: Verdict, seen: Caller | Denied | None = None) -> None:
        self._verdicts = list(verdicts)
        self._seen = seen
        self.asked: list[tuple[str, list[str]]] = []
        self.amounts: list[Amounts] = []
        self.requests: list[bytes] = []
        self.table = prices.PriceTable()
        self.published: bytes | None = None
        self.expired: list[bytes] = []
        self.renewed: list[list[bytes]] = []
        self.extensions: list[bytes | NotExtended | StoreUnavailable] = []
        self.wanted: list[tuple[bytes, Amounts]] = []

    async def admit(
        self, digest: str, providers: Sequence[str], amounts: Amounts = NOTHING, request: bytes = b""
    ) -> Caller | Denied:
        self.asked.append((digest, list(providers)))
        self.amounts.append(amounts)
        self.requests.append(request)
        verdict = self._verdicts.pop(0) if len(self._verdicts) > 1 else self._verdicts[0]
        if isinstance(verdict, StoreUnavailable):
            raise verdict
        return verdict

    async def peek(self, digest: str, providers: Sequence[str]) -> Caller | Denied:
        if self._seen is None:
            raise StoreUnavailable("away")
        return self._seen

    async def price_table(self) -> bytes:
        return prices.encode_table(self.table) if self.published is None else self.published

    async def renew(self, holds: Sequence[bytes]) -> list[bytes]:
        self.renewed.append(list(holds))
        return self.expired

    async def extend(self, hold: bytes, digest: str, more: Amounts) -> bytes | NotExtended:
        self.wanted.append((hold, more))
        outcome = self.extensions.pop(0)
        if isinstance(outcome, StoreUnavailable):
            raise outcome
        return outcome


FULL = StoreCannotWrite("OOM command not allowed when used memory > 'maxmemory'.")
