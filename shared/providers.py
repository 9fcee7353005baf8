"""The provider and route table: which requests may reach which provider, read from TOML and checked."""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate, validates_schema

from shared.route_paths import PathTree, check_base_url, shape_of, split

type BodyKind = Literal["none", "json", "multipart", "any"]
type Dialect = Literal["openai", "anthropic", "opaque"]

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_METHODS_WITH_BODY = frozenset(("POST", "PUT", "PATCH"))
_DEFAULT_LIMIT = 32 * 1024 * 1024
_BUNDLED = Path(__file__).with_name("providers.toml")


class ProviderTableError(Exception):
    """The table cannot be read or is wrong; `faults` names each place with its reason."""

    def __init__(self, source: str, faults: list[str]) -> None:
        self.faults = faults
        super().__init__(f"{source} needs attention:\n" + "\n".join(f"  {fault}" for fault in faults))


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint. `body` speaks of POST, PUT and PATCH only; `max_body_bytes` bounds every request."""

    name: str
    path: str
    methods: frozenset[str]
    body: BodyKind
    max_body_bytes: int

    def body_of(self, method: str) -> BodyKind:
        """Return what the body of a request with this method should be."""
        return self.body if method in _METHODS_WITH_BODY else "none"


@dataclass(frozen=True, slots=True)
class Credential:
    """How a provider wants its key: a lower-case header name, and a scheme before the key or ""."""

    header: str
    scheme: str

    def value(self, key: str) -> str:
        """Return the header's value for a key."""
        return f"{self.scheme} {key}" if self.scheme else key


@dataclass(frozen=True, slots=True)
class Provider:
    """One API. A route's path is appended to `base_url`, which is an origin with an optional path prefix."""

    name: str
    base_url: str
    dialect: Dialect
    credential: Credential
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """What the providers offer for a request: routes by provider name, and the methods that its path allows.

    Without routes it is refused: with 404 if the path allows no method at all, else with 405.
    """

    routes: Mapping[str, Route]
    allowed: frozenset[str]


_UNKNOWN = Match(MappingProxyType({}), frozenset())


class ProviderTable:
    """All providers, and which of their routes a request fits."""

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        self.providers: Mapping[str, Provider] = MappingProxyType(dict(providers))
        self._trees = {n: PathTree((shape_of(r.path), r) for r in p.routes) for n, p in providers.items()}
        # Paths without parameters are answered from here. It is filled once, so no client can make it grow.
        plain = {r.path for provider in providers.values() for r in provider.routes if "{" not in r.path}
        self._ready = {(method, path): self._search(method, path) for path in plain for method in METHODS}

    def match(self, method: str, path: str) -> Match:
        """Find a request's routes by its method and its raw path without the query, both as received."""
        ready = self._ready.get((method, path))
        return self._search(method, path) if ready is None else ready

    def _search(self, method: str, path: str) -> Match:
        segments = split(path)
        if segments is None:
            return _UNKNOWN
        found = {name: route for name, tree in self._trees.items() if (route := tree.find(segments))}
        routes = {name: route for name, route in found.items() if method in route.methods}
        allowed = frozenset[str]().union(*[route.methods for route in found.values()])
        return Match(MappingProxyType(routes), allowed)


def _by(check: Callable[[str], object]) -> Callable[[str], None]:
    """Let a function that raises ValueError validate a marshmallow field."""

    def validator(value: str) -> None:
        try:
            check(value)
        except ValueError as error:
            raise ValidationError(str(error)) from error

    return validator


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
_is_filled = validate.Length(min=1, error="must not be empty")


class _Strict(Schema):
    """Names unknown keys with their likely meaning, together with all other faults."""

    class Meta:
        unknown = EXCLUDE

    error_messages = {"type": "must be a table"}  # noqa: RUF012 - marshmallow's way

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _refuse_unknown_keys(self, data: Any, original: Any, **_: Any) -> None:
        known = list(self.fields)
        if unknown := set(original).difference(known) if isinstance(original, dict) else ():
            raise ValidationError({key: [f"unknown key{_hint(key, known)}"] for key in sorted(unknown)})


