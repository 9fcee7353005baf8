"""The commands about settings."""

from __future__ import annotations

import click

from manager.cli import shown
from manager.cli.options import json_option
from shared import settings as environment
from shared.settings import Plane, SettingsError, Source

_PLANES = {
    "proxy": Plane.DATA,
    "manager": Plane.CONTROL,
    "up": Plane.SUPERVISOR,
    "inspect": Plane.INSPECTOR,
    "mock-provider": Plane.MOCK,
}


@click.group()
def config() -> None:
    """Look at the settings, all of which are environment variables."""


@config.command("show")
@click.option("--for", "program", type=click.Choice(list(_PLANES)), help="Only what this program reads.")
@json_option
def show(program: str | None, is_json: bool) -> None:
    """Show each variable with where its value is from, its default and what it is for; no value of a secret."""
    unset = {variable.name for variable in environment.variables() if environment.unset([variable.name])}
    rows = [
        {
            "name": variable.name,
            "source": str(Source.DEFAULT if variable.name in unset else Source.ENVIRONMENT),
            "default": variable.default,
            "is_secret": variable.is_secret,
            "help": variable.help,
        }
        for variable in environment.variables()
        if program is None or variable.planes & _PLANES[program]
    ]
    if is_json:
        shown.as_json(rows)
    else:
        shown.table(rows, ("name", "source", "default", "help"))


@config.command("validate")
@click.option("--for", "program", type=click.Choice(list(_PLANES)), default="up", show_default=True)
@json_option
def validate(program: str, is_json: bool) -> None:
    """Tell every fault of every variable; exit code 1 if there is one."""
    from manager import secrets_file

    generated = {name: "" for name in environment.unset(secrets_file.NAMES)} if program == "up" else {}
    faults: dict[str, list[str]] = {}
    try:
        environment.load(_PLANES[program])
    except SettingsError as error:
        faults = {name: reasons for name, reasons in error.faults.items() if name not in generated}
    if is_json:
        shown.as_json({"faults": faults})
    for name, reasons in faults.items() if not is_json else ():
        click.echo(f"{name}: {'; '.join(reasons)}")
    if not faults and not is_json:
        click.echo("No faults.")
    if faults:
        raise SystemExit(1)
