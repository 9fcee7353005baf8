"""Where tokens are shown, to the API or on the sign-in page: who shows too many wrong ones waits; the audit hears."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from manager.audit import Source
from manager.authentication import Authenticator, Refused
from manager.logins import Logins
from manager.principals import Principal
from manager.throttle import Throttle


class MustWait(Exception):
    """Too many wrong tokens came from this address; `seconds` says for how long it is refused."""

    def __init__(self, seconds: int) -> None:
        super().__init__("Too many failed logins from this address; wait a while.")
        self.seconds = seconds


@dataclass(frozen=True)
class Visit:
    """When somebody comes, from where, with which request."""

    now: datetime
    address: str | None
    request_id: str


class Entrance:
    """Lets in who has a token."""

    def __init__(self, authenticator: Authenticator, throttle: Throttle, logins: Logins) -> None:
        self._authenticator = authenticator
        self._throttle = throttle
        self._logins = logins

    def admit(self, visit: Visit, token: str, *, is_attempt: bool = True) -> Principal:
        """Return whose token it is. Raises MustWait, Refused, IssuerAway.

        Without `is_attempt` nothing was sent at all, which is no reason to wait.
        """

        def identify() -> Principal:
            if not token:
                raise Refused("Send Authorization: Bearer with your token.")
            return self._authenticator.identify(token, visit.now)

        return self.admit_if(visit, identify, is_attempt=is_attempt)

    def admit_if(self, visit: Visit, identify: Callable[[], Principal], *, is_attempt: bool = True) -> Principal:
        """Return who it is if `identify` does, which may raise Refused; see `admit`. Raises MustWait, too."""
        if seconds := self._throttle.wait(visit.address):
            self._logins.failed(visit.now, visit.address, visit.request_id)
            raise MustWait(seconds)
        try:
            found = identify()
        except Refused:
            if is_attempt:
                self._throttle.fail(visit.address)
            self._logins.failed(visit.now, visit.address, visit.request_id)
            raise
        self._logins.succeeded(visit.now, Source(found.name, visit.request_id, visit.address, found.id), found.role)
        return found

    def flush_own(self, now: datetime) -> None:
        """Tell of failed logins that only this process knows; see Logins."""
        self._logins.flush_own(now)