def _hint(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, 1)
    return f"; did you mean {close[0]}?" if close else ""


class _CredentialSchema(_Strict):
    header = fields.String(required=True, validate=_is_header)
    scheme = fields.String(required=True, validate=_is_scheme)


class _RouteSchema(_Strict):
    name = fields.String(required=True, validate=_is_route_name)
    path = fields.String(required=True, validate=_by(shape_of))
    methods = fields.List(fields.String(validate=validate.OneOf(METHODS)), required=True, validate=_is_filled)
    body = fields.String(validate=validate.OneOf(("none", "json", "multipart", "any")))
    max_body_bytes = _limit()

    @validates_schema
    def _refuse_useless_body(self, data: Any, **_: Any) -> None:
        if data.get("body", "none") != "none" and _METHODS_WITH_BODY.isdisjoint(data["methods"]):
            raise ValidationError("needs POST, PUT or PATCH among the methods", "body")


class _ProviderSchema(_Strict):
    base_url = fields.String(required=True, validate=_by(check_base_url))
    dialect = fields.String(required=True, validate=validate.OneOf(("openai", "anthropic", "opaque")))
    credential = fields.Nested(_CredentialSchema, required=True)
    max_body_bytes = _limit(load_default=_DEFAULT_LIMIT)
    routes = fields.List(fields.Nested(_RouteSchema), required=True, validate=_is_filled)

    @validates_schema(skip_on_field_errors=False)
    def _refuse_repetitions(self, data: Any, **_: Any) -> None:
        if repeated := _repetitions(data.get("routes", [])):
            raise ValidationError({"routes": repeated})


class _TableSchema(_Strict):
    providers = fields.Dict(_name, fields.Nested(_ProviderSchema), required=True, validate=_is_filled)


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


def load(path: Path | None = None) -> ProviderTable:
    """Read a table, the bundled one for None. Raises ProviderTableError with all faults."""
    file = path or _BUNDLED
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProviderTableError(str(file), [f"cannot be read: {error}"]) from error
    return parse(text, str(file))


def parse(text: str, source: str) -> ProviderTable:
    """Read a table from TOML text; `source` names it in errors. Raises ProviderTableError with all faults."""
    try:
        document = _TableSchema().load(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ProviderTableError(source, [f"is not TOML: {error}"]) from error
    except ValidationError as error:
        raise ProviderTableError(source, list(_faults(error.messages))) from error
    return ProviderTable({name: _provider(name, loaded) for name, loaded in document["providers"].items()})


def _faults(messages: Any, place: tuple[str | int, ...] = ()) -> Iterator[str]:
    if isinstance(messages, dict):
        for step, inner in messages.items():
            yield from _faults(inner, (*place, step))
    else:
        yield from (f"{_where(place)}: {message}" for message in messages)


def _where(place: tuple[str | int, ...]) -> str:
    # Below a mapping marshmallow puts a level of its own, "key" or "value"; ours has one mapping, at the top.
    steps = [step for level, step in enumerate(place) if step != "_schema" and level != 2]
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")


def _provider(name: str, loaded: dict[str, Any]) -> Provider:
    credential = Credential(loaded["credential"]["header"].lower(), loaded["credential"]["scheme"])
    routes = tuple(_route(route, loaded["max_body_bytes"]) for route in loaded["routes"])
    return Provider(name, loaded["base_url"], loaded["dialect"], credential, routes)


def _route(loaded: dict[str, Any], default_limit: int) -> Route:
    methods = frozenset(loaded["methods"])
    body = loaded.get("body", "none" if _METHODS_WITH_BODY.isdisjoint(methods) else "json")
    return Route(loaded["name"], loaded["path"], methods, body, loaded.get("max_body_bytes", default_limit))
