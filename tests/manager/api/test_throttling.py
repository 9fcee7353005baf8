"""Rules of haste: who tries tokens or asks too much waits, others do not, and Redis being away opens nothing."""

import json
from dataclasses import replace
from typing import Any

import pytest
import redis
from werkzeug.test import TestResponse

from manager import tallies
from manager.api import rates
from tests.manager.api.conftest import Api, problem
from tests.manager.conftest import NOBODY, Serve, one_database

pytestmark = one_database
WRONG = "llmp-op-00000000000000000000000000000000026BYXP"


@pytest.fixture
def throttled(serve: Serve, database_url: str, redis_client: redis.Redis, valkey_url: str) -> Api:
    """A service that takes three failed logins."""
    return Api(serve(DATABASE_URL=database_url, REDIS_URL=valkey_url, LLM_PROXY_LOGIN_FAILURES="3").test_client())


@pytest.fixture
def limited(serve: Serve, database_url: str, redis_client: redis.Redis, valkey_url: str) -> Api:
    """A service that takes five requests an hour."""
    return Api(serve(DATABASE_URL=database_url, REDIS_URL=valkey_url, LLM_PROXY_API_RATE="5 per hour").test_client())


def ask(api: Api, address: str, token: str | None = None, path: str = "me", **headers: str) -> TestResponse:
    """A request from an address."""
    sent = {"authorization": f"Bearer {token or api.bearer}"} | headers
    return api.client.get(f"/manage/{path}", headers=sent, environ_overrides={"REMOTE_ADDR": address})


def statuses(api: Api, address: str, token: str | None, times: int) -> list[int]:
    return [ask(api, address, token).status_code for _ in range(times)]


# Failed logins


def test_who_fails_too_often_waits_even_with_the_right_token(throttled: Api) -> None:
    assert statuses(throttled, "192.0.2.7", WRONG, 5) == [401, 401, 401, 429, 429]

    answer = ask(throttled, "192.0.2.7")

    assert problem(answer) == (429, "too_many_requests") and 1 <= int(answer.headers["retry-after"]) <= 60
    assert answer.headers["cache-control"] == "no-store" and answer.headers["x-request-id"]


def test_others_do_not_wait_with_it(throttled: Api) -> None:
    statuses(throttled, "192.0.2.7", WRONG, 9)

    assert ask(throttled, "192.0.2.8").status_code == 200 and ask(throttled, "2001:db8::1").status_code == 200


def test_when_the_minute_is_over_it_may_in_again(throttled: Api, redis_client: redis.Redis) -> None:
    statuses(throttled, "192.0.2.7", WRONG, 9)
    assert 0 < redis_client.ttl(f"{tallies.PREFIX}failed:192.0.2.7") <= 60

    redis_client.delete(f"{tallies.PREFIX}failed:192.0.2.7")

    assert ask(throttled, "192.0.2.7").status_code == 200


def test_good_logins_and_requests_without_a_token_are_no_failures(throttled: Api) -> None:
    for _ in range(9):
        assert ask(throttled, "192.0.2.7").status_code == 200
        assert throttled.client.get("/manage/me", environ_overrides={"REMOTE_ADDR": "192.0.2.7"}).status_code == 401

    assert ask(throttled, "192.0.2.7").status_code == 200


@pytest.mark.parametrize("value", ["Bearer", "Basic YTpi", "Bearer a.b.c", "nonsense", "Bearer \xff"])
def test_whatever_is_sent_in_vain_is_a_failure(throttled: Api, value: str) -> None:
    for _ in range(3):
        throttled.client.get("/manage/me", headers={"authorization": value})

    assert throttled.client.get("/manage/me", headers={"authorization": value}).status_code == 429


def test_expired_and_revoked_operators_count_as_failures(throttled: Api) -> None:
    ann = throttled.operator("auditor", name="ann")
    [row] = throttled.get("operators").json["items"]
    throttled.delete(f"operators/{row['id']}")

    assert statuses(throttled, "192.0.2.7", ann.bearer, 4) == [401, 401, 401, 429]


def test_without_redis_it_is_the_same(serve: Serve, database_url: str) -> None:
    lonely = Api(serve(DATABASE_URL=database_url, REDIS_URL=NOBODY, LLM_PROXY_LOGIN_FAILURES="3").test_client())

    assert statuses(lonely, "192.0.2.7", WRONG, 5) == [401, 401, 401, 429, 429]
    assert ask(lonely, "192.0.2.7").status_code == 429 and ask(lonely, "192.0.2.8").status_code == 200


def test_health_and_shapes_are_shown_to_who_waits(throttled: Api) -> None:
    statuses(throttled, "127.0.0.1", WRONG, 9)

    assert throttled.client.get("/healthz").status_code == 200
    assert throttled.client.get("/manage/openapi.json").status_code == 200


def test_failures_are_told_in_the_audit_in_sum(throttled: Api) -> None:
    statuses(throttled, "192.0.2.7", WRONG, 9)

    text = ask(throttled, "192.0.2.8", path="audit?action=login&outcome=failed").text
    [event] = json.loads(text)["items"]
    assert (event["actor"], event["address"], event["detail"]) == ("anonymous", "192.0.2.7", {"count": 1})
    assert WRONG[8:] not in text


