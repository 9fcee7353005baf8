"""What the provider has seen: counts, and a bounded record of requests in which no key is readable."""

import hashlib
from collections import Counter, deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from manager.mock_provider.answers.told import Used
from manager.mock_provider.keys import Presented

RECENT = 1000
ANSWERED = 10_000
_MAX_PATHS = 1000
_NOTHING = hashlib.sha256().digest()


class Outcome(StrEnum):
    """How an answer ended: delivered whole, cut by the provider, or left by the client; OPEN until then."""

    OPEN = "open"
    FINISHED = "finished"
    ABORTED = "aborted"
    DISCONNECTED = "disconnected"


@dataclass(slots=True)
class Entry:
    """One request and its answer so far; what was heard and sent grows while an upload or a stream is open.

    A thousand are kept, so an entry is small: the headers are one text, the digests are closed with the answer.
    A WebSocket is one entry: status 101, bytes and digests over all messages of each side, one after the other.
    """

    number: int
    epoch: int
    method: str
    path: str
    key: str
    headers: bytes
    model: str | None = None
    status: int | None = None
    stream: bool = False
    used: Used | None = None
    bytes_sent: int = 0
    events_sent: int = 0
    outcome: Outcome = Outcome.OPEN
    request_sha256: bytes = b""
    request_bytes: int = 0
    events_received: int = 0
    _heard: Any = None
    _sent: Any = None
    _sha256: bytes = _NOTHING

    @property
    def id(self) -> str:
        """The answer's ``x-request-id``."""
        return f"req_mock_{self.number}"

    def heard(self, piece: bytes) -> None:
        """Notes size and digest of the request body, piece by piece; the body itself is not kept."""
        self.request_bytes += len(piece)
        if self._heard is None:
            self._heard = hashlib.sha256(piece)
        else:
            self._heard.update(piece)

    def wrote(self, piece: bytes) -> None:
        """Notes response body bytes (one SSE event, for a stream) that were handed to the connection."""
        self.bytes_sent += len(piece)
        self.events_sent += self.stream
        if self._sent is None:
            self._sent = hashlib.sha256(piece)
        else:
            self._sent.update(piece)

    def ended(self, outcome: Outcome) -> None:
        """Notes how the answer ended."""
        self.outcome = outcome
        if self._heard is not None:
            self.request_sha256, self._heard = self._heard.digest(), None
        if self._sent is not None:
            self._sha256, self._sent = self._sent.digest(), None

    def shown(self) -> dict[str, Any]:
        """The entry, ready for JSON; digests in hexadecimal, ``headers`` as [name, value] pairs in order."""
        sent = self._sha256 if self._sent is None else self._sent.digest()
        heard = self.request_sha256 if self._heard is None else self._heard.digest()
        return {
            "id": self.id,
            "method": self.method,
            "path": self.path,
            "model": self.model,
            "status": self.status,
            "key": self.key,
            "stream": self.stream,
            "sha256": sent.hex(),
            "bytes": self.bytes_sent,
            "events_sent": self.events_sent,
            "outcome": self.outcome,
            "request_sha256": heard.hex(),
            "request_bytes": self.request_bytes,
            "events_received": self.events_received,
            "headers": [line.split(": ", 1) for line in self.headers.decode("latin-1").split("\n") if line],
        }


class Ledger:
    """Counts every request since the last reset, remembers the last 1000 of them, and what more of them have used."""

    def __init__(self) -> None:
        self._numbers = 0
        self._epoch = 0
        self.reset()

    def reset(self) -> None:
        """Forgets everything but the numbering: ids stay unique. Answers still open are no longer counted."""
        self._epoch += 1
        self._requests = 0
        self._open = self._most_at_once = 0
        self._leaked = 0
        self._by_path: Counter[str] = Counter()
        self._outcomes: Counter[Outcome] = Counter()
        self._recent: deque[Entry] = deque(maxlen=RECENT)
        self._answered: deque[tuple[str, Used]] = deque(maxlen=ANSWERED)

    def open(self, method: str, path: str, caller: Presented) -> Entry:
        """Counts a request and returns its entry, to be written to and closed."""
        self._numbers += 1
        self._requests += 1
        self._open += 1
        self._most_at_once = max(self._most_at_once, self._open)
        self._leaked += caller.leaked
        self._by_path[self._counted_as(path)] += 1
        entry = Entry(self._numbers, self._epoch, method, path, caller.shown, caller.headers)
        self._recent.append(entry)
        return entry

    def _counted_as(self, path: str) -> str:
        known = path in self._by_path or len(self._by_path) < _MAX_PATHS
        return path if known else "(other)"

    def close(self, entry: Entry, outcome: Outcome) -> None:
        """Notes how the answer ended."""
        entry.ended(outcome)
        if entry.epoch == self._epoch:
            self._open -= 1
            self._outcomes[outcome] += 1
            if outcome is Outcome.FINISHED and entry.used is not None:
                self._answered.append((entry.id, entry.used))

    def answered(self) -> dict[str, Any]:
        """Tokens of prompt and completion, by the answer's id, that the last 10,000 whole answers told."""
        return {number: used._asdict() for number, used in self._answered}

    def shown(self) -> dict[str, Any]:
        """The whole ledger, ready for JSON; ``recent`` is oldest first."""
        return {
            "requests": self._requests,
            "most_at_once": self._most_at_once,
            "by_path": dict(self._by_path),
            "leaked_tokens": self._leaked,
            "finished": self._outcomes[Outcome.FINISHED],
            "aborted": self._outcomes[Outcome.ABORTED],
            "disconnected": self._outcomes[Outcome.DISCONNECTED],
            "recent": [entry.shown() for entry in self._recent],
        }
