"""Rules of entity tags: a change asks for the state, a look for everything that is shown."""

import pytest

from manager import etags
from manager.errors import Stale

STATE = etags.state_of("a", 1)
TAG = etags.tag(STATE, b"shown")


def test_a_state_differs_with_each_of_its_parts() -> None:
    assert len({STATE, etags.state_of("a", 2), etags.state_of("b", 1), etags.state_of("a", "1")}) == 4


def test_a_tag_differs_with_what_is_shown() -> None:
    assert etags.tag(STATE, b"shown") == TAG != etags.tag(STATE, b"shown later")
    assert TAG.startswith('"') and TAG.endswith('"') and TAG.isascii()


@pytest.mark.parametrize(
    "if_match",
    [None, "*", " * ", TAG, etags.tag(STATE, b"counted since"), f'"other-1", {TAG}', f'W/"x",{TAG}'],
    ids=["none", "any", "any with space", "same", "same state", "one of two", "beside a weak one"],
)
def test_a_change_of_what_is_expected_is_made(if_match: str | None) -> None:
    etags.Expected(if_match).check(STATE)


@pytest.mark.parametrize(
    "if_match",
    ["", "x", '"other-1"', TAG.strip('"'), f"W/{TAG}", etags.tag(etags.state_of("a", 2), b"shown"), '""', "\x00"],
    ids=["empty", "no tag", "other", "no quotes", "weak", "later", "empty tag", "nul"],
)
def test_a_change_of_anything_else_is_stale(if_match: str) -> None:
    with pytest.raises(Stale):
        etags.Expected(if_match).check(STATE)


@pytest.mark.parametrize(
    ("if_none_match", "is_known"),
    [
        ("*", True),
        (TAG, True),
        (f"W/{TAG}", True),
        (f'"a", {TAG}', True),
        (etags.tag(STATE, b"counted since"), False),
        ("", False),
        ("x", False),
    ],
    ids=["any", "same", "weak", "one of two", "same state", "empty", "no tag"],
)
def test_who_knows_all_that_is_shown_need_not_see_it(if_none_match: str, is_known: bool) -> None:
    assert etags.is_known(if_none_match, TAG) is is_known
