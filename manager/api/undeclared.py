"""Views that take no query, or no body, refuse one: a filter that nobody reads would silently match everything."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import json, request
from webargs.flaskparser import abort

_UNKNOWN = ["Unknown field."]


def refusing(view: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of a view that answers 422 to fields where it declares no arguments."""
    declared = {each["in"] for each in getattr(view, "_apidoc", {}).get("arguments", {}).get("parameters", ())}

    @wraps(view)
    def strict(*args: Any, **kwargs: Any) -> Any:
        if "query" not in declared and request.args:
            _refuse(dict.fromkeys(request.args, _UNKNOWN))
        if "json" not in declared and request.get_data():
            _check_is_empty()
        return view(*args, **kwargs)

    return strict


def _check_is_empty() -> None:
    try:
        body = json.loads(request.get_data())
    except (RecursionError, ValueError):
        body = None
    if not isinstance(body, dict):
        _refuse({"_schema": ["Takes no body."]})
    elif body:
        _refuse(dict.fromkeys(body, _UNKNOWN))


def _refuse(errors: dict[str, list[str]]) -> None:
    abort(422, messages=errors)
