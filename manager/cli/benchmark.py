"""`llm-proxy benchmark`: how fast is the proxy, and what does it add?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from manager.cli.endings import Refused, Unreachable, hinted
from manager.cli.options import json_option
from shared import settings as environment
from shared.settings import Plane, SettingsError

if TYPE_CHECKING:
    from manager.benchmark.compare import Comparison
    from manager.benchmark.conditions import Condition
    from manager.benchmark.plan import Plan
    from manager.benchmark.results import Document
    from manager.benchmark.session import Session

_PROFILES = ("smoke", "baseline", "stress", "soak", "spike", "stream", "reject")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_file = click.Path(path_type=Path)


@click.command()
@click.option("--profile", type=click.Choice(_PROFILES), help="Settings for a purpose; others beside it win.")
@click.option("--target", multiple=True, metavar="NAME=URL", help="Who is asked; several take turns. Else the proxy.")
@click.option("--endpoint", default="/v1/chat/completions", show_default=True, help="Path that is asked for.")
@click.option("--method", type=click.Choice(_METHODS), default="POST", show_default=True)
@click.option("--header", multiple=True, metavar="'NAME: VALUE'", help="A header that is no secret; several times.")
@click.option("--token-file", multiple=True, metavar="NAME=FILE", help="A target's own token. Else LLM_PROXY_TOKEN.")
@click.option("--token-header", default="authorization", show_default=True, help="Header for the token.")
@click.option("--body", metavar="TEMPLATE", help="Body, or @FILE. Else a small chat. See docs/benchmark.md.")
@click.option("--var", multiple=True, metavar="NAME=VALUE", help="A variable of the body; several times.")
@click.option("--model", help="The variable {{model}}.  [default: gpt-4o-mini]")
@click.option("--stream", is_flag=True, help="Ask for a stream.")
@click.option("--requests", type=click.IntRange(1), help="So many for each step and target, instead of a duration.")
@click.option("--duration", metavar="TIME", help="Of each step for each target: 30s, 5m.  [default: 10s]")
@click.option("--concurrency", metavar="N", help="Callers; steps 1,4,16; a ramp 1-64.  [default: 8]")
@click.option("--rate", metavar="N", help="Requests due each second, steps and ramps alike: the open loop.")
@click.option("--warm-up", metavar="TIME", help="What does not count, before all.  [default: 1s]")
@click.option("--timeout", default="60s", show_default=True, metavar="TIME", help="Of a request, since it was due.")
@click.option("--connect-timeout", default="10s", show_default=True, metavar="TIME", help="Of opening a connection.")
@click.option("--first-byte-timeout", metavar="TIME", help="Until an answer begins.  [default: any]")
@click.option("--expect", metavar="STATUS", help="Statuses that are no error: 200,429.  [default: 200 to 299]")
@click.option("--no-keep-alive", is_flag=True, help="A new connection for each request.")
@click.option("--processes", type=click.IntRange(1, 256), help="Load processes.  [default: half of the cores]")
@click.option("--ca-file", metavar="FILE", help="Authorities of the targets' certificates. Else the public ones.")
@click.option("--output", "outputs", multiple=True, type=_file, help="A report: .json, .csv or .html; several times.")
@click.option("--save-baseline", type=_file, help="Keep the run in this file, for --baseline.")
@click.option("--baseline", type=_file, help="Compare with a run that was kept.")
@click.option("--fail-if", multiple=True, metavar="CONDITION", help="Exit code 1 if so: 'p99>250ms'; several times.")
@click.option(
    "--compare", "compared", nargs=2, type=_file, metavar="A.json B.json", help="Compare two runs; ask nobody."
)
@click.option(
    "--tolerance", default=5.0, show_default=True, type=click.FloatRange(0), help="Percent that are no change."
)
@click.option("--quiet", is_flag=True, help="Show no progress.")
@json_option
def benchmark(is_json: bool, **wished: Any) -> None:
    """Load the proxy, or anybody, with requests, and tell how long answers take.

    Without --rate it is a closed loop: each caller asks when the answer before has come. With it, requests are due at
    their times whatever becomes of those before, and wait where the target stands still.

    \b
    llm-proxy benchmark --profile baseline --output report.html
    llm-proxy benchmark --rate 50 --duration 1m --fail-if 'p99>250ms' --fail-if 'error_rate>1%'
    llm-proxy benchmark --target direct=http://127.0.0.1:9000 --target proxy=http://127.0.0.1:8080
    llm-proxy benchmark --compare before.json after.json
    """
    from manager.benchmark import results

    try:
        if wished["compared"]:
            before, after = map(results.read, wished["compared"])
            _judge(_compared(before, after, wished), is_json)
            return
        kept = results.read(wished["baseline"]) if wished["baseline"] else None
    except results.NotRead as error:
        raise click.UsageError(str(error)) from None
    _run(wished, kept, is_json)


def _run(given: dict[str, Any], kept: Document | None, is_json: bool) -> None:
    from manager.benchmark import conditions, outputs, session, wishes
    from manager.benchmark.progress import Progress

    wished = wishes.settled(given)
    plan, limits = _asked(wished)
    places = outputs.Places(wished["outputs"] or (), wished["save_baseline"])
    try:
        places.check()
    except outputs.NoPlace as error:
        raise click.UsageError(str(error)) from None
    progress = None if wished["quiet"] else Progress(plan, sys.stderr)
    try:
        held = session.hold(plan, progress or (lambda leg, begins_ns, seen: None))
    except session.NobodyThere as error:
        raise Unreachable(hinted(str(error), "is it running? name another one with --target")) from None
    finally:
        if progress is not None:
            progress.end()
    document = held.document
    comparison = _compared(kept, document, wished) if kept is not None else None
    faults = list(conditions.faults(limits, document))
    try:
        places.write(document)
    except outputs.NoPlace as error:
        raise click.ClickException(str(error)) from None
    finally:
        _show(document, comparison, faults, is_json)
    _end(held, comparison, faults)


def _asked(wished: dict[str, Any]) -> tuple[Plan, list[Condition]]:
    from manager.benchmark import conditions, wishes
    from manager.benchmark.plan import PlanError

    try:
        settings = environment.load(Plane.CLIENT)
        plan = wishes.plan(wished, settings.public_url, settings.client_token)
        return plan, [conditions.parse(each) for each in wished["fail_if"] or ()]
    except (SettingsError, conditions.ConditionError) as error:
        raise click.UsageError(str(error)) from None
    except PlanError as error:
        raise click.UsageError(hinted(f"{str(error)[:1].upper()}{str(error)[1:]}.", "see docs/benchmark.md")) from None


def _compared(before: Document, after: Document, wished: dict[str, Any]) -> Comparison:
    from manager.benchmark.compare import compare

    return compare(before, after, wished["tolerance"] / 100)


def _judge(comparison: Comparison, is_json: bool) -> None:
    from manager.benchmark.compare import BETTER, SAME
    from manager.cli import benchmark_tables, shown

    if is_json:
        shown.as_json(comparison.as_dict())
    else:
        benchmark_tables.show_comparison(comparison)
    if comparison.verdict not in (BETTER, SAME):
        sys.exit(1)


def _show(document: Document, comparison: Comparison | None, faults: list[str], is_json: bool) -> None:
    from manager.cli import benchmark_tables, shown

    if is_json:
        shown.as_json(
            {**document.as_dict(), "comparison": comparison and comparison.as_dict(), "failed_conditions": faults}
        )
        return
    benchmark_tables.show(document)
    if comparison is not None:
        click.echo("\nAgainst the baseline")
        benchmark_tables.show_comparison(comparison)


def _end(held: Session, comparison: Comparison | None, faults: list[str]) -> None:
    """End with the exit code that fits; see manager/cli/endings.py."""
    from manager.benchmark import session
    from manager.benchmark.compare import BETTER, SAME

    if held.is_interrupted:
        raise KeyboardInterrupt
    if held.fault:
        raise click.ClickException(held.fault)
    if failed := session.unanswered(held.document):
        text, is_away = failed
        raise (Unreachable if is_away else Refused)(hinted(text, "is the token right? see docs/benchmark.md"))
    if faults:
        raise click.ClickException("\n".join(["The run fails:", *(f"  {each}" for each in faults)]))
    if comparison is not None and comparison.verdict not in (BETTER, SAME):
        raise click.ClickException(f"Against the baseline it is {comparison.verdict}.")
