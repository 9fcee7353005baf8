"""What the domain may say no to. The API gives each its status; the domain knows nothing of HTTP.

DomainError
├── NotFound            there is no such thing
├── Conflict            it is there already, or its state forbids the change
├── Forbidden           the principal may not do this
├── Stale               it has changed since it was looked at
├── KeyReused           an idempotency key came before with another request
├── Invalid             a value breaks a rule
├── ProjectInactive     the project takes no new tokens
└── Unavailable         what it needs does not work at the moment
"""


class DomainError(Exception):
    """A reasoned no; the message is a full sentence that quotes no secret."""

    code = "domain_error"


class NotFound(DomainError):
    """There is no such thing."""

    code = "not_found"


class Conflict(DomainError):
    """It is there already, or its state forbids the change."""

    code = "conflict"


class Forbidden(DomainError):
    """The principal may not do this, whatever it is done to."""

    code = "forbidden"


class Stale(DomainError):
    """It has changed since it was looked at."""

    code = "precondition_failed"


class KeyReused(DomainError):
    """An idempotency key came before with another request."""

    code = "idempotency_key_reused"


class Invalid(DomainError):
    """A value breaks a rule; `field` names it."""

    code = "invalid"

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


class ProjectInactive(DomainError):
    """The project takes no new tokens."""

    code = "project_inactive"


class Unavailable(DomainError):
    """What it needs does not work at the moment."""

    code = "service_unavailable"
