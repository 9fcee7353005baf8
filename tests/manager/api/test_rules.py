"""Rules of /manage/rules: which filters are taken, in which order rules are asked, who may make them, what is told."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from manager.principals import Principal, Role, Scope
from shared.flow_schema import Message
from shared.redis_schema import RulesChanged
from shared.rules_schema import RULES, Action, OnDeadline, Rule, decode_rules
from tests.flow_records import JSON, ended, request_id, tell
from tests.manager.api.conftest import Api, created, faulty, problem
from tests.manager.conftest import one_database
from tests.manager.live_workers import Ear

DENY = {"name": "no salaries", "filter": '~bq "salar(y|ies)"', "action": "deny"}

type SignIn = Callable[[Principal], None]


@pytest.fixture
def ear(redis_client: redis.Redis) -> Iterator[Ear]:
    made = Ear(redis_client)
    yield made
    made.close()


def rule(api: Api, **fields: Any) -> dict[str, Any]:
    return created(api.post("rules", **{**DENY, **fields}))


def in_force(client: redis.Redis) -> list[Rule]:
    """What the data plane reads."""
    return decode_rules(client.get(RULES) or b"").rules  # type: ignore[arg-type]


def names(api: Api) -> list[str]:
    return [each["name"] for each in api.get("rules").json["items"]]


# Making


def test_a_rule_is_in_force_at_once(api: Api, redis_client: redis.Redis, ear: Ear) -> None:
    project = api.project()

    made = rule(api, action="hold", project_id=project["id"], hold_seconds=30, on_deadline="release")

    assert in_force(redis_client) == [
        Rule(
            made["id"], "no salaries", DENY["filter"], Action.HOLD, project["id"], "", 30, OnDeadline.RELEASE,
        )
    ]  # fmt: skip
    assert [type(message) for message in ear.heard()] == [RulesChanged]
    [event] = api.get("audit", action="rule.create").json["items"]
    assert (event["subject_id"], event["project_id"]) == (made["id"], project["id"])
    assert event["detail"]["after"]["filter"] == DENY["filter"]


@one_database
def test_a_rule_changes_and_goes(api: Api, redis_client: redis.Redis) -> None:
    made = rule(api)
    path = f"rules/{made['id']}"

    changed = api.patch(path, filter="~d example", action="tag", tag="odd")
    assert (changed.status_code, changed.json["tag"], changed.json["version"]) == (200, "odd", made["version"] + 1)
    assert [(each.filter, each.tag) for each in in_force(redis_client)] == [("~d example", "odd")]
    assert api.patch(path, is_active=False).status_code == 200 and in_force(redis_client) == []
    assert api.delete(path).status_code == 204 and api.get(path).status_code == 404
    told = api.get("audit").json["items"]
    assert [event["action"] for event in told][:3] == ["rule.delete", "rule.update", "rule.update"]


@one_database
def test_what_is_changed_to_what_it_was_is_not_changed(api: Api, ear: Ear) -> None:
    made = rule(api)
    before = api.get(f"rules/{made['id']}").headers["etag"]

    assert api.patch(f"rules/{made['id']}", filter=DENY["filter"]).headers["etag"] == before
    assert api.get("audit", action="rule.update").json["items"] == []


@one_database
def test_who_looked_at_another_one_changes_nothing(api: Api) -> None:
    made = rule(api)
    seen = {"if-match": api.get(f"rules/{made['id']}").headers["etag"]}
    api.patch(f"rules/{made['id']}", tag="x")

    for method in ("PATCH", "DELETE"):
        answer = api.send(method, f"rules/{made['id']}", seen, json={"tag": "y"} if method == "PATCH" else None)
        assert problem(answer) == (412, "precondition_failed")


FAULTY: dict[str, tuple[dict[str, Any], str]] = {
    "syntax": ({"filter": "~bq ("}, "filter"),
    "no filter of requests": ({"filter": "~s"}, "filter"),
    "look-ahead": ({"filter": '~bq "(?=x)"'}, "filter"),
    "empty": ({"filter": "  "}, "filter"),
    "long": ({"filter": "x" * 2001}, "filter"),
    "no tag": ({"action": "tag"}, "tag"),
    "endless hold": ({"action": "hold", "hold_seconds": 601}, "hold_seconds"),
    "action": ({"action": "burn"}, "action"),
    "name": ({"name": ""}, "name"),
    "past": ({"expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
    "project": ({"project_id": "x"}, "project_id"),
}


@one_database
@pytest.mark.parametrize("case", FAULTY)
def test_a_faulty_rule_is_refused_and_what_was_in_force_stays(api: Api, redis_client: redis.Redis, case: str) -> None:
    made, (fields, field) = rule(api), FAULTY[case]

    refused = faulty(api.post("rules", **{**DENY, "name": "another", **fields}))
    faulty(api.patch(f"rules/{made['id']}", **fields))

    assert refused == [field]
    assert [each.filter for each in in_force(redis_client)] == [DENY["filter"]]


@one_database
def test_a_syntax_error_says_where(api: Api) -> None:
    answer = api.post("rules", **{**DENY, "filter": "~m POST & ~bq ("})

    assert "At character 15" in answer.json["errors"]["filter"][0]


@one_database
def test_a_name_is_given_once(api: Api) -> None:
    rule(api)

    assert problem(api.post("rules", **DENY)) == (409, "conflict")


# Order


@one_database
def test_rules_are_asked_in_order(api: Api, redis_client: redis.Redis) -> None:
    made = [rule(api, name=name) for name in ("a", "b", "c")]

    answer = api.put("rules/order", ids=[made[2]["id"], made[0]["id"], made[1]["id"]])

    assert answer.status_code == 200 and names(api) == ["c", "a", "b"]
    assert [each.name for each in in_force(redis_client)] == ["c", "a", "b"]
    assert api.get("audit", action="rule.order").json["items"][0]["detail"]["after"] == ["c", "a", "b"]
    for ids in ([made[0]["id"]], [made[0]["id"]] * 3):
        assert faulty(api.put("rules/order", ids=ids)) == ["ids"]


# Whose


@one_database
def test_operators_make_rules_of_their_projects_alone(api: Api, signed_in: SignIn) -> None:
    own, other = api.project("own"), api.project("other")
    of_all, foreign = rule(api, name="of all"), rule(api, name="foreign", project_id=other["id"])
    signed_in(Principal("ann", Role.OPERATOR, Scope(frozenset([uuid.UUID(own["id"])]))))

    mine = rule(api, name="mine", project_id=own["id"])

    assert names(api) == ["mine"]
    assert api.patch(f"rules/{mine['id']}", tag="x").status_code == 200
    assert problem(api.post("rules", **DENY)) == (403, "forbidden")
    assert problem(api.patch(f"rules/{mine['id']}", project_id=None)) == (403, "forbidden")
    assert problem(api.post("rules", **DENY, project_id=other["id"])) == (404, "not_found")
    for hidden in (of_all, foreign):
        assert problem(api.get(f"rules/{hidden['id']}")) == (404, "not_found")
        assert problem(api.delete(f"rules/{hidden['id']}")) == (404, "not_found")


@one_database
def test_rules_go_with_their_project(api: Api, redis_client: redis.Redis) -> None:
    project = api.project()
    rule(api, project_id=project["id"])
    api.delete(f"projects/{project['id']}")

    assert api.delete(f"projects/{project['id']}?purge=true").status_code == 204
    assert names(api) == []


# Trying


@one_database
def test_a_filter_is_tried_on_what_was_recorded(api: Api, redis_client: redis.Redis) -> None:
    tell(redis_client, ended(1), ended(2, url="https://api.openai.com/v1/embeddings"))

    tried = api.post("rules/check", filter="~u embeddings").json
    wrong = api.post("rules/check", filter="~u (").json

    assert (tried["is_valid"], tried["matched"], tried["count"]) == (True, [request_id(2)], 1)
    assert (tried["looked_at"], tried["is_whole"]) == (2, True)
    assert (wrong["is_valid"], wrong["position"]) == (False, 3) and wrong["message"]


@one_database
def test_a_trial_says_about_which_requests_it_does_not_know_and_why(api: Api, redis_client: redis.Redis) -> None:
    unseen = [ended(number, request=Message(JSON, 70)) for number in range(1, 6)]
    cut = ended(6, request=Message(JSON, 900, b"hel", is_cut=True))
    tell(redis_client, *unseen, cut, ended(7))

    tried = api.post("rules/check", filter="~b hello").json

    assert (tried["count"], tried["unsure_count"], tried["looked_at"]) == (0, 6, 7)
    assert set(tried["unsure"]) == {request_id(number) for number in range(1, 7)}
    assert tried["doubts"] == [{"reason": "body_not_recorded", "count": 5}, {"reason": "body_cut", "count": 1}]
    assert api.post("rules/check", filter="~u chat").json["doubts"] == []


@one_database
def test_a_search_that_takes_too_long_is_not_known(api: Api, redis_client: redis.Redis) -> None:
    body = b"ab" * 1_500_000
    tell(redis_client, ended(request=Message(JSON, len(body), body)))

    tried = api.post("rules/check", filter="~b a[ab]{900}c").json

    assert tried["doubts"] == [{"reason": "search_too_long", "count": 1}]


@one_database
def test_a_filter_is_not_tried_on_what_was_not_let_in(api: Api, redis_client: redis.Redis) -> None:
    tell(redis_client, ended(1), ended(2, route="", outcome="refused"), ended(3, route="", project_id="", token_id=""))

    tried = api.post("rules/check", filter="~all").json

    assert (tried["matched"], tried["looked_at"]) == ([request_id(1)], 1)
