"""Streams held back until someone releases them."""

import asyncio


class Holds:
    """The streams held now. Belongs to the event loop that serves them."""

    def __init__(self) -> None:
        self._held: set[asyncio.Future[int | None]] = set()

    def __len__(self) -> int:
        return sum(not ticket.done() for ticket in self._held)

    def release(self, events: int | None = None) -> int:
        """Lets every held stream send ``events`` more events (None: the rest); returns how many were held."""
        waiting = [ticket for ticket in self._held if not ticket.done()]
        for ticket in waiting:
            ticket.set_result(events)
        return len(waiting)

    async def hold(self, departure: asyncio.Future[None]) -> int | None:
        """Waits for a release or ``departure``; the number of events allowed: None = all, 0 = client left."""
        ticket: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._held.add(ticket)
        try:
            await asyncio.wait((ticket, departure), return_when=asyncio.FIRST_COMPLETED)
            return ticket.result() if ticket.done() else 0
        finally:
            self._held.discard(ticket)
