"""The effective configuration, to be looked at: every variable with its value, where that is from, and its meaning.

Of a secret it is told only whether it is set.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import render_template

from manager.current import services
from manager.principals import Role
from manager.ui.blueprint import blueprint, needs, of_everything
from shared import durations, logs
from shared.settings import Plane, Settings, Source, Variable, declared

_READERS = {Plane.DATA: "proxy", Plane.CONTROL: "manager", Plane.SUPERVISOR: "up", Plane.MOCK: "mock provider"}
_SOURCES = {
    Source.ENVIRONMENT: "environment",
    Source.FILE: "file",
    Source.GENERATED: "generated",
    Source.DEFAULT: "default",
    Source.UNREAD: "not read here",
}


@dataclass(frozen=True)
class Row:
    """A variable as it is shown. `value` is None where this process does not know it."""

    name: str
    help: str
    value: str | None
    default: str | None
    source: str
    is_set: bool
    is_secret: bool
    readers: str


@blueprint.get("/settings", endpoint="settings")
@needs(Role.AUDITOR)
@of_everything
def configuration() -> str:
    """Show what this service runs with."""
    settings = services().settings
    kinds = {
        "database": services().engine.dialect.name,
        "redis": "embedded" if settings.redis_is_embedded else "another server",
        "data": str(settings.data_dir),
    }
    return render_template("settings.html", rows=list(rows(settings)), **kinds)


def rows(settings: Settings) -> Iterator[Row]:
    """Yield all variables, in the order of the documentation."""
    for field, variable in declared().items():
        source = settings.sources.get(variable.name, Source.DEFAULT)
        yield Row(
            variable.name,
            variable.help,
            _value(variable, getattr(settings, field), source),
            variable.default,
            f"file ({variable.name}_FILE)" if source is Source.FILE else _SOURCES[source],
            source in (Source.ENVIRONMENT, Source.FILE, Source.GENERATED),
            variable.is_secret,
            ", ".join(name for plane, name in _READERS.items() if plane & variable.planes),
        )


def _value(variable: Variable, value: Any, source: Source) -> str | None:
    if source is Source.UNREAD:
        return None
    if variable.is_secret:
        return "not set" if source is Source.DEFAULT else "set"
    return logs.redact(_text(value))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, timedelta):
        return durations.render(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={each}" for name, each in value.items())
    return "" if value is None else str(value)
