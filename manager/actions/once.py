"""What is asked for twice under one key is done once, and answered alike; see manager/idempotency.py."""

from collections.abc import Callable
from typing import Any, NoReturn

from flask import json
from sqlalchemy.orm import Session

from manager import idempotency
from manager.actions import Run
from manager.current import now, services
from manager.idempotency import Answer, Asked


def once[Result](
    asked: Asked,
    answer: Callable[[Result], Answer],
    again: Callable[[Answer], NoReturn],
    check: Callable[[Session, Any], None],
) -> Run[Result]:
    """Return what does work in one transaction; if it was done before, `again` ends the request with that answer.

    `answer` makes of a result what is kept, within the transaction, so it asks nobody else. `check` gets the body of
    what was kept, and raises if it may not be told again.
    """

    def run(work: Callable[[Session], Result]) -> Result:
        made: list[Result] = []

        def work_once(session: Session) -> Answer | None:
            made.clear()

            def act() -> Answer:
                made.append(work(session))
                return answer(made[0])

            kept = idempotency.once(session, services().rules.keyring, now(), asked, act)
            if kept is not None:
                check(session, json.loads(kept.body))
            return kept

        kept = services().transact(work_once)
        return made[0] if kept is None else again(kept)

    return run
