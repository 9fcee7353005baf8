"""`scripts/bench`: reads the arguments, runs, prints, writes."""

import argparse
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from manager.supervisor import StartError
from shared import logs
from tests.bench import machine, peers, report, rounds, rows, services, subjects, targets, wrk
from tests.bench.rounds import Pace, Results
from tests.bench.scenario import SUBJECTS, Scenario
from tests.bench.scenarios import ALL
from tests.bench.stage import Stage

FILES = 40_000


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
    made.add_argument("--scenario", action="append", choices=[each.name for each in ALL], metavar="NAME")
    made.add_argument("--subject", action="append", choices=SUBJECTS, metavar="NAME")
    return made


def chosen_scenarios(names: Sequence[str] | None) -> list[Scenario]:
    """Return the scenarios of these names, the usual ones if there are none, in their order."""
    return [each for each in ALL if (each.name in names if names else each.usual)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run. Ends with exit code 1 if something could not be started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logs.configure("error", [])
    parse = parser()
    chosen = parse.parse_args(arguments)
    if chosen.rounds is not None and chosen.rounds < 1:
        parse.error("--rounds: must be at least 1")
    if chosen.json is not None and not chosen.json.absolute().parent.is_dir():
        parse.error(f"--json: there is no folder {chosen.json.absolute().parent}")
    if not chosen.peers and (missing := set(chosen.subject or ()) & set(peers.LAUNCHERS)):
        parse.error(f"--subject {min(missing)}: needs --peers")
    try:
        _measure(chosen)
    except KeyboardInterrupt:
        sys.exit(130)
    except (StartError, wrk.LoadError, peers.PeerError) as error:
        sys.exit(f"scripts/bench: {error}")


def _measure(chosen: argparse.Namespace) -> None:
    wrk.provide()
    pace = rounds.QUICK if chosen.quick else rounds.FULL
    pace = Pace(pace.quick, chosen.rounds or pace.rounds)
    scenarios = chosen_scenarios(chosen.scenario)
    if chosen.peers:
        peers.install()
    launchers = subjects.OURS | (peers.LAUNCHERS if chosen.peers else {})
    wanted = set(chosen.subject or SUBJECTS) & set(launchers)
    began = time.monotonic()
    machine.raise_file_limit(FILES)
    cores = machine.take_place()
    facts: dict[str, Any] = {**machine.facts(), "placement": str(cores)}
    print(f"# {cores}", file=sys.stderr)
    with services.running(cores) as running:
        stage = Stage(running, launchers)
        try:
            results = rounds.run(stage, scenarios, wanted, pace, lambda line: _say(began, line))
        finally:
            stage.stop()
    facts["seconds"] = round(time.monotonic() - began)
    _show(results, facts, chosen.json)


def _say(began: float, line: str) -> None:
    print(f"# {time.monotonic() - began:4.0f} s  {line}", file=sys.stderr, flush=True)


def _show(results: Results, facts: dict[str, Any], path: Path | None) -> None:
    content = {
        "machine": facts,
        "rows": rows.rows(results),
        "ratios": rows.ratios(results),
        "targets": targets.judge(results),
    }
    if path is not None:
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    print(report.whole(content, {each.name: each.group for each in ALL}))
