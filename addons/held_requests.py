"""Shows each request that is held to those who decide: all of its body, which they may edit, but nothing hidden.

What is hidden stands there as numbered words. The originals stay in this worker, which puts them back.
"""

import asyncio
import time

import msgspec

from addons.call import Call
from addons.findings import UnreadablePattern
from addons.hiding import Hiding, hide
from addons.shown_bodies import coding_of, kind_of
from addons.store import Store, StoreUnavailable
from shared import logs
from shared.flow_schema import MOST_EDITED_BYTES, FlowRecord, encode_record
from shared.inspection import Inspection

# How long a request is shown after its time is over, and between two tries to show it.
LONGER_SECONDS = 5.0
PAUSE_SECONDS = 0.5

log = logs.get("held_requests")


class NotEditable(ValueError):
    """A body cannot be shown whole; says why."""


def editable(body: bytes, content_type: str, content_encoding: str, inspection: Inspection) -> Hiding:
    """Return a body as it may be shown and edited. Raises NotEditable."""
    kind = kind_of(content_type)
    if len(body) > MOST_EDITED_BYTES:
        raise NotEditable(f"{len(body)} bytes are too many to be shown whole")
    is_text = kind in ("", "text/plain", "application/json") or kind.endswith("+json")
    is_plain = content_encoding.strip().lower() in ("", "identity") and b"\0" not in body
    if not is_text or not is_plain or coding_of(content_type, kind, body) != "utf-8":
        raise NotEditable(f"{len(body)} bytes of {kind or 'unknown type'} are no plain text")
    try:
        return hide(body.decode(), inspection)
    except UnicodeDecodeError as error:
        raise NotEditable(f"{len(body)} bytes are no text in UTF-8") from error
    except UnreadablePattern as error:
        raise NotEditable("what is to be hidden cannot be read") from error


class HeldRequests:
    """Keeps a task for each."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def show(self, call: Call, record: FlowRecord, body: bytes, inspection: Inspection) -> None:
        """Show a request until `forget`, or a little longer than it may be held."""
        task = asyncio.get_running_loop().create_task(self._show(call, record, body, inspection))
        self._tasks[call.request_id] = task
        # One that is cancelled before it has begun does nothing at all, not even at its end.
        task.add_done_callback(lambda _: self._tasks.pop(call.request_id, None))

    def __len__(self) -> int:
        """How many are shown."""
        return len(self._tasks)

    def forget(self, request_id: str) -> None:
        """Show it no longer."""
        task = self._tasks.get(request_id)
        if task is not None:
            task.cancel()

    async def done(self) -> None:
        """Show none any longer."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _show(self, call: Call, record: FlowRecord, body: bytes, inspection: Inspection) -> None:
        until = (record.held_until or 0.0) + LONGER_SECONDS
        try:
            encoded = await asyncio.to_thread(_encoded, call, record, body, inspection)
            await self._tell(call.request_id, encoded, until)
            await asyncio.sleep(max(0.0, until - time.time()))
        except Exception:  # It goes on as its rule says, though nobody can see it.
            log.exception("held_request_not_shown", request_id=call.request_id)
        finally:
            await self._drop(call.request_id)

    async def _tell(self, request_id: str, record: bytes, until: float) -> None:
        while (rest := until - time.time()) > 0:
            try:
                await self._store.hold_record(request_id, record, round(rest * 1000))
                return
            except StoreUnavailable:
                await asyncio.sleep(PAUSE_SECONDS)

    async def _drop(self, request_id: str) -> None:
        try:
            await self._store.drop_record(request_id)
        except StoreUnavailable:
            return  # It will be forgotten soon.


def _encoded(call: Call, record: FlowRecord, body: bytes, inspection: Inspection) -> bytes:
    named = {name.lower(): value for name, value in record.request.headers}
    try:
        if call.is_hidden:
            raise NotEditable("withheld by a rule")
        hiding = editable(body, named.get("content-type", ""), named.get("content-encoding", ""), inspection)
    except NotEditable as error:
        request = msgspec.structs.replace(record.request, size=len(body), note=str(error))
    else:
        call.hidden = hiding.originals
        request = msgspec.structs.replace(record.request, size=len(body), body=hiding.text.encode(errors="replace"))
    return encode_record(msgspec.structs.replace(record, request=request, has_bodies=True))
