"""Stand-ins, written by hand, for what rooms talk to."""

from collections.abc import Callable, Sequence

from addons.store import StoreCannotWrite, StoreUnavailable
from shared import prices
from shared.flow_schema import FlowRecord, decode_record
from shared.holds_schema import NotExtended, OpenRequest
from shared.live_schema import Snapshot
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
        self.requests: list[OpenRequest] = []
        self.table = prices.PriceTable()
        self.published: bytes | None = None
        self.expired: list[tuple[str, bytes]] = []
        self.renewed: list[list[str]] = []
        self.buried: list[tuple[str, bytes]] = []
        self.extensions: list[bytes | NotExtended | StoreUnavailable] = []
        self.wanted: list[tuple[bytes, Amounts]] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self.rule_documents: list[bytes | None | StoreUnavailable] = [b""]
        self.watchers: list[bool | StoreUnavailable] = [False]
        self.told: list[tuple[str, Snapshot]] = []
        self.held: dict[str, bytes] = {}
        self.hold_faults = 0

    async def admit(
        self, digest: str, providers: Sequence[str], amounts: Amounts = NOTHING, request: OpenRequest | None = None
    ) -> Caller | Denied:
        self.asked.append((digest, list(providers)))
        self.amounts.append(amounts)
        self.requests += [request] if request else []
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

    async def rules(self) -> bytes | None:
        document = self.rule_documents.pop(0) if len(self.rule_documents) > 1 else self.rule_documents[0]
        if isinstance(document, StoreUnavailable):
            raise document
        return document

    async def renew(self, request_ids: Sequence[str]) -> list[tuple[str, bytes]]:
        self.renewed.append(list(request_ids))
        return self.expired

    async def bury(self, request_id: str, hold: bytes, reason: str) -> None:
        self.buried.append((request_id, hold))

    async def extend(self, hold: bytes, in_all: Amounts) -> bytes | NotExtended:
        self.wanted.append((hold, in_all))
        self.meanwhile()
        outcome = self.extensions.pop(0)
        if isinstance(outcome, StoreUnavailable):
            raise outcome
        return outcome

    async def is_watched(self) -> bool:
        is_watched = self.watchers.pop(0) if len(self.watchers) > 1 else self.watchers[0]
        if isinstance(is_watched, StoreUnavailable):
            raise is_watched
        return is_watched

    async def hold_record(self, request_id: str, record: bytes, milliseconds: int) -> None:
        if self.hold_faults:
            self.hold_faults -= 1
            raise StoreUnavailable("away")
        self.held[request_id] = record

    async def drop_record(self, request_id: str) -> None:
        self.held.pop(request_id, None)

    async def tell(self, worker: str, snapshot: Snapshot) -> None:
        self.told.append((worker, snapshot))


class FakeFeed:
    """Takes all records while it `is_open`, and remembers them, and of each whether it was a stranger's."""

    def __init__(self) -> None:
        self.is_open = True
        self.room_for: int | None = None
        self.records: list[FlowRecord] = []
        self.strangers: list[bool] = []
        self.is_running = False

    def has_room(self, is_stranger: bool) -> bool:
        return self.is_open and (self.room_for is None or len(self.records) < self.room_for)

    def append(self, record: bytes, is_stranger: bool) -> None:
        self.records.append(decode_record(record))
        self.strangers.append(is_stranger)

    def close(self) -> None:
        """It sends nothing anyway."""

    def running(self) -> None:
        self.is_running = True

    async def done(self) -> None:
        self.is_running = False


FULL = StoreCannotWrite("OOM command not allowed when used memory > 'maxmemory'.")
