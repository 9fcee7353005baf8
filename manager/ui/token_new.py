"""New tokens: one, or several at once."""

from typing import Any

from flask import request
from flask.typing import ResponseReturnValue

from manager.actions import tokens as actions
from manager.ui import life, token_secrets
from manager.ui.blueprint import blueprint
from manager.ui.forms import Form, handled
from manager.ui.named_project import name_of
from manager.ui.once import once
from manager.ui.token_fields import FOLDS, NewTokenForm, new_fields, numbered

_USUAL_LIFE = "PT1H"


@blueprint.route("/tokens/new", methods=["GET", "POST"])
def new_token() -> ResponseReturnValue:
    """Ask what tokens are made of; the answer to the form shows their secrets, this once."""
    fields = new_fields()
    lives = {choice.value for field in fields if field.name == "life" for choice in field.choices}
    known = {
        "project_id": name_of(request.args.get("project_id", "")),
        "life": _USUAL_LIFE if _USUAL_LIFE in lives else life.FOR,
        "count": 1,
    }
    form = Form(NewTokenForm(), fields, values=known)
    return handled(form, "tokens/new.html", _create, folds=FOLDS)


def _create(loaded: dict[str, Any]) -> ResponseReturnValue:
    body, count = numbered(loaded)
    if count == 1:
        one = once(token_secrets.kept_one, token_secrets.page, check=actions.check_live)
        made = [actions.create(body, one)]
    else:
        made = actions.create_many(body, once(token_secrets.kept, token_secrets.page, check=actions.check_live))
    return token_secrets.page(token_secrets.kept(made))
