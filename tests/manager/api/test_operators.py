"""Rules of /manage/operators and /manage/me: for admins alone, tokens shown once, every change told in the audit."""

from typing import Any

import pytest

from tests.manager.api.conftest import Api, created, faulty, problem
from tests.manager.conftest import MANAGEMENT_TOKEN, one_database

NOBODY_ID = "018f0000-0000-7000-8000-00000000000f"


def made(api: Api, **wanted: Any) -> dict[str, Any]:
    return created(api.post("operators", **{"name": "ann", "role": "operator", **wanted}))


def told(api: Api, operator_id: str) -> list[tuple[str, Any]]:
    """What was done to an operator, oldest first."""
    events = api.get("audit", subject_id=operator_id).json["items"]
    return [(event["action"], event["detail"]) for event in reversed(events)]


def test_a_new_operator_is_shown_with_its_token_this_once(api: Api) -> None:
    new = made(api)

    shown = api.get(f"operators/{new['id']}").json
    assert new == shown | {"token": new["token"]} and new["token"].startswith("llmp-op-")
    assert api.get("operators").json == {"items": [shown], "next_cursor": None}
    assert shown | {"id": "", "created_at": ""} == {
        "id": "",
        "name": "ann",
        "role": "operator",
        "project_ids": None,
        "masked_token": f"llmp-op-****{new['token'][-4:]}",
        "expires_at": None,
        "created_at": "",
        "last_used_at": None,
        "revoked_at": None,
    }


def test_an_operator_may_in_and_its_use_is_shown(api: Api) -> None:
    new = made(api, role="auditor")
    ann = Api(api.client, new["token"])

    assert ann.get("projects").status_code == 200
    assert api.get(f"operators/{new['id']}").json["last_used_at"] is not None


def test_everybody_may_ask_who_they_are(api: Api) -> None:
    project_id = api.project()["id"]
    new = made(api, role="auditor", project_ids=[project_id])

    assert api.get("me").json == {"id": None, "name": "management", "role": "admin", "project_ids": None}
    assert Api(api.client, new["token"]).get("me").json == {
        "id": new["id"],
        "name": "ann",
        "role": "auditor",
        "project_ids": [project_id],
    }


def test_a_revoked_operator_is_out_at_once(api: Api) -> None:
    new = made(api)
    ann = Api(api.client, new["token"])
    assert ann.get("me").status_code == 200

    assert api.delete(f"operators/{new['id']}").status_code == 204

    answer = ann.get("me")
    assert problem(answer) == (401, "unauthorized") and "revoked" in answer.json["detail"]
    assert api.get(f"operators/{new['id']}").json["revoked_at"] is not None
    assert api.delete(f"operators/{new['id']}").status_code == 204
    assert problem(api.patch(f"operators/{new['id']}", role="admin")) == (409, "conflict")
    assert problem(api.post(f"operators/{new['id']}/rotate")) == (409, "conflict")


def test_another_token_takes_the_place_of_the_first(api: Api) -> None:
    new = made(api)

    rotated = api.post(f"operators/{new['id']}/rotate").json

    assert rotated["token"] != new["token"] and rotated["id"] == new["id"]
    assert Api(api.client, new["token"]).get("me").status_code == 401
    assert Api(api.client, rotated["token"]).get("me").json["name"] == "ann"


def test_a_change_of_role_holds_from_the_next_request_on(api: Api) -> None:
    new = made(api, role="auditor")
    ann = Api(api.client, new["token"])
    assert problem(ann.post("projects", name="x", api_key="sk-proj-0123456789abcdef")) == (403, "forbidden")

    assert api.patch(f"operators/{new['id']}", role="operator").json["role"] == "operator"

    assert ann.post("projects", name="x", api_key="sk-proj-0123456789abcdef").status_code == 201


def test_the_actor_of_what_an_operator_does_is_its_name(api: Api) -> None:
    ann = api.operator("operator", name="ann")
    project_id = ann.project()["id"]

    ann.delete(f"projects/{project_id}")

    [event] = api.get("audit", action="project.delete").json["items"]
    assert (event["actor"], event["address"]) == ("ann", "127.0.0.1")


def test_every_change_of_an_operator_is_told(api: Api) -> None:
    project_id = api.project()["id"]
    new = made(api)

    api.patch(f"operators/{new['id']}", project_ids=[project_id], role="operator")
    api.patch(f"operators/{new['id']}", role="operator")
    rotated = api.post(f"operators/{new['id']}/rotate").json
    for _ in range(2):
        api.delete(f"operators/{new['id']}")

    assert told(api, new["id"]) == [
        ("operator.create", {"after": {"name": "ann", "role": "operator", "project_ids": None, "expires_at": None}}),
        (
            "operator.update",
            {
                "before": {"project_ids": None},
                "after": {"project_ids": [project_id]},
            },
        ),
        ("operator.rotate", {"before": {"token": new["masked_token"]}, "after": {"token": rotated["masked_token"]}}),
        ("operator.revoke", {"name": "ann"}),
    ]
    text = api.get("audit").text
    assert new["token"][8:-4] not in text and rotated["token"][8:-4] not in text


