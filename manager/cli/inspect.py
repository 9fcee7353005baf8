"""`llm-proxy inspect`: mitmweb, fed by the workers of the data plane."""

import os
import sys

import click

from manager.cli.start import start
from shared.settings import Plane, child_environment


@click.command()
def inspect() -> None:
    """Show the flows of all workers in mitmweb, and let operators hold, edit, resume and kill them."""
    start(Plane.INSPECTOR)  # Says in plain words what is wrong with the settings, if anything is.
    command = (sys.executable, "-m", "addons.inspection")
    os.execve(command[0], command, child_environment(Plane.INSPECTOR, {}))  # noqa: S606 - our own
