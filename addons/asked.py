"""What a request asks for, as far as its price depends on that: its model, and the longest answer it may get.

Who is charged by this must not be able to hide it, so here bodies are read as policies read them: what can be read in
two ways is refused, and so is a bound that is no number. See body_fields.py and request_policy.py.
"""

from collections.abc import Mapping
from typing import Any

from mitmproxy import http

from addons import media_types
from addons.body_fields import json_fields, json_object
from addons.refusal import Refused, invalid_request
from addons.request_body import COMPRESSED, is_compressed
from addons.request_policy import has_model_in_path, models_in_path, query_fields, read_fields
from shared.providers import BodyKind, Route

# What an answer is taken to need if its request sets no bound, in tokens.
DEFAULT_COMPLETION = 1024

_LONGEST_NAME = 256
_BOUNDS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_TIMES = ("n", "best_of")
_GOVERNED = frozenset(("model", *_BOUNDS, *_TIMES))
_MOST = 1 << 40


def model_of_head(route: Route, method: str, path: str) -> str | None:
    """Return the model that path or query name, None for none, or for several in a query.

    A query names it only where the body is not the place for it, so that nobody can name another one there.
    """
    if has_model_in_path(route):
        return _named(next(models_in_path(route, path), None))
    if route.body_of(method) not in ("none", "any"):
        return None
    try:
        models = {text for _, text in query_fields(path, {"model"})}
    except Refused:
        return None
    return _named(models.pop()) if len(models) == 1 else None


def model_of_body(request: http.Request) -> str | None:
    """Return the model that a held form or JSON body names; None if that cannot be read with certainty."""
    try:
        return _named(read_fields(request, request.raw_content, {"model"}).get("model"))
    except Refused:
        return None


def is_readable(request: http.Request) -> bool:
    """Tell whether a body is of a kind in which fields can be found. Raises Refused for a malformed one."""
    content_type = request.headers.get("content-type")
    if content_type is None:
        return True
    kind = media_types.parse(content_type)
    return kind.is_form or kind.is_json


def charged_fields(request: http.Request, body: bytes, kind: BodyKind, dialect: str) -> dict[str, Any]:
    """Return the fields of a body that decide what may be charged, none for an empty one or one of another kind.

    Numbers in forms are given as numbers. Raises Refused if the fields cannot be read with certainty.
    """
    if not body:
        return {}
    if dialect == "opaque":
        return _of_opaque(request, body)
    if kind == "json":
        if is_compressed(request):
            raise Refused(COMPRESSED)
        return json_fields(body, _GOVERNED)
    if not is_readable(request):
        return {}
    fields = read_fields(request, body, set(_GOVERNED))
    return {name: _number(value) if name != "model" else value for name, value in fields.items()}


def named_model(fields: Mapping[str, Any]) -> str | None:
    """Return the model that the fields of a body name."""
    return _named(fields.get("model"))


def asked_completion(fields: Mapping[str, Any]) -> int:
    """Return how many tokens a request lets its answers have in all, by its body's fields.

    Where several limits are set the largest counts, and each of `n` answers (or of `best_of` tries) has it anew. Raises
    Refused for what is no whole number from 0 to 2^40.
    """
    most = max(_whole(fields, name) for name in _BOUNDS) or DEFAULT_COMPLETION
    return most * max(1, *(_whole(fields, name) for name in _TIMES))


def _whole(fields: Mapping[str, Any], name: str) -> int:
    number = fields.get(name)
    if number is None:
        return 0
    if type(number) is not int or not 0 <= number <= _MOST:
        raise Refused(invalid_request(f"The parameter {name} must be a whole number from 0 to {_MOST}.", name))
    return number


def _of_opaque(request: http.Request, body: bytes) -> dict[str, Any]:
    # An API that is not known may take anything, and spell its own parameters in any way.
    try:
        names = json_object(body).keys()
    except Refused:
        return {"model": model_of_body(request)}
    return json_fields(body, _GOVERNED & names)


def _number(text: Any) -> Any:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) < 20 else text


def _named(model: Any) -> str | None:
    return model[:_LONGEST_NAME] if isinstance(model, str) and model else None
