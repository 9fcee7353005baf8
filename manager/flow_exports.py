"""Recorded flows as evidence: a zip with a HAR, a flow file of mitmproxy, and a manifest that tells what they are.

The program that knows these formats is addons/flow_export.py. It is told of everything in frames, each of 4 bytes with
its length and then its bytes: first what the manifest says, as JSON, then records as in an entry of the feed.
"""

import hashlib
import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO
from uuid import UUID

import msgspec
import redis

from manager import flows, short_lived
from manager.audit import Source
from manager.errors import Unavailable
from manager.flows import Wanted
from manager.principals import Scope
from manager.short_lived import ProgramFailed
from shared import logs
from shared.flow_schema import FlowRecord, encode_batch

PROGRAM = short_lived.module("addons.flow_export")
SECONDS = 120.0
MOST_FLOWS = 5000
MEDIA_TYPE = "application/zip"
FORMAT = "llm-proxy flows 1"
_BATCH = 20
_LENGTH = struct.Struct(">I")
log = logs.get("flows")


@dataclass(frozen=True)
class Export:
    """A file that has been made, from its beginning on, and what the audit tells of it."""

    file: BinaryIO
    sha256: str
    size: int
    count: int
    is_whole: bool

    def pieces(self) -> Iterator[bytes]:
        """Yield what is in it, and close it then."""
        with self.file:
            while piece := self.file.read(64 << 10):
                yield piece

    def facts(self) -> dict[str, Any]:
        """Return what the audit tells of it."""
        return {"flows": self.count, "is_whole": self.is_whole, "sha256": self.sha256, "bytes": self.size}


class FlowExport:
    """Has the program make files."""

    def __init__(self, command: Sequence[str] = PROGRAM, seconds: float = SECONDS) -> None:
        self._command = command
        self._seconds = seconds

    def of(
        self, client: "redis.Redis", wanted: Wanted, told: Mapping[str, Any], who: Source, now: datetime, event_id: UUID
    ) -> Export:
        """Export what the feed has of what is wanted. `told` is how it was asked for.

        The manifest names the event of the audit. Raises Unavailable, RedisError.
        """
        found = flows.find(client, wanted, MOST_FLOWS)
        about = {
            "format": FORMAT,
            "filter": told,
            "exported_at": now.isoformat(),
            "exported_by": who.actor,
            "audit_event_id": str(event_id),
            "is_whole": found.is_whole,
        }
        file, sha256 = self._made(about, found.records)
        size = file.seek(0, 2)
        file.seek(0)
        return Export(file, sha256, size, len(found.records), found.is_whole)

    def _made(self, about: Mapping[str, Any], records: Sequence[FlowRecord]) -> tuple[BinaryIO, str]:
        made: Any = tempfile.TemporaryFile()  # noqa: SIM115 - whoever reads it closes it
        try:
            with tempfile.TemporaryFile() as question:
                question.writelines(_frames(about, records))
                question.seek(0)
                short_lived.run(self._command, question, made, self._seconds)
            made.seek(0)
            return made, hashlib.file_digest(made, "sha256").hexdigest()
        except ProgramFailed as error:
            made.close()
            log.error("flow_export_failed", reason=str(error))
            raise Unavailable("The flows could not be exported; the manager's log knows why.") from None


def wanted_of(wanted: Mapping[str, Any], within: Scope) -> Wanted:
    """Return which flows are wanted of those within a scope."""
    ids = wanted.get("request_ids")
    narrowed = within.narrowed(wanted.get("project_id"))
    return Wanted(narrowed, None if ids is None else frozenset(ids), wanted.get("since"), wanted.get("until"))


def asked_for(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return in words what was wanted, as audit and manifest tell it."""
    told = {name: value for name, value in wanted.items() if value is not None}
    return {name: list(value) if name == "request_ids" else str(value) for name, value in told.items()}


def _frames(about: Mapping[str, Any], records: Sequence[FlowRecord]) -> Iterator[bytes]:
    yield from _frame(msgspec.json.encode(about))
    for at in range(0, len(records), _BATCH):
        yield from _frame(encode_batch(records[at : at + _BATCH]))


def _frame(content: bytes) -> Iterator[bytes]:
    yield _LENGTH.pack(len(content))
    yield content
