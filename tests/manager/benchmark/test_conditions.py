"""Rules of conditions: what they mean, what they look at, and faults that show where."""

import pytest

from manager.benchmark.conditions import ConditionError, faults, parse
from manager.benchmark.tally import Tally
from tests.manager.benchmark.runs import MS, run

MEANT = {
    "p99>250ms": ("", "p99", ">", 250),
    "p99.9 >= 1.5s": ("", "p99.9", ">=", 1500),
    " max<100us ": ("", "max", "<", 0.1),
    "mean>3": ("", "mean", ">", 3),
    "latency.p50<=3": ("", "p50", "<=", 3),
    "first_byte.p95>1s": ("", "first_byte.p95", ">", 1000),
    "gap.p99.9>1s": ("", "gap.p99.9", ">", 1000),
    "errors>0": ("", "errors", ">", 0),
    "my-proxy:error_rate>=0.5%": ("my-proxy", "error_rate", ">=", 0.5),
    "proxy : throughput<100/s": ("proxy", "throughput", "<", 100),
}


@pytest.mark.parametrize("text", MEANT)
def test_conditions_are_read(text: str) -> None:
    found = parse(text)

    assert (found.target, found.metric, found.sign, found.limit) == (*MEANT[text][:3], pytest.approx(MEANT[text][3]))


FAULTY = {
    "": (1, "the name of a metric"),
    ">3": (1, "the name of a metric"),
    "p98>3": (1, "p98 is none of"),
    "nonsense.p99>3": (1, "nonsense.p99 is none of"),
    "a:p98>3": (3, "p98 is none of"),
    "p99": (4, "one of < <= > >="),
    "p99 = 3": (5, "one of < <= > >="),
    "a:p99:3": (6, "one of < <= > >="),
    "p99 > x": (7, "a number"),
    "p99>3kg": (6, "us, ms, s"),
    "p99>3ms and more": (6, "us, ms, s"),
    "errors>3%": (9, "stands nothing"),
    "throughput<3ms": (13, "stands /s"),
}


@pytest.mark.parametrize("text", FAULTY)
def test_a_fault_is_shown_where_it_is(text: str) -> None:
    position, reason = FAULTY[text]

    with pytest.raises(ConditionError) as raised:
        parse(text)

    said = str(raised.value)
    assert reason in said and f"at position {position}:" in said
    assert said.endswith("\n  " + " " * (position - 1) + "^")


def seen() -> Tally:
    made = Tally()
    for ms in range(1, 101):
        made.answered(0, ms * MS)
    made.done = 100.0
    made.failed(0, "timeout")
    return made


@pytest.mark.parametrize(
    ("text", "fails"),
    [
        ("p99>98ms", True),
        ("p99>100ms", False),
        ("p50<51ms", True),
        ("throughput<10/s", False),
        ("throughput<=10/s", True),
        ("errors>0", True),
        ("error_rate>1%", False),
        ("a:errors>0", True),
        ("b:errors>0", True),
        ("gap.p99>9s", True),
    ],
)
def test_a_run_fails_if_it_is_so_or_cannot_be_known(text: str, fails: bool) -> None:
    assert bool(list(faults([parse(text)], run(seen(), seconds=10)))) is fails


def test_what_failed_is_told_with_its_figure() -> None:
    (said,) = faults([parse("p99 > 50ms")], run(seen(), seconds=10))

    assert said.startswith("p99 > 50ms: it is 98.8") and "8 connections" in said


def test_a_condition_of_one_target_does_not_look_at_others() -> None:
    assert list(faults([parse("b:errors>0")], run(seen(), Tally()))) == []
