"""The shape of a provider table in TOML: which keys there are, what they may hold, and how a fault names its place."""

import difflib
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate, validates_schema

from shared.models import Feature
from shared.route_paths import check_base_url, shape_of

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
METHODS_WITH_BODY = frozenset(("POST", "PUT", "PATCH"))
_DEFAULT_LIMIT = 32 * 1024 * 1024
_LONGEST_SECONDS = 86_400
_MUCH = 1e18  # Beyond it there are infinity, what is no number at all, and integers that are too large for a float.


def _by(check: Callable[[str], object]) -> Callable[[str], None]:
    """Let a function that raises ValueError validate a marshmallow field."""

    def validator(value: str) -> None:
        try:
            check(value)
        except ValueError as error:
            raise ValidationError(str(error)) from error

    return validator


class _Seconds(fields.Field[float]):
    """A finite number that is one in TOML, too: neither text nor a truth value."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not -_MUCH < value < _MUCH:
            raise ValidationError("must be a number of seconds")
        return float(value)


class _Flag(fields.Field[bool]):
    """A truth value of TOML; marshmallow's own would take 0 and 1 as well."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("must be true or false")
        return value


# RFC 9110 section 5.6.2. A key in a header that frames or routes the message would break the message.
_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # noqa: S105 - a grammar
_FRAMING = r"(?:host|connection|content-length|content-type|te|transfer-encoding|upgrade)"
_is_header = validate.Regexp(
    rf"(?!{_FRAMING}\Z){_TOKEN}\Z", flags=re.I, error="must be a header name, and not one of HTTP's own"
)
_is_scheme = validate.Regexp(rf"(?:{_TOKEN})?\Z", error="must be a scheme such as Bearer, or empty")
_is_route_name = validate.Regexp(r"[a-z0-9_]+(\.[a-z0-9_]+)*\Z", error="must be dotted words of a-z 0-9 _")
_is_provider_name = validate.Regexp(r"[a-z][a-z0-9_-]{0,62}\Z", error="must be a-z 0-9 _ - from a letter on")
_name = fields.String(validate=_is_provider_name)
_limit = partial(fields.Integer, strict=True, validate=validate.Range(min=1))
_seconds = partial(_Seconds, validate=validate.Range(min=0, max=_LONGEST_SECONDS))
_is_filled = validate.Length(min=1, error="must not be empty")


class _Strict(Schema):
    """Names unknown keys with their likely meaning, together with all other faults."""

    class Meta:
        unknown = EXCLUDE

    error_messages = {"type": "must be a table"}  # noqa: RUF012 - marshmallow's way

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _refuse_unknown_keys(self, data: Any, original: Any, **_: Any) -> None:
        known = [field.data_key or name for name, field in self.fields.items()]
        if unknown := set(original).difference(known) if isinstance(original, dict) else ():
            raise ValidationError({key: [f"unknown key{_hint(key, known)}"] for key in sorted(unknown)})


def _hint(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, 1)
    return f"; did you mean {close[0]}?" if close else ""


class CredentialSchema(_Strict):
    """How a provider wants its key."""

    header = fields.String(required=True, validate=_is_header)
    scheme = fields.String(required=True, validate=_is_scheme)


class TimeoutsSchema(_Strict):
    """Seconds; 0 waits for ever."""

    connect = _seconds()
    first_byte = _seconds()
    idle = _seconds()
    total = _seconds()


class RetrySchema(_Strict):
    """How often, and for how many seconds."""

    attempts = fields.Integer(strict=True, validate=validate.Range(min=1, max=10))
    within = _seconds()


class ProviderRetrySchema(RetrySchema):
    """A provider also says which of its POST routes may be repeated."""

    posts = fields.List(fields.String())