def test_the_first_login_from_an_address_is_told(throttled: Api) -> None:
    ann = throttled.operator("auditor", name="ann")
    for address in ("192.0.2.8", "192.0.2.8", "192.0.2.9"):
        assert ask(ann, address).status_code == 200

    events = ask(throttled, "127.0.0.1", path="audit?action=login&actor=ann").json["items"]
    assert [(event["outcome"], event["address"], event["detail"]) for event in events] == [
        ("success", "192.0.2.9", {"role": "auditor"}),
        ("success", "192.0.2.8", {"role": "auditor"}),
    ]


# Too many requests


def test_a_principal_waits_from_wherever_it_comes(limited: Api) -> None:
    assert [ask(limited, f"192.0.2.{number}").status_code for number in range(6)] == [200] * 5 + [429]

    answer = ask(limited, "192.0.2.99")

    assert problem(answer) == (429, "too_many_requests") and "5 per hour" in answer.json["detail"]
    assert answer.headers.getlist("retry-after") == [answer.headers["retry-after"]]
    assert 1 <= int(answer.headers["retry-after"]) <= 3600


def test_an_address_waits_whoever_it_is(limited: Api) -> None:
    bob = limited.operator("auditor", name="bob")  # From 127.0.0.1, as the next ones.
    assert statuses(limited, "127.0.0.1", None, 2) + statuses(bob, "127.0.0.1", None, 3) == [200] * 4 + [429]

    assert ask(bob, "192.0.2.1").status_code == 200


def test_another_principal_elsewhere_does_not_wait(limited: Api) -> None:
    bob = limited.operator("auditor", name="bob")
    statuses(limited, "192.0.2.1", None, 9)

    assert ask(bob, "192.0.2.2").status_code == 200


def test_what_does_not_exist_counts_as_well(limited: Api) -> None:
    assert [ask(limited, "192.0.2.1", path="nothing").status_code for _ in range(6)] == [404] * 5 + [429]


def test_who_is_denied_is_counted_as_well(limited: Api) -> None:
    ann = replace(limited.operator("auditor", name="ann"), client=limited.client)

    found = [ann.post("projects", name="x").status_code for _ in range(9)]

    assert found == [403] * 4 + [429] * 5  # The first of an hour has made the operator.


def test_bodies_of_another_kind_are_counted_as_well(limited: Api) -> None:
    assert [limited.send("POST", "projects", data="x").status_code for _ in range(6)] == [415] * 5 + [429]


def test_who_waits_changes_nothing(limited: Api) -> None:
    statuses(limited, "127.0.0.1", None, 5)

    assert problem(limited.post("projects", name="x", api_key="sk-proj-0123456789abcdef")) == (429, "too_many_requests")


def test_health_is_not_counted(limited: Api) -> None:
    assert {limited.client.get("/healthz").status_code for _ in range(9)} == {200}
    assert statuses(limited, "127.0.0.1", None, 1) == [200]


def test_counters_lie_where_our_data_lies_and_end(limited: Api, redis_client: redis.Redis) -> None:
    ask(limited, "192.0.2.1")

    keys = redis_client.keys(f"{rates.PREFIX}*")
    assert len(keys) == 2 and all(0 < redis_client.ttl(key) <= 3600 for key in keys)


def test_without_redis_requests_are_counted_in_memory(serve: Serve, database_url: str) -> None:
    lonely = Api(serve(DATABASE_URL=database_url, REDIS_URL=NOBODY, LLM_PROXY_API_RATE="5 per hour").test_client())

    assert [ask(lonely, f"192.0.2.{number}").status_code for number in range(6)] == [200] * 5 + [429]


# Where requests come from


@pytest.fixture
def behind(serve: Serve, database_url: str, redis_client: redis.Redis, valkey_url: str) -> Api:
    """A service behind two reverse proxies."""
    return Api(serve(DATABASE_URL=database_url, REDIS_URL=valkey_url, LLM_PROXY_PROXIES_IN_FRONT="2").test_client())


def seen_from(api: Api, header: str | None) -> Any:
    """The address from which the audit saw a login that failed."""
    headers = {} if header is None else {"x-forwarded-for": header}
    ask(api, "198.51.100.1", WRONG, **headers)
    [event] = ask(api, "203.0.113.1", path="audit?action=login&outcome=failed").json["items"]
    return event["address"]


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ("192.0.2.7, 10.0.0.2", "192.0.2.7"),
        ("6.6.6.6, 192.0.2.7,10.0.0.2", "192.0.2.7"),
        ("2001:db8::7, 10.0.0.2", "2001:db8::/64"),
        ("10.0.0.2", "198.51.100.1"),
        ("192.0.2.7:4711, 10.0.0.2:80", "192.0.2.7"),
        ("[2001:db8::7]:4711, 10.0.0.2", "2001:db8::/64"),
        ("[2001:db8::7], 10.0.0.2", "2001:db8::/64"),
        ("192.0.2.7:x, 10.0.0.2", "198.51.100.1"),
        ("[192.0.2, 10.0.0.2", "198.51.100.1"),
        ("nonsense, 10.0.0.2", "198.51.100.1"),
        ("192.0.2.7, " + "x" * 1000 + ", 10.0.0.2", "198.51.100.1"),
        (None, "198.51.100.1"),
    ],
)
def test_behind_reverse_proxies_the_address_is_the_one_that_the_first_of_them_saw(
    behind: Api, header: str | None, address: str
) -> None:
    assert seen_from(behind, header) == address


def test_without_reverse_proxies_nobody_may_say_where_it_comes_from(api: Api) -> None:
    assert seen_from(api, "192.0.2.7") == "198.51.100.1"
