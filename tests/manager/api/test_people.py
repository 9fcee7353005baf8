"""Rules of people on the API: their issuer's token lets them in as what their groups are, and is told in the audit."""

from collections.abc import Iterator

import pytest
import redis

from tests.manager.api.conftest import Api, problem
from tests.manager.conftest import Serve, one_database
from tests.manager.issuer import Issuer, Key, serving

pytestmark = one_database
KEY = Key("rsa-1")


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with serving(KEY) as running:
        yield running


@pytest.fixture
def boss(serve: Serve, database_url: str, redis_client: redis.Redis, valkey_url: str, issuer: Issuer) -> Api:
    """The management token's owner, of a service that trusts an issuer."""
    variables = {
        "DATABASE_URL": database_url,
        "REDIS_URL": valkey_url,
        "LLM_PROXY_OIDC_ISSUER": issuer.url,
        "LLM_PROXY_OIDC_ROLE_CLAIM": "realm.roles",
        "LLM_PROXY_OIDC_ROLES": "ops=operator, security=auditor",
        "LLM_PROXY_LOGIN_FAILURES": "3",
    }
    return Api(serve(**variables).test_client())


def person(boss: Api, issuer: Issuer, *roles: str, **claims: object) -> Api:
    return Api(boss.client, issuer.token(KEY, realm={"roles": list(roles)}, **claims))


def test_a_person_may_what_the_role_may(boss: Api, issuer: Issuer) -> None:
    auditor, operator = person(boss, issuer, "security"), person(boss, issuer, "ops", sub="bob")

    assert auditor.get("me").json == {"id": None, "name": "oidc:ann", "role": "auditor", "project_ids": None}
    assert problem(auditor.post("projects", name="x", api_key="sk-proj-0123456789abcdef")) == (403, "forbidden")
    assert operator.post("projects", name="x", api_key="sk-proj-0123456789abcdef").status_code == 201
    assert problem(operator.get("operators")) == (403, "forbidden")


def test_a_person_is_named_in_the_audit(boss: Api, issuer: Issuer) -> None:
    person(boss, issuer, "security").delete("limits")
    person(boss, issuer, "security").get("operators")

    events = boss.get("audit", actor="oidc:ann").json["items"]
    assert [(event["action"], event["outcome"]) for event in events] == [("access", "denied"), ("login", "success")]


def test_who_has_no_role_has_no_access_and_failures_are_counted(boss: Api, issuer: Issuer) -> None:
    stranger = person(boss, issuer, "another")

    assert [stranger.get("me").status_code for _ in range(4)] == [401, 401, 401, 429]


def test_an_issuer_that_is_away_is_nobodys_failed_login(boss: Api, issuer: Issuer) -> None:
    issuer.status = 500

    for _ in range(5):
        answer = person(boss, issuer, "ops").get("me")
        assert problem(answer) == (503, "service_unavailable") and answer.headers["retry-after"] == "10"
    assert boss.get("me").status_code == 200


def test_without_an_issuer_no_such_token_is_taken(api: Api, issuer: Issuer) -> None:
    assert problem(person(api, issuer, "ops").get("me")) == (401, "unauthorized")
