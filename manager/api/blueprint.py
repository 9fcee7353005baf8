"""The kind of blueprint that all of /manage uses: unknown fields are refused, and operations say what they answer."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import wraps
from typing import Any, NoReturn

import marshmallow as ma
from flask import Request
from flask.views import MethodView
from flask_smorest import Blueprint
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import BadRequest

from manager.api import described, undeclared
from manager.current import demand_everything
from manager.principals import Role

type View = Callable[..., Any]


class StrictParser(FlaskParser):
    """Refuses what a schema does not name, so that a misspelt filter cannot silently match everything."""

    DEFAULT_UNKNOWN_BY_LOCATION = {"query": ma.RAISE, "json": ma.RAISE}

    def load_json(self, req: Request, schema: ma.Schema) -> Any:
        """Return the body. Raises BadRequest for what is not JSON, nested too deeply, or a number without end."""
        try:
            return super().load_json(req, schema)
        except (RecursionError, ValueError) as error:
            self._handle_invalid_json_error(error, req)

    def load_querystring(self, req: Request, schema: ma.Schema) -> Any:
        """Return the query. Raises ValidationError for a field that is given twice, and is no list."""
        repeated = [name for name in req.args if len(req.args.getlist(name)) > 1]
        if repeated:
            raise ma.ValidationError({name: ["Must be given once."] for name in repeated})
        return super().load_querystring(req, schema)

    def _handle_invalid_json_error(self, error: Exception, req: Request, *args: Any, **kwargs: Any) -> NoReturn:
        raise BadRequest("The body is not valid JSON.") from error


class ManageBlueprint(Blueprint):  # type: ignore[misc]
    """A blueprint under /manage. Reading needs the role `reads`, anything else `writes`, unless a view `needs` more."""

    ARGUMENTS_PARSER = StrictParser()

    def __init__(
        self, name: str, description: str, *, reads: Role = Role.AUDITOR, writes: Role = Role.OPERATOR
    ) -> None:
        super().__init__(name, f"manager.api.{name}", url_prefix="/manage", description=description)
        self._reads, self._writes = reads, writes
        self._prepare_doc_cbks.append(described.complete)

    def add_url_rule(
        self,
        rule: str,
        endpoint: str | None = None,
        view_func: Any = None,
        provide_automatic_options: bool | None = None,
        **options: Any,
    ) -> None:
        """Register a view; mark its methods with the role that they need; what they do not read, they refuse."""
        if isinstance(view_func, type(MethodView)):
            for method in view_func.methods or ():
                function = getattr(view_func, method.lower())
                if not hasattr(function, "needs_role"):
                    function.needs_role = self._reads if method in ("GET", "HEAD") else self._writes
                setattr(view_func, method.lower(), undeclared.refusing(function))
        super().add_url_rule(rule, endpoint, view_func, provide_automatic_options, **options)

    @staticmethod
    def needs(role: Role, *, everything: bool = False) -> Callable[[View], View]:
        """Mark a view with the role that it needs, and whether that must be for all projects."""

        def decorate(view: View) -> View:
            @wraps(view)
            def guarded(*args: Any, **kwargs: Any) -> Any:
                if everything:
                    demand_everything()
                return view(*args, **kwargs)

            guarded.needs_role = role  # type: ignore[attr-defined]
            return guarded

        return decorate

    @staticmethod
    def says(**facts: Any) -> Callable[[View], View]:
        """Describe a view in more than shapes; see manager/api/described.py for what can be said."""

        def decorate(view: View) -> View:
            @wraps(view)
            def unchanged(*args: Any, **kwargs: Any) -> Any:
                return view(*args, **kwargs)

            kept: Mapping[str, Any] = deepcopy(getattr(view, "_apidoc", {}))
            unchanged._apidoc = {**kept, "says": {**kept.get("says", {}), **facts}}  # type: ignore[attr-defined]
            return unchanged

        return decorate
