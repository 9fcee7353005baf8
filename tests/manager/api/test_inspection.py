"""Rules of a project's `inspection`: what may be chosen, what the data plane learns of it, and what the audit tells."""

from typing import Any

import pytest

from shared.inspection import Capture, Hidden, Inspection
from tests.manager.api.conftest import USUAL, Api, Published, faulty
from tests.manager.conftest import one_database

CHOSEN: dict[str, Any] = {
    "capture": "sampled",
    "share": 0.25,
    "max_body_bytes": 1000,
    "hidden": ["emails", "cards"],
    "json_paths": ["messages[*].content", "**.user"],
    "patterns": ["case-[0-9]+"],
}


def test_a_choice_is_kept_shown_and_published(api: Api, published: Published) -> None:
    made = api.project(inspection=CHOSEN)

    assert made["inspection"] == CHOSEN == api.get(f"projects/{made['id']}").json["inspection"]
    told = published.project(made["id"])
    assert (told.name, told.inspection) == (
        "search team",
        Inspection(
            Capture.SAMPLED,
            0.25,
            1000,
            (Hidden.EMAILS, Hidden.CARDS),
            ("messages[*].content", "**.user"),
            ("case-[0-9]+",),
        ),
    )


@one_database
def test_a_change_replaces_all_of_it_and_is_audited(api: Api) -> None:
    made = api.project(inspection=CHOSEN)

    changed = api.patch(f"projects/{made['id']}", inspection={"capture": "off"})

    assert changed.json["inspection"] == {**USUAL, "capture": "off"}
    [event] = api.get("audit", action="project.update").json["items"]
    assert event["detail"]["before"]["inspection"] == CHOSEN
    assert event["detail"]["after"]["inspection"]["capture"] == "off"


FAULTY: dict[str, dict[str, Any]] = {
    "capture": {"capture": "everything"},
    "share above": {"share": 1.5},
    "share of nothing": {"share": float("nan")},
    "size": {"max_body_bytes": (1 << 20) + 1},
    "negative size": {"max_body_bytes": -1},
    "hidden": {"hidden": ["names"]},
    "path": {"json_paths": ["a..b"]},
    "empty path": {"json_paths": [""]},
    "pattern": {"patterns": ["("]},
    "look-ahead": {"patterns": ["(?=x)"]},
    "back reference": {"patterns": [r"(a)\1"]},
    "huge pattern": {"patterns": ["(x{1000}){1000}"]},
    "long pattern": {"patterns": ["x" * 501]},
    "too many": {"patterns": ["x"] * 51},
    "unknown": {"nonsense": 1},
}


@one_database
@pytest.mark.parametrize("case", FAULTY)
def test_what_makes_no_sense_is_refused(api: Api, case: str) -> None:
    project = api.project()

    answer = api.patch(f"projects/{project['id']}", inspection=FAULTY[case])

    assert answer.status_code in (400, 422), answer.text
    if answer.status_code == 422:
        assert faulty(answer)[0].startswith(("inspection", "json_paths", "patterns", "share", "max_body_bytes"))
    assert api.get(f"projects/{project['id']}").json["inspection"] == USUAL
