"""`llm-proxy drain` and `llm-proxy reload`: told to the proxies that run on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from manager.cli import shown
from manager.cli.endings import hinted
from manager.cli.options import json_option
from shared import settings as environment
from shared.settings import SettingsError

if TYPE_CHECKING:
    import signal

    from manager.running import Running, State

PAUSE_SECONDS = 0.05
# How long new workers may take to start, those before them that crash as they start included.
RELOAD_SECONDS = 90.0
_COLUMNS = ("pid", "port", "workers", "phase", "failure")


@click.command()
@click.option("--wait", is_flag=True, help="Return when no request is left.")
@click.option("--timeout", type=click.FloatRange(0), metavar="SECONDS", help="Wait so long at most; then exit code 1.")
@json_option
def drain(wait: bool, timeout: float | None, is_json: bool) -> None:
    """Take this machine's proxies out of service: nobody new is let in, and running requests finish.

    They have LLM_PROXY_DRAIN_SECONDS for it. The proxies stay, without workers, until they are ended or `llm-proxy
    reload` puts them back into service.

    \b
    llm-proxy drain --wait
    """
    from manager.running import DRAIN, Phase

    left = _tell(DRAIN)
    states = _await(left, lambda state, before: state.turns > before.turns, RELOAD_SECONDS)
    if wait or timeout is not None:
        states = _await(left, lambda state, _: state.phase is not Phase.DRAINING, timeout)
    _show(states, is_json)
    if (wait or timeout is not None) and any(each.phase is Phase.DRAINING for each in states):
        raise click.ClickException(f"Requests are still running after {timeout:g} s.")


@click.command()
@json_option
def reload(is_json: bool) -> None:
    """Replace the workers of this machine's proxies without dropping a request.

    New workers start with new code, and read anew the files that variables name; when all of them listen, the old ones
    finish what runs. If they do not start, the old ones stay, and the exit code is 1.

    \b
    llm-proxy reload
    """
    from manager.running import RELOAD

    states = _await(_tell(RELOAD), lambda state, before: state.turns > before.turns, RELOAD_SECONDS)
    _show(states, is_json)
    if reasons := [each.failure for each in states if each.failure]:
        raise click.ClickException(f"The workers were not replaced: {reasons[0]}")


def here() -> list[dict[str, Any]]:
    """Return how the proxies of this machine are, as far as this user may see it."""
    from manager.running import proxies

    try:
        states = [running.state() for running in proxies(environment.data_dir())]
    except (PermissionError, SettingsError):
        return []
    return _rows([state for state in states if state is not None])


def _rows(states: list[State]) -> list[dict[str, Any]]:
    from dataclasses import asdict

    return [{name: asdict(each)[name] for name in _COLUMNS} for each in states]


def _tell(number: signal.Signals) -> dict[Running, State]:
    """Send a signal to all proxies; return how each was before. Ends the command with 1 if there is none."""
    from manager.running import proxies

    try:
        folder = environment.data_dir()
        told = {}
        for running in proxies(folder):
            before = running.state()
            if before is not None:
                running.send(number)
                told[running] = before
    except SettingsError as error:
        raise click.UsageError(hinted(str(error), "see `llm-proxy config show`")) from None
    except ProcessLookupError:
        raise click.ClickException("The proxy has just ended.") from None
    except PermissionError:
        raise click.ClickException(hinted("The proxy here is another user's.", "run this as that user")) from None
    if not told:
        hint = "LLM_PROXY_DATA_DIR says which data folder is meant; start it with `llm-proxy up` or `llm-proxy proxy`"
        raise click.ClickException(hinted(f"No proxy is running on {folder}.", hint))
    return told


def _await(told: dict[Running, State], is_done: Callable[[State, State], bool], seconds: float | None) -> list[State]:
    """Wait for all, and return how they are then. Ends the command with 1 if one has ended."""
    deadline = None if seconds is None else time.monotonic() + seconds
    while True:
        states = {running: running.state() for running in told}
        there = [state for state in states.values() if state is not None]
        if len(there) < len(told):
            raise click.ClickException("A proxy has ended meanwhile; its log says why.")
        is_late = deadline is not None and time.monotonic() >= deadline
        if is_late or all(is_done(state, told[running]) for running, state in states.items() if state is not None):
            return there
        time.sleep(PAUSE_SECONDS)


def _show(states: list[State], is_json: bool) -> None:
    if is_json:
        shown.as_json(_rows(states))
    else:
        shown.table(_rows(states), _COLUMNS)
