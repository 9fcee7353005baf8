"""Idempotency-Key: what is asked for twice under one key is done once, and answered alike."""

from collections.abc import Callable
from typing import Any

import marshmallow as ma
from flask import Response, json, request
from sqlalchemy.orm import Session

from manager import idempotency
from manager.api import conditions
from manager.api.services import now, principal, services


def once[Result](
    schema: ma.Schema,
    work: Callable[[Session], Result],
    shown: Callable[[Result], Any],
    status: int = 201,
    *,
    state: Callable[[Result], str] = lambda _: "",
    check: Callable[[Session, Any], None] = lambda *_: None,
) -> Result | Response:
    """Do work in one transaction; if the request has an Idempotency-Key that was used before, return that answer.

    `shown` makes of a result what the schema dumps; it runs within the transaction, so it asks nobody else. `state` is
    that of a result, for the ETag of another answer; `check` raises if what was answered may not be told again.
    """
    key = request.headers.get(idempotency.KEY_HEADER)
    if key is None:
        return services().transact(work)
    caller, body = principal(), request.get_data()
    path = request.full_path
    fingerprint = idempotency.fingerprint(caller, request.method, path, body)
    asked = idempotency.Asked(str(caller.id or caller.name), key, fingerprint)

    def work_once(session: Session) -> Result | Response:
        made: list[Result] = []

        def act() -> idempotency.Answer:
            made.append(work(session))
            return idempotency.Answer(status, json.dumps(schema.dump(shown(made[0]))), state(made[0]))

        kept = idempotency.once(session, services().rules.keyring, now(), asked, act)
        if kept is None:
            return made[0]
        check(session, json.loads(kept.body))
        return _replayed(kept)

    return services().transact(work_once)


def _replayed(answer: idempotency.Answer) -> Response:
    headers = {"idempotency-replayed": "true"}
    if answer.state:
        conditions.show(answer.state)
    return Response(answer.body, answer.status, headers, content_type="application/json")
