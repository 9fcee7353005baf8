"""Who is signed in: their role, and what they may see."""

from flask import render_template

from manager import db, names, operators
from manager.current import principal, scope, services
from manager.ui.blueprint import blueprint
from manager.ui.operator_fields import ROLES


@blueprint.get("/me")
def myself() -> str:
    """Show the visitor."""
    me, ids = principal(), scope().project_ids
    with db.reading(services().sessions) as session:
        row = operators.get(session, me.id) if me.id is not None else None
        known = names.of(session, projects=ids or ()).projects
    projects = None if ids is None else sorted((known.get(each, str(each)), each) for each in ids)
    return render_template("me.html", row=row, projects=projects, words=ROLES[me.role])
