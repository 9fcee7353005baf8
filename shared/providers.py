"""The provider and route table: which requests may reach which provider, read from TOML and checked."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from marshmallow import ValidationError

from shared.models import Feature
from shared.provider_schema import METHODS, METHODS_WITH_BODY, TableSchema, faults_in
from shared.route_paths import PathTree, shape_of, split

type BodyKind = Literal["none", "json", "multipart", "any"]
type Dialect = Literal["openai", "anthropic", "opaque"]
type Upgrade = Literal["none", "websocket"]

_BUNDLED = Path(__file__).with_name("providers.toml")


class ProviderTableError(Exception):
    """The table cannot be read or is wrong; `faults` names each place with its reason."""

    def __init__(self, source: str, faults: list[str]) -> None:
        self.faults = faults
        super().__init__(f"{source} needs attention:\n" + "\n".join(f"  {fault}" for fault in faults))


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a provider may take, in seconds; None waits for ever.

    `connect` bounds each attempt to connect, `first_byte` the time from the sent request to the answer's head,
    `idle` each silence within the answer, `total` the whole request from its arrival on.
    """

    connect: float | None = 10.0
    first_byte: float | None = 600.0
    idle: float | None = 300.0
    total: float | None = None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a request may be tried in all, and within how many seconds from the first attempt on.

    `unsafe` says that a request that is not idempotent may be repeated though it may have reached the provider.
    """

    attempts: int = 3
    within: float = 30.0
    unsafe: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """One endpoint. `body` speaks of POST, PUT and PATCH only; `max_body_bytes` bounds every request.

    `required` names the fields that a JSON body must have; `validates` False passes bodies on unchecked. Where lists of
    models are in force, bodies must name theirs, unless `names_model` is False: no model works on these requests.
    `costs` False: they need no tokens and no money.
    `stream_usage`: streams tell their usage when `stream_options.include_usage` asks for it.
    """

    name: str
    path: str
    methods: frozenset[str]
    body: BodyKind
    max_body_bytes: int
    timeouts: Timeouts = Timeouts()
    retry: RetryPolicy = RetryPolicy()
    required: tuple[str, ...] = ()
    validates: bool = True
    names_model: bool = True
    costs: bool = True
    upgrade: Upgrade = "none"
    stream_usage: bool = False

    def body_of(self, method: str) -> BodyKind:
        """Return what the body of a request with this method should be."""
        return self.body if method in METHODS_WITH_BODY else "none"

    def is_free(self, method: str) -> bool:
        """Tell whether requests with this method need neither tokens nor money.

        What is only brought back or deleted was paid for when it was made. A WebSocket begins as a GET, but costs.
        """
        may_cost = method in METHODS_WITH_BODY or self.upgrade != "none"
        return not (may_cost and self.costs and self.names_model)


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
    features: Mapping[Feature, bool]


@dataclass(frozen=True, slots=True)
class Match:
    """What the providers offer for a request: routes by provider name, and the methods that its path allows.

    Without routes it is refused: with 404 if the path allows no method at all, else with 405.
    """

    routes: Mapping[str, Route]
    allowed: frozenset[str]


_UNKNOWN = Match(MappingProxyType({}), frozenset())


class ProviderTable:
    """All providers, and which of their routes a request fits. It never changes; another file is another table."""

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        self.providers: Mapping[str, Provider] = MappingProxyType(dict(providers))
        credentials = [provider.credential for provider in providers.values()]
        self.credential_headers = frozenset(credential.header for credential in credentials)
        # In lower case, as they are compared (RFC 9110 section 11.1). Clients of any provider may leave the scheme out.
        self.credential_schemes = frozenset(credential.scheme.lower() for credential in credentials) | {"", "bearer"}
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
        document = TableSchema().load(tomllib.loads(text))
    except RecursionError:
        raise ProviderTableError(source, ["is not TOML: nested too deeply"]) from None
    except ValidationError as error:
        raise ProviderTableError(source, list(faults_in(error.messages))) from error
    except ValueError as error:  # Not only TOMLDecodeError: a number may have too many digits.
        raise ProviderTableError(source, [f"is not TOML: {_placed(error, text)}"]) from error
    return ProviderTable({name: _provider(name, loaded) for name, loaded in document["providers"].items()})


def _placed(error: ValueError, text: str) -> str:
    last = text.removesuffix("\n").count("\n") + 1
    return str(error).replace("(at end of document)", f"(at line {last}, the end of the document)")


def _provider(name: str, loaded: dict[str, Any]) -> Provider:
    credential = Credential(loaded["credential"]["header"].lower(), loaded["credential"]["scheme"])
    routes = tuple(_route(route, loaded) for route in loaded["routes"])
    features = MappingProxyType(dict.fromkeys(Feature, True) | loaded.get("features", {}))
    return Provider(name, loaded["base_url"], loaded["dialect"], credential, routes, features)


def _route(loaded: dict[str, Any], provider: dict[str, Any]) -> Route:
    methods = frozenset(loaded["methods"])
    retry = provider.get("retry", {}) | loaded.get("retry", {})
    is_repeatable = loaded["name"] in retry.pop("posts", ())
    seconds = provider.get("timeouts", {}) | loaded.get("timeouts", {})
    return Route(
        name=loaded["name"],
        path=loaded["path"],
        methods=methods,
        body=loaded.get("body", "none" if METHODS_WITH_BODY.isdisjoint(methods) else "json"),
        max_body_bytes=loaded.get("max_body_bytes", provider["max_body_bytes"]),
        timeouts=Timeouts(**{name: value or None for name, value in seconds.items()}),
        retry=RetryPolicy(**retry, unsafe=is_repeatable),
        required=tuple(loaded.get("required", ())),
        validates=loaded.get("validates", True),
        names_model=loaded.get("names_model", True),
        costs=loaded.get("costs", True),
        upgrade=loaded.get("upgrade", "none"),
        stream_usage=loaded.get("stream_usage", False),
    )
