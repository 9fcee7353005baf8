"""`scripts/bench`: reads the arguments, and does what they say."""

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from manager.supervisor import StartError
from shared import logs
from tests.bench import document, inspection, load_generator, management, peers, profile, report, rounds, session, wrk
from tests.bench.management_rows import Size
from tests.bench.rounds import Pace
from tests.bench.scenario import SUBJECTS, Scenario
from tests.bench.scenarios import ALL
from tests.bench.session import Plan

GROUPS = {scenario.name: scenario.group for scenario in ALL}
SOAK = "soak-streams"


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, and ends with exit code 2."""

    def error(self, message: str) -> NoReturn:
        """End."""
        self.exit(2, f"{self.prog}: {message}\n")


def parser() -> Parser:
    """Return the parser of the command line."""
    made = Parser(prog="scripts/bench", description="Measures the engine beside mitmdump, the provider and peers.")
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    made.add_argument("--quick", action="store_true", help="short bursts and few rounds: within five minutes")
    made.add_argument("--peers", action="store_true", help="install litellm and portkey, and measure them as well")
    made.add_argument("--rounds", type=int, metavar="N", help="how often each turn comes")
    made.add_argument("--scenario", action="append", choices=list(GROUPS), metavar="NAME", help=", ".join(GROUPS))
    made.add_argument("--subject", action="append", choices=SUBJECTS, metavar="NAME", help=", ".join(SUBJECTS))
    made.add_argument("--soak", action="store_true", help="half an hour of streams through the engine, nothing else")
    made.add_argument("--profile", type=int, metavar="SECONDS", help="show where the engine's time goes, nothing else")
    made.add_argument("--management", action="store_true", help="lists and sums of the management API, nothing else")
    made.add_argument("--inspector", type=int, metavar="N", help="N flows through the inspector, nothing else")
    made.add_argument("--load-generator", action="store_true", help="`llm-proxy benchmark` beside wrk, nothing else")
    made.add_argument(
        "--docs", type=Path, metavar="FILE", help="put tables and pictures of a JSON file into docs/, nothing else"
    )
    return made


def checked(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the arguments; ends with exit code 2 and one line if they are faulty."""
    parse = parser()
    chosen = parse.parse_args(arguments)
    for name in ("rounds", "profile", "inspector"):
        if (number := getattr(chosen, name)) is not None and number < 1:
            parse.error(f"argument --{name}: must be at least 1")
    if chosen.json is not None and not chosen.json.absolute().parent.is_dir():
        parse.error(f"argument --json: there is no folder {chosen.json.absolute().parent}")
    if not chosen.peers and (missing := set(chosen.subject or ()) & set(peers.LAUNCHERS)):
        parse.error(f"argument --subject: {min(missing)} needs --peers")
    if chosen.docs is not None:
        try:
            chosen.docs = json.loads(chosen.docs.read_text())
        except (OSError, ValueError) as error:
            parse.error(f"argument --docs: {error}")
    return chosen


def plan_of(chosen: argparse.Namespace) -> Plan:
    """Return what is to be run."""
    names = [SOAK] if chosen.soak else chosen.scenario
    pace = rounds.QUICK if chosen.quick else rounds.FULL
    usual = tuple(each for each in ALL if each.usual)
    scenarios = tuple(_asked_for(each) for each in ALL if each.name in names) if names else usual
    return Plan(
        scenarios,
        frozenset(chosen.subject or SUBJECTS),
        Pace(pace.quick, chosen.rounds or pace.rounds),
        chosen.peers,
    )


def _asked_for(scenario: Scenario) -> Scenario:
    """Return a scenario that also runs quickly; of those that a quick run leaves out, all subjects take part."""
    return replace(scenario, quick_subjects=scenario.quick_subjects or None)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run. Ends with exit code 1 if something could not be started, 130 on Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logs.configure("critical", [])
    chosen = checked(arguments)
    try:
        _do(chosen)
    except KeyboardInterrupt:
        sys.exit(130)
    except (StartError, wrk.LoadError, peers.PeerError, profile.ProfileError, document.DocumentError) as error:
        sys.exit(f"scripts/bench: {error}")


def _do(chosen: argparse.Namespace) -> None:
    if chosen.docs is not None:
        document.write(chosen.docs, GROUPS)
    elif chosen.management:
        content = management.measured(_size(chosen), chosen.rounds or (5 if chosen.quick else 20))
        _write(content, chosen.json)
        print(management.as_markdown(content))
    elif chosen.load_generator:
        content = load_generator.measured(chosen.rounds or (1 if chosen.quick else 9), 2 if chosen.quick else 3)
        _write(content, chosen.json)
        print(load_generator.as_markdown(content))
    elif chosen.inspector is not None:
        content = inspection.measured(chosen.inspector)
        _write(content, chosen.json)
        print(inspection.as_markdown(content))
    elif chosen.profile is not None:
        content = session.profiled(chosen.profile)
        _write(content, chosen.json)
        print(report.as_text(content["profile"]))
    else:
        content = session.measured(plan_of(chosen))
        _write(content, chosen.json)
        print(report.whole(content, GROUPS))


def _size(chosen: argparse.Namespace) -> Size:
    return Size(requests=200_000) if chosen.quick else Size()


def _write(content: dict[str, Any], path: Path | None) -> None:
    if path is not None:
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
