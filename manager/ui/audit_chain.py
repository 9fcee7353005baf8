"""Whether the audit is whole: asked for by a button, told in words."""

from flask import render_template
from flask.typing import ResponseReturnValue

from manager.actions import audit as actions
from manager.api.audit import VerifyQuery
from manager.audit_links import FaultKind
from manager.principals import Role
from manager.ui.blueprint import blueprint, needs, of_everything
from manager.ui.forms import Field, Form, handled

_ANCHOR = Field(
    "anchor", "Anchor", "What an earlier verification told you to note, if you have it. Empty: without.",
    attributes={"autocomplete": "off", "spellcheck": "false", "pattern": None},
)  # fmt: skip
WORDS = {
    FaultKind.CHANGED: "An event was changed",
    FaultKind.MISSING: "Events are missing",
    FaultKind.ADDITIONAL: "There are events that do not belong there",
    FaultKind.RECORD: "The chain's own record is wrong",
}


@blueprint.route("/audit/verify", methods=["GET", "POST"])
@needs(Role.AUDITOR)
@of_everything
def verify_audit() -> ResponseReturnValue:
    """Say what verifying does; when it was asked for, do it and tell what was found."""
    form = Form(VerifyQuery(), [_ANCHOR])

    def verify(query: dict[str, str | None]) -> ResponseReturnValue:
        report = actions.verify(query["anchor"])
        return render_template(
            "audit/verify.html", form=form, report=report, words=WORDS, is_anchored=query["anchor"] is not None
        )

    return handled(form, "audit/verify.html", verify, report=None)
