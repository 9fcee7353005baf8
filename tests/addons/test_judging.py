"""Rules of asking rules: in order, until one decides; large bodies beside the loop and not without end."""

import random
import time

import pytest

from addons.filter_subject import Subject
from addons.judging import LONGEST_TAG, MOST_TAGS, Judges, judge
from addons.rule_book import CompiledRule, compiled
from shared.rules_schema import Action, Rule

NOW = 1_000_000


def subject(body: bytes | None = b"a plan") -> Subject:
    return Subject("POST", "https://api.example/v1/chat", [], "", body, True, lambda tags: " ".join(tags))


def rules(*written: tuple[str, Action]) -> list[CompiledRule]:
    return compiled(
        [Rule(str(at), f"rule {at}", filter, action, tag=f"t{at}") for at, (filter, action) in enumerate(written)]
    )


@pytest.mark.parametrize("decides", [Action.ALLOW, Action.HOLD, Action.DENY], ids=str)
def test_the_first_that_decides_ends_it(decides: Action) -> None:
    verdict = judge(
        rules(
            ("~b elsewhere", Action.DENY),
            ("~b plan", Action.TAG),
            ("~comment t1", Action.REDACT),
            ("~all", decides),
            ("~all", Action.TAG),
            ("~all", Action.DENY),
        ),
        subject(),
        NOW,
    )

    assert verdict.decided is not None and verdict.decided.action is decides
    assert (verdict.tags, verdict.is_hidden) == (("t1",), True)
    assert [hit.name for hit in verdict.hits] == ["rule 1", "rule 2", "rule 3"]


def test_without_one_that_decides_a_request_passes() -> None:
    verdict = judge(rules(("~all", Action.TAG), ("~b elsewhere", Action.DENY)), subject(), NOW)

    assert verdict.decided is None and verdict.tags == ("t0",) and not verdict.is_hidden


@pytest.mark.parametrize(("expires_at", "is_denied"), [(0, True), (NOW - 1, False), (NOW, False), (NOW + 1, True)])
def test_a_rule_is_asked_until_it_expires(expires_at: int, is_denied: bool) -> None:
    verdict = judge(compiled([Rule("1", "r", "~all", Action.DENY, expires_at_ms=expires_at)]), subject(), NOW)

    assert (verdict.decided is not None) is is_denied


@pytest.mark.parametrize("action", list(Action), ids=str)
@pytest.mark.parametrize("filter", ["~b x", "!~b x"])
def test_a_body_that_cannot_be_read_fits_all_but_those_that_allow(action: Action, filter: str) -> None:
    verdict = judge(rules((filter, action)), subject(None), NOW)

    assert bool(verdict.hits) is (action is not Action.ALLOW)


def test_tags_are_bounded() -> None:
    long = [Rule(str(at), f"{at} {'x' * 99}", "~all", Action.TAG) for at in range(MOST_TAGS + 5)]

    verdict = judge(compiled([*long, *long]), subject(), NOW)

    assert len(verdict.tags) == MOST_TAGS and {len(tag) for tag in verdict.tags} == {LONGEST_TAG}


async def test_a_search_that_takes_too_long_ends_as_if_the_body_could_not_be_read() -> None:
    judges = Judges(seconds=0.05)
    body = bytes(random.Random(1).choices(b"ab", k=300_000))  # noqa: S311
    started = time.perf_counter()

    verdict = await judges.judge(rules(("~b 'a[ab]{900}c'", Action.DENY)), subject(body), NOW)

    judges.done()
    assert verdict.decided is not None and time.perf_counter() - started < 30


async def test_a_large_body_is_judged_like_any_other() -> None:
    judges = Judges()

    verdict = await judges.judge(rules(("~b needle", Action.DENY)), subject(b"x" * 5_000_000 + b"needle"), NOW)

    judges.done()
    assert verdict.decided is not None
