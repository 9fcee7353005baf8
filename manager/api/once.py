"""Idempotency-Key: what is asked for twice under one key is done once, and answered alike."""

from collections.abc import Callable
from typing import Any, NoReturn

import marshmallow as ma
from flask import Response, abort, json, request
from sqlalchemy.orm import Session

from manager import idempotency
from manager.actions import Run
from manager.actions import once as actions
from manager.api import conditions
from manager.current import principal, services
from manager.idempotency import Answer


def once[Result](
    schema: ma.Schema,
    shown: Callable[[Result], Any],
    status: int = 201,
    *,
    state: Callable[[Result], str] = lambda _: "",
    check: Callable[[Session, Any], None] = lambda *_: None,
) -> Run[Result]:
    """Return what does work in one transaction; if the request's Idempotency-Key was used before, it gives that answer.

    It does so by ending the request. `shown` makes of a result what the schema dumps; it runs within the transaction,
    so it asks nobody else. `state` is that of a result, for the ETag of another answer; `check` raises if what was
    answered may not be told again.
    """
    key = request.headers.get(idempotency.KEY_HEADER)
    if key is None:
        return services().transact
    caller, body = principal(), request.get_data()
    path = request.full_path
    fingerprint = idempotency.fingerprint(caller, request.method, path, body)
    asked = idempotency.Asked(str(caller.id or caller.name), key, fingerprint)

    def answer(made: Result) -> Answer:
        return Answer(status, json.dumps(schema.dump(shown(made))), state(made))

    return actions.once(asked, answer, _replay, check)


def _replay(answer: Answer) -> NoReturn:
    headers = {"idempotency-replayed": "true"}
    if answer.state:
        conditions.show(answer.state)
    abort(Response(answer.body, answer.status, headers, content_type="application/json"))
