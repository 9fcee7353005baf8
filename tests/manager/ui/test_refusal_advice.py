"""Rules of the advice on error codes: there is some for each code that is documented, and for no other."""

import re
from pathlib import Path

import pytest

from manager.ui import refusal_advice
from manager.ui.refusal_advice import ADVICE

DOCUMENTED = re.findall(
    r"^\| (\d{3}) \| `(\w+)` \|", (Path(__file__).parents[3] / "docs" / "errors.md").read_text(), re.MULTILINE
)


def test_every_documented_code_has_advice_with_its_statuses() -> None:
    statuses: dict[str, set[str]] = {}
    for status, code in DOCUMENTED:
        statuses.setdefault(code, set()).add(status)

    assert len(statuses) > 20
    assert {code: set(advice.statuses.split(", ")) for code, advice in ADVICE.items()} == statuses


@pytest.mark.parametrize("code", ADVICE)
def test_advice_is_in_whole_sentences(code: str) -> None:
    assert all(text[0].isupper() and text.endswith(".") for text in (ADVICE[code].meaning, ADVICE[code].remedy))


def test_of_codes_of_others_there_is_none() -> None:
    assert (refusal_advice.of("insufficient_funds"), refusal_advice.of(None)) == (None, None)
