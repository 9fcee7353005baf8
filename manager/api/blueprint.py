"""The kind of blueprint that all of /manage uses: unknown fields are refused, in bodies and in queries."""

from typing import Any, NoReturn

import marshmallow as ma
from flask import Request
from flask_smorest import Blueprint
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import BadRequest


class StrictParser(FlaskParser):
    """Refuses what a schema does not name, so that a misspelt filter cannot silently match everything."""

    DEFAULT_UNKNOWN_BY_LOCATION = {"query": ma.RAISE, "json": ma.RAISE}

    def load_json(self, req: Request, schema: ma.Schema) -> Any:
        """Return the body. Raises BadRequest for what is not JSON, nested too deeply, or a number without end."""
        try:
            return super().load_json(req, schema)
        except (RecursionError, ValueError) as error:
            self._handle_invalid_json_error(error, req)

    def _handle_invalid_json_error(self, error: Exception, req: Request, *args: Any, **kwargs: Any) -> NoReturn:
        raise BadRequest("The body is not valid JSON.") from error


class ManageBlueprint(Blueprint):  # type: ignore[misc]
    """A blueprint under /manage."""

    ARGUMENTS_PARSER = StrictParser()

    def __init__(self, name: str, description: str) -> None:
        super().__init__(name, f"manager.api.{name}", url_prefix="/manage", description=description)
