"""Rules of moments at the edges of the calendar: refused where UTC has none, else taken like any other."""

import pytest

from tests.manager.api.conftest import Api, faulty

BEYOND = ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
EDGES = ["0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z", "9999-12-31T23:59:59.999999Z"]
FILTERS = [
    ("tokens", "expires_before"),
    ("tokens", "expires_after"),
    ("tokens", "last_used_before"),
    ("tokens", "last_used_after"),
    ("requests", "from"),
    ("requests", "until"),
    ("usage", "from"),
    ("usage", "until"),
    ("audit", "from"),
    ("audit", "until"),
    ("audit/export", "from"),
    ("audit/export", "until"),
]
PRICE = {"provider": "openai", "model": "gpt-5", "prompt": "1.25"}


@pytest.mark.parametrize(("path", "name"), FILTERS)
def test_in_filters(api: Api, path: str, name: str) -> None:
    for moment in BEYOND:
        assert faulty(api.get(path, **{name: moment})) == [name]
    for moment in EDGES:
        assert api.get(path, **{name: moment}).status_code == 200
        if path == "usage":
            assert api.get(path, **{name: moment}, group_by="day").json["items"] == []


@pytest.mark.parametrize("name", ["expires_before", "expires_after", "last_used_before", "last_used_after"])
def test_in_a_revocation(api: Api, name: str) -> None:
    for moment in BEYOND:
        assert faulty(api.post("tokens/revoke", **{name: moment})) == [name]
    for moment in EDGES:
        assert api.post("tokens/revoke", **{name: moment}).status_code == 200


def test_in_what_is_made(api: Api) -> None:
    project = api.project()
    token = api.token(project["id"])

    for moment in [*BEYOND, *EDGES]:
        for answer in (
            api.post("tokens", project_id=project["id"], expires_at=moment),
            api.patch(f"tokens/{token['id']}", expires_at=moment),
            api.post(f"tokens/{token['id']}/refresh", expires_at=moment),
        ):
            assert faulty(answer) == ["expires_at"]


@pytest.mark.parametrize("name", ["valid_from", "valid_until"])
def test_in_prices_a_day_is_left_for_the_zone_of_the_database(api: Api, name: str) -> None:
    for moment in [*BEYOND, *EDGES]:
        assert faulty(api.put("prices", **PRICE, **{name: moment})) == [name]
    for moment in ["0001-01-02T00:00:00Z", "9999-12-30T23:59:59Z"]:
        made = api.put("prices", **PRICE, **{name: moment})
        assert made.status_code == 200 and api.get(f"prices/{made.json['id']}").json[name] == made.json[name]
