"""Rules of load processes: they do a plan together, and however they end, what was seen stays."""

import asyncio
import os
import signal
import ssl
from pathlib import Path

import pytest
import trustme

from manager.benchmark import workers
from manager.benchmark.legs import Leg
from manager.benchmark.plan import Plan, Step, Target
from manager.benchmark.template import DEFAULT
from manager.benchmark.workers import LoadError, Run, Seen
from tests.manager.benchmark.server import Say, serving

TOKEN = "sk-stands-for-a-token-0123"


async def ran(plan: Plan, stop: asyncio.Event | None = None, watch: workers.Watch = lambda *_: None) -> Run:
    made = Run()
    await asyncio.wait_for(workers.run(plan, made, stop or asyncio.Event(), watch), 60)
    return made


async def test_processes_do_together_what_is_planned() -> None:
    with serving() as server, serving() as other:
        targets = (Target("a", server.url, TOKEN), Target("b", other.url))
        steps = (Step((4, 4), requests=40), Step((1, 1), requests=3), Step((4, 4), (200.0, 200.0), requests=20))
        body = DEFAULT.replace("}]}", "}], {{more}}}")
        variables = (("model", "m"), ("more", '"n": 1'))
        made = await ran(Plan(targets, steps, body=body, variables=variables, processes=2))

    assert made.is_whole
    counts = {place: seen.tally.whole_latency.count for place, seen in made.seen.items()}
    assert counts == {(0, 0): 40, (0, 1): 40, (1, 0): 3, (1, 1): 3, (2, 0): 20, (2, 1): 20}
    assert all(seen.window_ns > 0 for seen in made.seen.values())
    assert {"Bearer " + TOKEN in head for head, _ in server.requests} == {True}
    assert {TOKEN in head for head, _ in other.requests} == {False}
    assert len({body for _, body in server.requests}) == 63, "requests are numbered, once each"


async def test_turns_follow_each_other_in_the_course_of_a_target() -> None:
    with serving(lambda number: [Say(after=0.1)]) as server, serving() as other:
        plan = Plan((Target("a", server.url), Target("b", other.url)), (Step((1, 1), requests=12),))
        made = await ran(plan)

    tally = made.seen[0, 0].tally
    spread = max(tally.latency) - min(tally.latency)
    assert spread >= 11 * 0.1 / plan.interval_s - 1 and made.seen[0, 0].window_ns >= 1.2e9


async def test_warming_up_does_not_count_and_leaves_its_connections_open() -> None:
    with serving(lambda number: [Say(after=0.01)]) as server:
        plan = Plan((Target("a", server.url),), (Step((2, 2), requests=5),), warm_up_s=0.3)
        made = await ran(plan)

    tally = made.seen[0, 0].tally
    assert tally.whole_latency.count == 5 < len(server.requests)
    assert (tally.counts["opened"], tally.counts["reused"], server.connections) == (0, 5, 2)


async def test_a_run_that_is_stopped_keeps_what_was_seen() -> None:
    stop = asyncio.Event()

    def watch(leg: Leg, begins_ns: int, seen: Seen) -> None:
        if seen.tally.whole_latency.count:
            stop.set()

    with serving(lambda number: [Say(after=0.01)]) as server:
        steps = (Step((2, 2), seconds=3600), Step((2, 2), seconds=3600))
        made = await ran(Plan((Target("a", server.url),), steps, processes=2), stop, watch)

    assert not made.is_whole and list(made.seen) == [(0, 0)]
    assert made.seen[0, 0].tally.whole_latency.count > 0 and made.seen[0, 0].window_ns > 0


async def test_a_process_that_dies_fails_the_run_and_leaves_no_other_one() -> None:
    found: list[int] = []

    def watch(leg: Leg, begins_ns: int, seen: Seen) -> None:
        if not found and seen.tally.whole_latency.count:
            found.extend(children())
            os.kill(found[0], signal.SIGKILL)

    with serving() as server:
        plan = Plan((Target("a", server.url),), (Step((4, 4), seconds=3600),), processes=2)
        with pytest.raises(LoadError, match="ended unexpectedly"):
            await ran(plan, watch=watch)

    assert len(found) == 2 and not set(found) & set(children())


async def test_arguments_and_environment_of_processes_hold_no_token() -> None:
    seen: list[bytes] = []

    def watch(leg: Leg, begins_ns: int, so_far: Seen) -> None:
        for child in children():
            seen.append(Path(f"/proc/{child}/cmdline").read_bytes() + Path(f"/proc/{child}/environ").read_bytes())

    with serving() as server:
        await ran(Plan((Target("a", server.url, TOKEN),), (Step((1, 1), requests=5),)), watch=watch)

    assert seen and not any(TOKEN.encode() in each for each in seen)


async def test_certificates_are_verified(tmp_path: Path) -> None:
    authority, known = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(known))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)

    with serving(tls=tls) as server:
        target = Target("a", f"https://localhost:{server.port}")
        good = await ran(Plan((target,), (Step((1, 1), requests=2),), ca_file=str(known)))
        bad = await ran(Plan((target,), (Step((1, 1), requests=2),)))

    assert (good.seen[0, 0].tally.statuses, good.seen[0, 0].tally.errors) == ({200: 2}, {})
    assert bad.seen[0, 0].tally.errors == {"TLS": 2}


def children() -> list[int]:
    """Load processes of this one, which may have others as well."""
    every = [child for each in Path("/proc/self/task").glob("*/children") for child in each.read_text().split()]
    return [int(child) for child in every if b"manager.benchmark.worker" in Path(f"/proc/{child}/cmdline").read_bytes()]
