"""Who may look at flows: whoever has an operator's token that sees all projects, or the password for looking only.

The manager says whom a token belongs to. A session ends after half a day, or as soon as the manager no longer knows
its token. Guessing is slow, and who comes in is logged.
"""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import argon2

from addons.inspection.manager_line import ManagerLine, Refused, Visitor
from addons.inspection.throttle import Throttle
from shared import logs, tokens

SESSION_SECONDS = 12 * 3600.0
MOST_SESSIONS = 1000
CONFIRM_SECONDS = 30.0
# What is shorter cannot be a management token, and the manager counts failed attempts as well: ours are one address.
_SHORTEST_TOKEN, _LONGEST_SECRET = 32, 8192
_LOOKER = "whoever has the inspector's password"

log = logs.get("inspector")


@dataclass(frozen=True, eq=False)
class Session:
    """Somebody who has come in, from when on and how; `ending` is called when it is over."""

    id: str
    visitor: Visitor
    since: float
    address: str
    ending: list[Callable[[], None]] = field(default_factory=list, repr=False)


class Sessions:
    """Those who are in, by what they show; of that only a digest is kept."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: dict[str, Session] = {}

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    def begin(self, shown: str, visitor: Visitor, address: str) -> Session:
        """Let somebody in, who shows this from now on."""
        if len(self._sessions) >= MOST_SESSIONS:
            self.end(next(iter(self._sessions.values())))
        session = Session(_digest(shown), visitor, self._clock(), address)
        self._sessions[session.id] = session
        return session

    def find(self, shown: str) -> Session | None:
        """Return the session of whoever shows this."""
        session = self._sessions.get(_digest(shown))
        if session is not None and self._clock() - session.since >= SESSION_SECONDS:
            self.end(session)
            return None
        return session

    def end(self, session: Session) -> None:
        """Put somebody out."""
        if self._sessions.pop(session.id, None) is not None:
            for over in list(session.ending):
                over()


class Entrance:
    """Lets people in."""

    def __init__(self, manager: ManagerLine, password_hash: str, sessions: Sessions, throttle: Throttle) -> None:
        self._manager = manager
        self._password_hash = password_hash
        self._sessions = sessions
        self._throttle = throttle
        self._hasher = argon2.PasswordHasher()
        # A verification takes a lot of memory: one at a time.
        self._verifying = asyncio.Lock()

    async def sign_in(self, secret: str, address: str) -> str:
        """Let in whoever has a token or the password; returns what the browser is to show. Raises Refused."""
        visitor, how = await self._attempt(secret, address)
        shown = secrets.token_urlsafe(32)
        self._begin(shown, visitor, address, how)
        return shown

    async def bearer(self, secret: str, address: str) -> Session:
        """Return the session of a script, which shows its token or the password each time. Raises Refused."""
        known = self._sessions.find(f"bearer {secret}")
        if known is not None:
            return known
        visitor, how = await self._attempt(secret, address)
        return self._begin(f"bearer {secret}", visitor, address, f"{how}, as a script")

    def _begin(self, shown: str, visitor: Visitor, address: str, how: str) -> Session:
        log.info("inspector_access", who=visitor.name, address=address, how=how, may_decide=visitor.may_decide)
        return self._sessions.begin(shown, visitor, address)

    async def _attempt(self, secret: str, address: str) -> tuple[Visitor, str]:
        wait = self._throttle.begin(address)
        if wait:
            raise Refused(429, f"Too many failed attempts; wait {wait} s.", wait)
        try:
            found = await self._who(secret)
        except Refused as refusal:
            if refusal.status == 401:
                log.warning("inspector_access_denied", address=address)
            elif not self._password_hash:  # Where there is a password, it was one to guess that.
                self._throttle.forgive(address)
            raise
        self._throttle.forgive(address)
        return found

    async def _who(self, secret: str) -> tuple[Visitor, str]:
        # Both are always asked, whatever the secret looks like and whoever answers first.
        told, is_password = await asyncio.gather(self._ask_manager(secret), self._is_password(secret))
        if is_password:
            return Visitor(_LOOKER, False), "password"
        if isinstance(told, Refused):
            raise told
        return told, "token"

    async def _ask_manager(self, secret: str) -> Visitor | Refused:
        if not _may_be_token(secret):
            return Refused(401, "That is neither an operator's token nor the password.")
        try:
            return await self._manager.open(secret)
        except Refused as refusal:
            return refusal

    async def _is_password(self, secret: str) -> bool:
        if not self._password_hash or len(secret) > _LONGEST_SECRET:
            return False
        async with self._verifying:
            return await asyncio.to_thread(self._verifies, secret)

    def _verifies(self, secret: str) -> bool:
        try:
            return self._hasher.verify(self._password_hash, secret.encode("utf-8", "replace"))
        except argon2.exceptions.Argon2Error:
            return False


class Confirming:
    """Asks the manager now and then whether those who are in may still be."""

    def __init__(self, manager: ManagerLine, sessions: Sessions) -> None:
        self._manager = manager
        self._sessions = sessions

    async def confirm_all(self) -> None:
        """End the sessions of those whom the manager no longer knows. If it is away, nobody is put out."""
        for session in self._sessions:
            if session.visitor.token:
                await self.confirm(session)

    async def confirm(self, session: Session) -> None:
        """Do so for one session."""
        try:
            await self._manager.confirm(session.visitor.token)
        except Refused as refusal:
            if refusal.status in (401, 403):
                log.info("inspector_session_ended", who=session.visitor.name, reason=str(refusal))
                self._sessions.end(session)


def _may_be_token(secret: str) -> bool:
    if not secret.isascii() or not secret.isprintable() or " " in secret or len(secret) > _LONGEST_SECRET:
        return False
    if secret.startswith(tokens.OPERATOR_PREFIX):
        return tokens.is_well_formed(secret, tokens.OPERATOR_PREFIX)
    return len(secret) >= _SHORTEST_TOKEN


def _digest(shown: str) -> str:
    return hashlib.sha256(shown.encode("utf-8", "surrogateescape")).hexdigest()