class RouteSchema(_Strict):
    """One endpoint."""

    name = fields.String(required=True, validate=_is_route_name)
    path = fields.String(required=True, validate=_by(shape_of))
    methods = fields.List(fields.String(validate=validate.OneOf(METHODS)), required=True, validate=_is_filled)
    body = fields.String(validate=validate.OneOf(("none", "json", "multipart", "any")))
    max_body_bytes = _limit()
    timeouts = fields.Nested(TimeoutsSchema)
    retry = fields.Nested(RetrySchema)
    required = fields.List(fields.String(validate=_is_filled))
    validates = _Flag(data_key="validate")
    names_model = _Flag(data_key="model")
    costs = _Flag()
    upgrade = fields.String(validate=validate.OneOf(("none", "websocket")))
    stream_usage = _Flag()

    @validates_schema
    def _refuse_useless_body(self, data: Any, **_: Any) -> None:
        if data.get("body", "none") != "none" and METHODS_WITH_BODY.isdisjoint(data["methods"]):
            raise ValidationError("needs POST, PUT or PATCH among the methods", "body")

    @validates_schema
    def _refuse_fields_without_json(self, data: Any, **_: Any) -> None:
        is_json = data.get("body", "json") == "json" and not METHODS_WITH_BODY.isdisjoint(data["methods"])
        if data.get("required") and not is_json:
            raise ValidationError("needs a JSON body to look into", "required")

    @validates_schema
    def _refuse_stream_usage_without_json(self, data: Any, **_: Any) -> None:
        if data.get("stream_usage") and (data.get("body", "json") != "json" or "POST" not in data["methods"]):
            raise ValidationError("needs POST with a JSON body to ask in", "stream_usage")

    @validates_schema
    def _refuse_upgrade_without_get(self, data: Any, **_: Any) -> None:
        # RFC 6455 section 4.1: a WebSocket begins as a GET.
        if data.get("upgrade") == "websocket" and "GET" not in data["methods"]:
            raise ValidationError("needs GET among the methods", "upgrade")


class ProviderSchema(_Strict):
    """One API."""

    base_url = fields.String(required=True, validate=_by(check_base_url))
    dialect = fields.String(required=True, validate=validate.OneOf(("openai", "anthropic", "opaque")))
    credential = fields.Nested(CredentialSchema, required=True)
    max_body_bytes = _limit(load_default=_DEFAULT_LIMIT)
    timeouts = fields.Nested(TimeoutsSchema)
    retry = fields.Nested(ProviderRetrySchema)
    features = fields.Dict(fields.Enum(Feature, by_value=True), _Flag())
    routes = fields.List(fields.Nested(RouteSchema), required=True, validate=_is_filled)

    @validates_schema
    def _refuse_unknown_posts(self, data: Any, **_: Any) -> None:
        takes_post = {route["name"] for route in data["routes"] if "POST" in route["methods"]}
        if unknown := sorted(set(data.get("retry", {}).get("posts", ())) - takes_post):
            raise ValidationError({"retry": {"posts": [f"names no route with POST: {', '.join(unknown)}"]}})

    @validates_schema
    def _refuse_fields_of_unread_bodies(self, data: Any, **_: Any) -> None:
        idle = [index for index, route in enumerate(data["routes"]) if route.get("required")]
        if data["dialect"] == "opaque" and idle:
            fault = {"required": ["means nothing where the dialect is opaque"]}
            raise ValidationError({"routes": dict.fromkeys(idle, fault)})

    @validates_schema
    def _refuse_stream_usage_elsewhere(self, data: Any, **_: Any) -> None:
        asking = [index for index, route in enumerate(data["routes"]) if route.get("stream_usage")]
        if data["dialect"] != "openai" and asking:
            fault = {"stream_usage": ["means nothing where the dialect is not openai"]}
            raise ValidationError({"routes": dict.fromkeys(asking, fault)})

    @validates_schema(skip_on_field_errors=False)
    def _refuse_repetitions(self, data: Any, **_: Any) -> None:
        if repeated := _repetitions(data.get("routes", [])):
            raise ValidationError({"routes": repeated})


class TableSchema(_Strict):
    """A whole file."""

    providers = fields.Dict(_name, fields.Nested(ProviderSchema), required=True, validate=_is_filled)


def _repetitions(routes: list[dict[str, Any]]) -> dict[int, dict[str, list[str]]]:
    seen: dict[tuple[str, object], int] = {}
    faults: dict[int, dict[str, list[str]]] = {}
    for index, route in enumerate(routes):
        # Only values that are valid by themselves are still there.
        for key in [key for key in ("name", "path") if key in route]:
            identity = route[key] if key == "name" else shape_of(route[key])
            first = seen.setdefault((key, identity), index)
            if first != index:
                faults.setdefault(index, {})[key] = [f"means the same as routes[{first}].{key}"]
    return faults


def faults_in(messages: Any, place: tuple[str | int, ...] = ()) -> Iterator[str]:
    """Yield a line of place and reason for each of a ValidationError's messages, nested as marshmallow nests them."""
    if isinstance(messages, dict):
        for step, inner in messages.items():
            yield from faults_in(inner, (*place, step))
    else:
        yield from (f"{_where(place)}: {message}" for message in messages)


def _where(place: tuple[str | int, ...]) -> str:
    # Below a name in a mapping (of providers, of features) marshmallow puts a level of its own, "key" or "value".
    is_feature = place[3:4] == ("features",)
    own = {2, 5} if is_feature else {2}
    steps = [step for level, step in enumerate(place) if step != "_schema" and level not in own]
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
