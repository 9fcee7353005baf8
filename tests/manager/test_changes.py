"""Rules of what the audit tells of a change."""

from manager.changes import between


def test_only_what_differs_is_told() -> None:
    before, after = {"name": "a", "weight": 1, "label": ""}, {"name": "b", "weight": 1, "label": None}

    assert between(before, after) == {"before": {"name": "a", "label": ""}, "after": {"name": "b", "label": None}}


def test_a_change_of_nothing_is_not_told() -> None:
    assert between({"name": "a"}, {"name": "a"}) is None


def test_what_is_new_was_nothing_before() -> None:
    assert between({}, {"name": "a"}) == {"before": {"name": None}, "after": {"name": "a"}}
