"""What this inspector knows of each request: its records put together, what operators have written on it meanwhile.

What the feed tells last wins: it is what has happened.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec
from mitmproxy.addons.view import View
from mitmproxy.http import HTTPFlow

from addons.inspection import comment, flows
from addons.inspection.bounds import Bounds, Entry, Ledger
from addons.inspection.flows import Body
from shared.flow_schema import FlowRecord, Phase


@dataclass(slots=True)
class Known:
    """A request: its last record (without bodies), the flow that shows it, and what was written on that by hand.

    `told_at` is when that record came, by the monotonic clock, in seconds.
    `reason` is why somebody is about to do something, and who (by session) says so. `edited` is what its body is to be
    replaced by, and `editor` whose session wrote that. `trouble` is why something that was asked for has not been done.
    """

    flow: HTTPFlow
    record: FlowRecord
    request: Body
    response: Body | None
    told_at: float
    is_whole: bool = False
    edited: str | None = None
    editor: str = ""
    mark: str | None = None
    reason: tuple[str, str] | None = None
    trouble: str = ""


class Book:
    """All that is known, in the view of mitmweb and within bounds."""

    def __init__(self, view: View, bounds: Bounds, manager_url: str) -> None:
        self._view = view
        self._ledger = Ledger(bounds)
        self._known: dict[str, Known] = {}
        self._running: set[str] = set()
        self._manager_url = manager_url

    def __len__(self) -> int:
        return len(self._known)

    @property
    def size(self) -> int:
        """How many bytes of heads and bodies are kept."""
        return self._ledger.size

    def find(self, request_id: str) -> Known | None:
        """Return what is known of a request."""
        return self._known.get(request_id)

    def flows(self) -> Iterator[HTTPFlow]:
        """All flows, oldest first."""
        return (known.flow for known in list(self._known.values()))

    def quiet(self, seconds: float) -> list[Known]:
        """Return the requests that have not ended, and of which nothing was told for so long."""
        oldest = time.monotonic() - seconds
        running = (self._known[request_id] for request_id in self._running)
        return [known for known in running if known.told_at <= oldest]

    def take(self, records: Iterable[FlowRecord]) -> None:
        """Take in what a worker tells. What is older than what is known of the same request says nothing new."""
        for record in records:
            known = self._known.get(record.request_id)
            if known is None:
                self._add(record)
            elif record.revision > known.record.revision:
                self._renew(known, record)
        self._make_room()

    def take_held(self, record: FlowRecord) -> None:
        """Take in the whole body of a request that is held."""
        known = self._known.get(record.request_id)
        if known is None or known.record.phase is not Phase.HELD or known.is_whole or record.request.body is None:
            return
        known.request, known.is_whole = flows.body_of(record.request, None), True
        self.refresh(known)
        self._make_room()

    def edit(self, known: Known, session: str, text: str) -> None:
        """Show a held request with another body, which it will have when it is resumed."""
        known.flow.backup()
        known.edited, known.editor = text, session
        known.flow.request.content = text.encode()
        self._changed(known)
        self._make_room()

    def revert(self, known: Known) -> None:
        """Show a held request as it came."""
        known.edited, known.editor = None, ""
        self.refresh(known)

    def released(self, known: Known) -> None:
        """Show that a request is no longer held; the feed will say how it goes on."""
        known.flow.intercepted = False
        self._forget_writing(known)
        self._changed(known)

    def gone(self, known: Known) -> None:
        """Show that a request does not run any longer, though no worker has told of its end."""
        known.flow.live = known.flow.intercepted = False
        self._forget_writing(known)
        self._changed(known)

    def ended_untold(self, known: Known, outcome: str) -> None:
        """Show that a request has ended, as far as anybody can say how, until its worker tells something else."""
        if self._known.get(known.record.request_id) is known and known.record.phase is not Phase.ENDED:
            self._note(known, msgspec.structs.replace(known.record, phase=Phase.ENDED, outcome=outcome))

    def comment(self, known: Known, session: str, text: str) -> None:
        """Remember why somebody is about to do something, until it is done or the request has ended."""
        said = comment.said(text, known.flow.comment)
        known.reason = (session, said) if said else None
        self._words(known)

    def mark(self, known: Known, mark: str) -> None:
        """Mark a flow by hand."""
        known.mark = known.flow.marked = mark
        self._changed(known)

    def trouble(self, known: Known, text: str) -> None:
        """Show beside a flow why something was not done, until its next record."""
        known.trouble = text
        self._words(known)

    def refresh(self, known: Known) -> None:
        """Show what is known, and nothing else."""
        known.flow._backup = None  # `revert` keeps it if the flow has been changed since.
        link = f"{self._manager_url}/ui/requests/{known.record.request_id}"
        flows.show(known.flow, known.record, known.request, known.response, link)
        if known.mark is not None:
            known.flow.marked = known.mark
        self._words(known)

    def _add(self, record: FlowRecord) -> None:
        request, response = _bodies(record, None)
        known = Known(flows.flow_of(record), _without_bodies(record), request, response, time.monotonic())
        self._known[record.request_id] = known
        self._note_phase(record)
        link = f"{self._manager_url}/ui/requests/{record.request_id}"
        flows.show(known.flow, known.record, request, response, link)
        self._ledger.note(record.request_id, _entry(known))
        self._view.add([known.flow])

    def _renew(self, known: Known, record: FlowRecord) -> None:
        known.request, known.response = _bodies(record, known)
        known.told_at = time.monotonic()
        self._note(known, _without_bodies(record))

    def _note(self, known: Known, record: FlowRecord) -> None:
        known.record, known.trouble = record, ""
        self._note_phase(record)
        if record.phase is Phase.ENDED:
            self._forget_writing(known)
        elif record.phase is not Phase.HELD:
            self._forget_edit(known)
        if known.edited is None:
            self.refresh(known)

    def _note_phase(self, record: FlowRecord) -> None:
        if record.phase is Phase.ENDED:
            self._running.discard(record.request_id)
        else:
            self._running.add(record.request_id)

    def _forget_writing(self, known: Known) -> None:
        known.reason = None
        self._forget_edit(known)

    def _forget_edit(self, known: Known) -> None:
        known.edited, known.editor, known.is_whole = None, "", False
        known.flow._backup = None

    def _words(self, known: Known) -> None:
        known.flow.comment = comment.line(known.record, known.reason[1] if known.reason else "", known.trouble)
        self._changed(known)

    def _changed(self, known: Known) -> None:
        if self._known.get(known.record.request_id) is not known:
            return  # It has had to go while somebody waited for an answer about it.
        self._ledger.note(known.record.request_id, _entry(known))
        self._view.update([known.flow])

    def _make_room(self) -> None:
        for request_id in self._ledger.surplus():
            known = self._known.pop(request_id)
            self._running.discard(request_id)
            known.flow.live = False  # Nothing to be killed: it is only no longer shown.
            self._view.remove([known.flow])


def _bodies(record: FlowRecord, known: Known | None) -> tuple[Body, Body | None]:
    if known is not None and known.is_whole and record.phase is Phase.HELD:
        request = known.request
    else:
        request = flows.body_of(record.request, known.request if known else None)
    before = known.response if known else None
    return request, flows.body_of(record.response, before) if record.response is not None else None


def _without_bodies(record: FlowRecord) -> FlowRecord:
    # The flow has them.
    request = msgspec.structs.replace(record.request, body=None)
    response = msgspec.structs.replace(record.response, body=None) if record.response else None
    return msgspec.structs.replace(record, request=request, response=response)


def _entry(known: Known) -> Entry:
    flow, record = known.flow, known.record
    messages = [message for message in (record.request, record.response) if message is not None]
    heads = sum(len(name) + len(value) for message in messages for name, value in message.headers)
    bodies = sum(len(body.content or b"") for body in (known.request, known.response) if body is not None)
    # What is edited is there three times: as it came, as it is, and to go back to.
    edited = 2 * len(flow.request.raw_content or b"") if known.edited is not None else 0
    return Entry(heads + len(record.url) + bodies + edited, record.phase is Phase.HELD, not record.route)
