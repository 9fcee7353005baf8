"""Forms that make something, sent twice: it is made once, and the second answer is like the first.

The form has `{{ once() }}` of forms.html in it, and the view gives the action its `run`:

    made = actions.create(body, once(lambda project: str(project.id), lambda project_id: redirect(…)))

A form that was changed before it was sent again asks for another thing, and gets it.
"""

import hashlib
import re
import secrets
from collections.abc import Callable
from typing import Any, NoReturn

from flask import Flask, abort, g, json, make_response, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from manager import idempotency
from manager.actions import Run
from manager.actions import once as actions
from manager.current import principal, services
from manager.errors import Conflict, KeyReused
from manager.idempotency import Answer

FIELD = "once"
# What differs although the form is the same.
_BESIDE = frozenset(("csrf_token", FIELD))
_VALUE = re.compile(r"[A-Za-z0-9_-]{16,64}\Z")
_BYTES = 18
_OTHERWISE = "This form was sent before, and what you may do has changed since. Send it again to do it once more."


def teach(app: Flask) -> None:
    """Let templates put such a value into a form; one that comes back keeps what it has."""
    app.jinja_env.globals["once_value"] = _value


def once[Result](
    kept: Callable[[Result], Any],
    again: Callable[[Any], ResponseReturnValue],
    status: int = 303,
    *,
    check: Callable[[Session, Any], None] = lambda *_: None,
) -> Run[Result]:
    """Return what does work in one transaction; if this form was sent before, it answers `again` with what was kept.

    It does so by ending the request. `kept` makes something of a result that JSON can hold, within the transaction. It
    is sealed, and kept for a day. `check` raises if what was kept may not be told again. Raises Conflict if whoever
    sent it before may do more by now, or less.
    """
    value = _sent()
    if not value:
        return services().transact
    caller, body = principal(), _body()
    fingerprint = idempotency.fingerprint(caller, request.method, request.path, body)
    key = f"ui-{value}-{hashlib.sha256(body).hexdigest()[:32]}"
    asked = idempotency.Asked(str(caller.id or caller.name), key, fingerprint)

    def answer(made: Result) -> Answer:
        return Answer(status, json.dumps(kept(made)))

    def replay(before: Answer) -> NoReturn:
        abort(make_response(again(json.loads(before.body))))

    def spend(session: Session, before: Any) -> None:
        g.once_is_spent = True
        check(session, before)

    run = actions.once(asked, answer, replay, spend)

    def run_or_say(work: Callable[[Session], Result]) -> Result:
        try:
            return run(work)
        except KeyReused:
            g.once_is_spent = True
            raise Conflict(_OTHERWISE) from None

    return run_or_say


def _value() -> str:
    # What was made under the one that was sent may be gone: the same form sent again is to make another.
    is_spent = g.get("once_is_spent", False)
    return ("" if is_spent else _sent()) or secrets.token_urlsafe(_BYTES)


def _sent() -> str:
    value = request.form.get(FIELD, "")
    return value if _VALUE.match(value) else ""


def _body() -> bytes:
    fields = [(name, value) for name, value in request.form.items(multi=True) if name not in _BESIDE]
    return json.dumps(fields).encode()