@one_database
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", None),
        ("name", "management"),
        ("name", "x" * 201),
        ("name", "a\0"),
        ("role", "owner"),
        ("role", None),
        ("role", "ADMIN"),
        ("project_ids", []),
        ("project_ids", ["x"]),
        ("project_ids", NOBODY_ID),
        ("project_ids", [NOBODY_ID]),
        ("expires_in", 0),
        ("expires_in", "P1Y"),
        ("expires_in", "soon"),
        ("token", "llmp-op-mine"),
        ("id", NOBODY_ID),
    ],
)
def test_a_faulty_or_unknown_field_is_refused(api: Api, field: str, value: Any) -> None:
    new = made(api)

    assert faulty(api.post("operators", **{"name": "bob", "role": "auditor", field: value})) == [field]
    assert faulty(api.patch(f"operators/{new['id']}", **{field: value})) == [field]


@one_database
def test_the_list_is_filtered_and_sorted(api: Api) -> None:
    for name, role in [("bob", "auditor"), ("ann", "operator")]:
        made(api, name=name, role=role)

    def names(**query: Any) -> list[str]:
        return [row["name"] for row in api.get("operators", **query).json["items"]]

    assert names(sort="name") == ["ann", "bob"] and names(role="auditor") == ["bob"]
    assert faulty(api.get("operators", sort="token")) == ["sort"] and faulty(api.get("operators", role="x")) == ["role"]


@one_database
def test_a_change_of_nothing_is_refused(api: Api) -> None:
    assert faulty(api.patch(f"operators/{made(api)['id']}")) == ["_schema"]


@one_database
def test_names_of_all_the_world_are_taken(api: Api) -> None:
    for name in ("équipe 😀", "مرحبا", "'; DROP TABLE operators;--", "{{7*7}}", "*)(uid=*))(|(uid=*"):
        assert api.get(f"operators/{made(api, name=name)['id']}").json["name"] == name


@one_database
def test_who_is_not_there_is_not_found(api: Api) -> None:
    for method, path in [("GET", ""), ("DELETE", ""), ("POST", "/rotate")]:
        assert problem(api.send(method, f"operators/{NOBODY_ID}{path}")) == (404, "not_found")
    assert problem(api.patch(f"operators/{NOBODY_ID}", role="auditor")) == (404, "not_found")


@one_database
def test_an_operator_cannot_be_renamed(api: Api) -> None:
    assert faulty(api.patch(f"operators/{made(api)['id']}", name="bob")) == ["name"]


def test_a_name_that_is_taken_is_a_conflict_and_told_by_nobody(api: Api) -> None:
    made(api)

    assert problem(api.post("operators", name="ann", role="auditor")) == (409, "conflict")
    assert len(api.get("audit", action="operator.create").json["items"]) == 1


@one_database
@pytest.mark.parametrize("role", ["auditor", "operator"])
def test_operators_are_the_affair_of_admins_alone(api: Api, role: str) -> None:
    new = made(api)
    somebody = api.operator(role)

    for method, path in [
        ("GET", "operators"),
        ("GET", f"operators/{new['id']}"),
        ("DELETE", f"operators/{new['id']}"),
        ("POST", f"operators/{new['id']}/rotate"),
    ]:
        assert problem(somebody.send(method, path)) == (403, "forbidden")
    assert problem(somebody.post("operators", name="eve", role="admin")) == (403, "forbidden")
    assert problem(somebody.patch(f"operators/{new['id']}", role="admin")) == (403, "forbidden")
    assert Api(api.client, new["token"]).get("me").status_code == 200


@one_database
def test_an_admin_may_what_the_management_token_may(api: Api) -> None:
    boss = api.operator("admin")

    assert boss.get("operators").status_code == 200 and made(boss)["role"] == "operator"


@one_database
def test_an_operators_token_is_no_withering_token_nor_the_other_way_round(api: Api, published: Any) -> None:
    new = made(api)
    withering = api.token(api.project()["id"])["token"]

    assert published.token(new["token"]) == {}
    assert problem(Api(api.client, withering).get("me")) == (401, "unauthorized")
    assert MANAGEMENT_TOKEN not in (new["token"], withering)
