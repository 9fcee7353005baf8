"""Rules of policies: a hundred entries, texts that something could fit, caps that are numbers."""

from typing import Any

import pytest

from manager import policies
from manager.errors import Invalid
from shared.models import Policy


def test_what_is_left_out_limits_nothing() -> None:
    assert policies.check({}) == Policy()


def test_a_policy_is_taken_as_it_is_said() -> None:
    wanted: dict[str, Any] = {
        "allowed_models": ["gpt-4o*", "ft:gpt-?:acme", "模型"],
        "denied_models": ["*"],
        "denied_parameters": ["logit_bias"],
        "max_values": {"max_tokens": 4096, "temperature": 0.5, "n": 0},
    }

    taken = policies.check(wanted)

    assert taken.allowed_models == ("gpt-4o*", "ft:gpt-?:acme", "模型")
    assert (taken.denied_models, taken.denied_parameters) == (("*",), ("logit_bias",))
    assert taken.max_values == {"max_tokens": 4096.0, "temperature": 0.5, "n": 0.0}


@pytest.mark.parametrize(
    ("part", "entry"),
    [("allowed_models", "x" * 200), ("denied_models", "x" * 200), ("denied_parameters", "x" * 100)],
)
def test_there_are_up_to_a_hundred_entries_of_a_length(part: str, entry: str) -> None:
    assert getattr(policies.check({part: [entry] * 100}), part) == (entry,) * 100
    for beyond in ([entry] * 101, [f"{entry}x"], [""]):
        with pytest.raises(Invalid, match=part) as refused:
            policies.check({part: beyond})
        assert refused.value.field == "policy"


def test_there_are_up_to_a_hundred_caps() -> None:
    caps = {f"{number:0100}": 1.0 for number in range(101)}

    with pytest.raises(Invalid, match="max_values"):
        policies.check({"max_values": caps})
    caps.popitem()
    assert policies.check({"max_values": caps}).max_values == caps


@pytest.mark.parametrize("text", [" gpt-4o", "gpt-4o ", "a\nb", "a\0b", "\ud800", "\x85a"], ids=ascii)
@pytest.mark.parametrize("part", ["allowed_models", "denied_models", "denied_parameters"])
def test_a_text_that_nothing_could_fit_is_refused(part: str, text: str) -> None:
    with pytest.raises(Invalid, match="control characters"):
        policies.check({part: [text]})
    with pytest.raises(Invalid, match="control characters"):
        policies.check({"max_values": {text: 1}})


@pytest.mark.parametrize("cap", [-1, -0.001, float("nan"), float("inf"), float("-inf")])
def test_a_cap_is_a_finite_number_from_0_on(cap: float) -> None:
    with pytest.raises(Invalid, match="finite"):
        policies.check({"max_values": {"n": cap}})
