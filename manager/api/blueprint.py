"""The kind of blueprint that all of /manage uses: unknown fields are refused, in bodies and in queries."""

import marshmallow as ma
from flask_smorest import Blueprint
from webargs.flaskparser import FlaskParser


class StrictParser(FlaskParser):
    """Refuses what a schema does not name, so that a misspelt filter cannot silently match everything."""

    DEFAULT_UNKNOWN_BY_LOCATION = {"query": ma.RAISE, "json": ma.RAISE}


class ManageBlueprint(Blueprint):  # type: ignore[misc]
    """A blueprint under /manage."""

    ARGUMENTS_PARSER = StrictParser()

    def __init__(self, name: str, description: str) -> None:
        super().__init__(name, f"manager.api.{name}", url_prefix="/manage", description=description)
