"""docs/performance.md has a place for every table, and tells of every scenario and subject."""

import pytest

from tests.bench import document
from tests.bench.document import DOCUMENT, DocumentError
from tests.bench.scenario import SUBJECTS
from tests.bench.scenarios import ALL

CONTENT = {
    "machine": {"cores": 2},
    "rows": [],
    "ratios": {"small-1/direct": 0.5},
    "cpu_ratios": {"small-1/litellm": 12.5},
    "targets": [{"target": "speed", "wanted": "≥ 2 ×", "measured": 3.0, "verdict": "reached"}],
}


def test_tables_take_the_place_of_those_before_and_nothing_else_changes() -> None:
    text = DOCUMENT.read_text()

    once = document.update(text, CONTENT, {})

    assert "| speed | ≥ 2 × | 3 | reached |" in once
    assert "| small-1 | 0.5 × |" in once
    assert once.partition("<!-- bench")[0] == text.partition("<!-- bench")[0]
    assert document.update(once, CONTENT, {}) == once


def test_a_document_without_places_is_refused() -> None:
    with pytest.raises(DocumentError, match="<!-- bench: machine -->"):
        document.update("# Performance\n", CONTENT, {})


@pytest.mark.parametrize("name", [*SUBJECTS, *(scenario.name for scenario in ALL)])
def test_every_subject_and_scenario_is_explained(name: str) -> None:
    assert f"`{name}`" in DOCUMENT.read_text().partition("<!-- bench")[0]


def test_names_of_scenarios_are_unique() -> None:
    assert len({scenario.name for scenario in ALL}) == len(ALL)
