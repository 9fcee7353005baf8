"""`llm-proxy doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from manager.cli import shown
from manager.cli.options import json_option

if TYPE_CHECKING:
    from manager.doctor.finding import Finding

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "fault": ("✗", "red")}


@click.command()
@json_option
def doctor(is_json: bool) -> None:
    """Find what is wrong with this installation, and say what to do; exit code 1 if there is a fault.

    It looks at settings, folders, ports, TLS files, database, keys, Redis, clocks and providers, and changes nothing.
    """
    from dataclasses import asdict

    from manager.doctor.finding import Level

    found = []
    for finding in _findings():
        found.append(finding)
        if not is_json:
            tell(finding)
    if is_json:
        shown.as_json([asdict(each) for each in found])
    if any(each.level is Level.FAULT for each in found):
        raise SystemExit(1)


def tell(finding: Finding) -> None:
    """Print a finding: what was looked at, how it is, and what to do unless it is well."""
    mark, colour = _MARKS[finding.level]
    click.echo(f"{click.style(mark, fg=colour)} {finding.subject}: {finding.told}")
    if finding.fix:
        click.echo(f"    {finding.fix}")


def _findings() -> Iterator[Finding]:
    from manager import secrets_file
    from manager.doctor import examine
    from manager.doctor.finding import fault
    from shared import settings as environment
    from shared.settings import Plane, SettingsError

    try:
        # What has not been generated yet is well as it will be.
        secrets = secrets_file.generated(environment.data_dir(), environment.unset(secrets_file.NAMES))
        settings = environment.load(Plane.SUPERVISOR | Plane.DATA, secrets)
    except SettingsError as error:
        fix = "see `llm-proxy config show` and docs/configuration.md"
        yield from (fault(name, "; ".join(reasons), fix) for name, reasons in error.faults.items())
        return
    yield from examine(settings)
