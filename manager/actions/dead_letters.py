"""Usage events that could not be recorded: thrown away, or handed to the collector once more."""

from manager import audit, dead_letters
from manager.current import demand, demand_everything, note, services
from manager.principals import Role


def delete(letter_id: str) -> None:
    """Throw an event away. Raises Forbidden, Invalid, NotFound, RedisError."""
    _demand()
    dead_letters.delete(services().redis, letter_id)
    _note(audit.Action.DEAD_LETTER_DELETE, letter_id)


def retry(letter_id: str) -> None:
    """Hand an event to the collector once more. Raises as `delete`."""
    _demand()
    dead_letters.retry(services().redis, letter_id)
    _note(audit.Action.DEAD_LETTER_RETRY, letter_id)


def _demand() -> None:
    demand(Role.ADMIN)
    demand_everything()


def _note(action: audit.Action, letter_id: str) -> None:
    services().transact(lambda session: note(session, action, detail={"dead_letter": letter_id}))
