"""`llm-proxy logs`: what the programs of this machine have said."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from manager.cli.endings import hinted
from shared import settings as environment
from shared.settings import SettingsError

if TYPE_CHECKING:
    from manager.log_files import Line, LogFile, Wanted

PAUSE_SECONDS = 0.2
_COLOURS = {"debug": "bright_black", "warning": "yellow", "error": "red", "critical": "red"}
# Said elsewhere in the line, or of no interest to people.
_UNSHOWN = ("logger", "exception")


class Moment(click.ParamType[datetime]):
    """A moment in ISO 8601, in UTC if it does not say; or how long ago: seconds, or an ISO 8601 duration."""

    name = "moment"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> datetime:
        """Read a value."""
        from shared import durations

        if isinstance(value, datetime):
            return value
        try:
            if value[:1] == "P" or value.isdecimal():
                return datetime.now(UTC) - durations.parse(value)
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is neither a moment, as 2030-01-31T12:00:00Z, nor a duration, as PT15M or 90")
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@click.command()
@click.argument("programs", nargs=-1, metavar="[PROGRAM]...")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--lines", "-n", "most", type=click.IntRange(0, 100_000), default=100, show_default=True, help="So many.")
@click.option("--level", type=click.Choice(["debug", "info", "warning", "error"]), default="debug", help="At least.")
@click.option("--request-id", default="", metavar="ID", help="Only what is said of this request.")
@click.option("--since", type=Moment(), metavar="MOMENT", help="Then or later, or so long ago: 2030-01-31, PT15M.")
@click.option("--json", "is_json", is_flag=True, help="Print each line as one JSON object.")
def logs(
    programs: tuple[str, ...],
    follow: bool,
    most: int,
    level: str,
    request_id: str,
    since: datetime | None,
    is_json: bool,
) -> None:
    """Show what programs that `llm-proxy up` runs have said: the last lines, by their times, in UTC.

    PROGRAM is proxy, manager, jobs, inspector, valkey or mock-provider; all of them if none is named.

    \b
    llm-proxy logs --level warning --since PT1H
    llm-proxy logs proxy --request-id 0b3c1f5e --json
    llm-proxy logs --follow
    """
    from manager.log_files import Wanted, merged

    files = _files(programs)
    wanted = Wanted(level, request_id, since)
    try:
        _show(merged([file.newest(most, wanted, is_followed=follow) for file in files.values()], most), is_json)
        while follow:
            time.sleep(PAUSE_SECONDS)
            files = _files(programs, files)
            _show(_coming(files.values(), wanted), is_json)
    finally:
        for file in files.values():
            file.close()


def _files(programs: tuple[str, ...], known: dict[Path, LogFile] | None = None) -> dict[Path, LogFile]:
    """Return the files of these programs, of all for none; known ones as they are. Ends the command if there are none.

    A program that is not known has exit code 2, a machine without logs 1.
    """
    from manager.log_files import LogFile

    known = known or {}
    try:
        folder = environment.data_dir() / "logs"
    except SettingsError as error:
        raise click.UsageError(hinted(str(error), "see `llm-proxy config show`")) from None
    found = {path.stem: path for path in sorted(folder.glob("*.log"))}
    if not known and not found:
        hint = "`llm-proxy up` writes them there; what a process manager runs logs to its standard error"
        raise click.ClickException(hinted(f"There are no logs in {folder}.", hint))
    if unknown := [name for name in programs if not known and name not in found]:
        raise click.UsageError(hinted(f"There is no log of {unknown[0]!r}.", f"there are {', '.join(found)}"))
    paths = [path for name, path in found.items() if not programs or name in programs]
    return known | {path: LogFile(path) for path in paths if path not in known}


def _coming(files: Iterable[LogFile], wanted: Wanted) -> Iterable[Line]:
    for file in files:
        yield from (line for line in file.coming() if wanted.fits(line))


def _show(lines: Iterable[Line], is_json: bool) -> None:
    for line in lines:
        click.echo(_as_json(line) if is_json else _drawn(line))


def _as_json(line: Line) -> str:
    told: dict[str, Any] = {"program": line.program, "timestamp": line.at and line.at.isoformat()}
    told |= {"level": line.level or None, "event": line.event}
    return json.dumps(told | dict(line.fields) | told, ensure_ascii=False, default=str)


def _drawn(line: Line) -> str:
    """Return a line as people read it; a traceback comes below, and nothing in it steers the terminal."""
    from manager.cli.shown import plain

    at = f"{line.at:%Y-%m-%d %H:%M:%S.}{line.at.microsecond // 1000:03d}" if line.at else " " * 23
    level = click.style(f"{line.level:<7}", fg=_COLOURS.get(line.level))
    fields = [f"{name}={plain(value, None)}" for name, value in line.fields.items() if name not in _UNSHOWN]
    event = "".join(character if character.isprintable() else " " for character in line.event)
    drawn = f"{at} {line.program:<13} {level} {click.style(event, bold=True)} {' '.join(fields)}".rstrip()
    below = str(line.fields.get("exception", "")).splitlines()
    return "\n".join([drawn, *(f"    {plain(each, None)}" for each in below)])
