"""The commands about the audit."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

import click

from manager.cli import shown
from manager.cli.options import json_option
from manager.cli.resource import Field, Kind, Resource, reading
from manager.cli.start import start_here
from shared.settings import Settings

if TYPE_CHECKING:
    from manager.audit_verification import Anchor, Report
    from manager.db import Sessions

_TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]


@click.group()
def audit() -> None:
    """Verify and export what was done to whom, and by whom."""


@audit.command()
@click.option("--anchor", help="The end as an earlier verification told it; it must still be there.")
@click.option("--begin-anew", is_flag=True, help="Forget the chain, broken or lost, and chain what is there as it is.")
@json_option
def verify(anchor: str | None, begin_anew: bool, is_json: bool) -> None:
    """Go along the whole chain; fails if an event was changed, taken out or put in."""
    from manager.audit_chain import Chain

    held = _anchor(anchor)
    with _database() as (settings, sessions):
        chain = Chain(sessions, settings.encryption_keys)
        if begin_anew:
            chain.begin_anew()
        report = chain.verify(held)
    if is_json:
        shown.as_json(_told(report))
    else:
        click.echo(f"{report.rows} events fit, from position {report.kept_position + 1} on")
        if report.unchained:
            click.echo(f"{report.unchained} events are not in the chain yet, the oldest of {report.unchained_since}")
        if report.fault is None:
            click.echo(f"the audit is whole; its end is {report.anchor}")
    if report.fault is not None:
        where = f" (event {report.fault.id})" if report.fault.id else ""
        raise click.ClickException(f"the audit is broken: {report.fault.reason}{where}")


def _told(report: "Report") -> dict[str, Any]:
    fault = report.fault
    return {
        "is_whole": fault is None,
        "events": report.rows,
        "first_position": report.kept_position + 1,
        "unchained": report.unchained,
        "unchained_since": report.unchained_since,
        "anchor": str(report.anchor) if fault is None else None,
        "fault": None if fault is None else {"reason": fault.reason, "event_id": fault.id},
    }


@audit.command()
@click.option("--format", "shape", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
@click.option("--output", type=click.File("w", encoding="utf-8", lazy=True), default="-", help="File; - is the screen.")
@click.option("--from", "since", type=click.DateTime(_TIMES), help="Events then or later, in UTC.")
@click.option("--until", type=click.DateTime(_TIMES), help="Events before.")
@click.option("--action", help="Only this action, such as token.revoke.")
@click.option("--actor", help="Only what this actor did.")
@click.option("--text", help="Only events with this text in actor, address or details.")
def export(shape: str, output: IO[str], since: datetime | None, until: datetime | None, **wanted: str | None) -> None:
    """Write events to a file, oldest first. That this was done is told in the audit."""
    from manager import audit as events
    from manager import audit_export, db
    from manager.errors import Invalid

    query: dict[str, Any] = {"since": _aware(since), "until": _aware(until), **wanted}
    detail = {"format": shape} | {name: str(value) for name, value in query.items() if value is not None}
    with _database() as (_, sessions):
        try:
            pieces = audit_export.pieces(sessions, audit_export.Shape(shape), **query)
        except Invalid as error:
            raise click.BadParameter(str(error), param_hint=f"--{error.field}") from None
        now, who = datetime.now(UTC), events.Source(events.COMMAND)
        db.transact(sessions, lambda session: events.note(session, now, who, events.Action.AUDIT_EXPORT, detail=detail))
        for piece in pieces:
            output.write(piece)


_FILTERS = (
    Field("action", "Only this action, such as token.revoke."),
    Field("actor", "Only what this actor did."),
    Field("project_id", "About this project, by its name or id.", Kind.PROJECT, alias="project"),
    Field("token_id", "About this token.", alias="token"),
    Field("request_id", "About this request.", alias="request"),
    Field("from", "Then or later."),
    Field("until", "Before."),
    Field("text", "With this text in actor, address or details."),
)
_COLUMNS = ("occurred_at", "actor", "action", "outcome", "project_id", "token_id", "detail", "id")
for _command in reading(Resource("audit", "audit events", "/manage/audit", _COLUMNS, _FILTERS)):
    audit.add_command(_command)


@contextmanager
def _database() -> "Iterator[tuple[Settings, Sessions]]":
    from sqlalchemy.exc import SQLAlchemyError

    from manager import db

    settings = start_here()
    engine = db.open_engine(settings)
    try:
        yield settings, db.create_sessions(engine)
    except SQLAlchemyError as error:
        raise click.ClickException(f"DATABASE_URL: {db.reason(error)}") from None
    finally:
        engine.dispose()


def _anchor(text: str | None) -> "Anchor | None":
    from manager.audit_verification import Anchor

    try:
        return None if text is None else Anchor.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--anchor") from None


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment
