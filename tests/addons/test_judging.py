"""Rules of asking rules: in order, until one decides; large bodies beside the loop and not without end."""

import asyncio
import random

import pytest

from addons.filter_subject import Subject
from addons.judging import AT_ONCE_BYTES, LONGEST_TAG, MOST_TAGS, Judges, is_quick, judge
from addons.rule_book import Chapter, CompiledRule, chapters, compiled
from shared.rules_schema import Action, Rule

NOW = 1_000_000


# What RE2 takes its longest for: some 4 µs for each byte.
SLOW = "a[ab]{900}c"
RANDOM = bytes(random.Random(1).choices(b"ab", k=300_000))  # noqa: S311


def subject(body: bytes | None = b"a plan", **headers: str) -> Subject:
    lines = list(headers.items())
    return Subject("POST", "https://api.example/v1/chat", lines, "", body, True, lambda tags: " ".join(tags))


def chapter(*written: tuple[str, Action]) -> Chapter:
    return chapters(rules(*written))[""]


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


@pytest.mark.parametrize(
    ("written", "about", "expected"),
    [
        (["~b salary"] * 20, subject(RANDOM[:2000]), True),
        (["~b salary"], subject(RANDOM[:AT_ONCE_BYTES]), True),
        (["~b salary"], subject(RANDOM[: AT_ONCE_BYTES + 1]), False),
        (["~u files"], subject(RANDOM), True),
        ([f"~b {SLOW}"], subject(RANDOM[:2000]), False),
        (["~b salary | ~b wages | ~b bonus"] * 200, subject(RANDOM[:2000]), False),
        ([f"~h {SLOW}"], subject(x="a" * 20_000), False),
        ([f"~h {SLOW}"], subject(x="a"), True),
    ],
    ids=["usual", "large", "larger", "only heads", "slow", "many rules", "slow for heads", "short head"],
)
def test_what_takes_long_is_not_judged_while_others_wait(written: list[str], about: Subject, expected: bool) -> None:
    assert is_quick(chapter(*[(filter, Action.DENY) for filter in written]), about) is expected


async def test_a_search_that_takes_too_long_ends_as_if_the_body_could_not_be_read() -> None:
    judges = Judges(seconds=0.05)

    verdict = await judges.judge(chapter((f"~b {SLOW}", Action.DENY)), subject(RANDOM), NOW, "p")

    judges.done()
    assert verdict.decided is not None


async def test_when_the_time_is_over_no_other_search_begins() -> None:
    judges, about = Judges(seconds=0.05), subject(RANDOM)

    await judges.judge(chapter(*[(f"~b {SLOW}", Action.TAG)] * 500), about, NOW, "p")
    freed = [asyncio.to_thread(judges._threads.submit(lambda: None).result) for _ in range(8)]
    await asyncio.wait_for(asyncio.gather(*freed), 60)  # All of the searches would take five minutes.

    judges.done()
    assert not about.affords(1)


async def test_the_searches_of_one_project_do_not_keep_others_waiting() -> None:
    judges = Judges(seconds=60)
    asked = chapter((f"~b {SLOW}", Action.DENY))
    slow = [asyncio.create_task(judges.judge(asked, subject(RANDOM), NOW, "slow")) for _ in range(20)]
    await asyncio.sleep(0)

    verdict = await judges.judge(chapter(("~b needle", Action.DENY)), subject(b"x" * 100_000 + b"needle"), NOW, "other")

    assert verdict.decided is not None and sum(each.done() for each in slow) < len(slow)
    for each in slow:
        each.cancel()
    judges.done()


async def test_heads_that_take_too_long_fit_all_but_what_allows() -> None:
    judges, about = Judges(seconds=0.0), subject(x="a" * 60_000)

    verdict = await judges.judge(chapter((f"~h {SLOW}", Action.ALLOW), (f"~h {SLOW}", Action.DENY)), about, NOW, "p")

    judges.done()
    assert [hit.action for hit in verdict.hits] == [Action.DENY]


def test_a_search_that_nobody_could_wait_for_is_not_begun() -> None:
    verdict = judge(rules((f"~b {SLOW}", Action.DENY)), subject(b"a" * 2_000_000), NOW)

    assert verdict.decided is not None


async def test_a_large_body_is_judged_like_any_other() -> None:
    judges = Judges()
    about = subject(b"x" * 5_000_000 + b"needle")

    verdict = await judges.judge(chapter(("~b elsewhere", Action.HOLD), ("~b needle", Action.DENY)), about, NOW, "p")

    judges.done()
    assert verdict.decided is not None and verdict.decided.action is Action.DENY
