"""Rules of prices over the API: overrides are put and taken back, the list's own stay, all are published."""

from typing import Any

import pytest
import redis

from manager import db, prices
from manager.tables import AuditEvent
from shared import redis_schema
from shared.prices import Price, PriceTable, decode_table
from tests.manager.api.conftest import Api, faulty, problem
from tests.manager.conftest import NOW, Rows, one_database

GPT = {"provider": "openai", "model": "gpt-5*", "prompt": "1.25", "completion": "10"}
LISTED = Price("openai", "gpt-5", prompt=1, completion=2)
NOTHING = {"cached": None, "cache_write": None, "audio_prompt": None, "reasoning": None, "audio_completion": None}
NOTHING |= {"request": None, "above": 0, "valid_from": None, "valid_until": None}


def put(api: Api, **price: Any) -> Any:
    return api.send("PUT", "prices", json=GPT | price)


def published(client: redis.Redis) -> PriceTable:
    return decode_table(client.get(redis_schema.PRICES))


@pytest.fixture
def listed(sessions: db.Sessions) -> None:
    """The list has a price."""
    with sessions.begin() as session:
        prices.replace_list(session, NOW, "genai-prices 1.2.3", [LISTED])


def test_an_override_is_shown_as_it_was_put_and_published(api: Api, redis_client: redis.Redis, rows: Rows) -> None:
    answer = put(api)

    shown = answer.json
    assert answer.status_code == 200
    assert shown == {**GPT, **NOTHING, "completion": "10.00", "source": "", "id": shown["id"]} | {
        "updated_at": shown["updated_at"]
    }
    assert api.get("prices").json == {"items": [shown], "next_cursor": None}
    wanted = Price("openai", "gpt-5*", prompt=1_250_000_000, completion=10_000_000_000, is_override=True)
    assert published(redis_client).prices == (wanted,)
    [noted] = rows.all(AuditEvent)
    assert (noted.action, noted.detail["model"], noted.detail["prompt"]) == ("price.put", "gpt-5*", "1.25")


def test_every_field_comes_back(api: Api) -> None:
    rates = {name: f"{number}.000000001" for number, name in enumerate(prices.RATES)}
    times = {"valid_from": "2026-01-01T00:00:00+00:00", "valid_until": "2026-02-01T01:00:00+00:00"}

    shown = put(api, **rates, **times, above=200_000).json

    assert {name: shown[name] for name in (*rates, *times)} == rates | times and shown["above"] == 200_000


def test_the_same_override_is_replaced_and_keeps_its_id(api: Api, redis_client: redis.Redis) -> None:
    first, second = put(api, cached="0.5").json, put(api, prompt="2").json

    assert first["id"] == second["id"] and second["cached"] is None
    assert [price.prompt for price in published(redis_client).prices] == [2_000_000_000]


@pytest.mark.parametrize(
    "other",
    [{"provider": "anthropic"}, {"model": "gpt-5"}, {"above": 1}, {"valid_from": "2026-01-01T00:00:00Z"}],
    ids=lambda other: next(iter(other)),
)
def test_what_differs_in_its_key_is_another_override(api: Api, other: dict[str, Any]) -> None:
    ids = {answer.json["id"] for answer in (put(api), put(api, **other), put(api), put(api, **other))}

    assert len(ids) == 2


def test_an_override_is_taken_back(api: Api, redis_client: redis.Redis, rows: Rows) -> None:
    price_id = put(api).json["id"]

    assert api.delete(f"prices/{price_id}").status_code == 204
    assert problem(api.delete(f"prices/{price_id}")) == (404, "not_found")
    assert published(redis_client).prices == ()
    assert [row.action for row in rows.all(AuditEvent)] == ["price.put", "price.delete"]


@pytest.mark.usefixtures("listed")
def test_a_price_of_the_list_cannot_be_taken_away(api: Api) -> None:
    [shown] = api.get("prices").json["items"]

    answer = api.delete(f"prices/{shown['id']}")

    assert problem(answer) == (409, "conflict") and "genai-prices 1.2.3" in answer.json["detail"]
    assert shown["prompt"] == "0.000000001" and shown["source"] == "genai-prices 1.2.3"


@pytest.mark.usefixtures("listed")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["claude", "gpt-5*", "gpt-5"]),
        ({"provider": "openai"}, ["gpt-5*", "gpt-5"]),
        ({"model": "gpt-5"}, ["gpt-5"]),
        ({"is_override": True}, ["claude", "gpt-5*"]),
        ({"is_override": False}, ["gpt-5"]),
        ({"provider": "anthropic", "is_override": False}, []),
    ],
    ids=str,
)
def test_prices_are_found(api: Api, query: dict[str, Any], expected: list[str]) -> None:
    put(api)
    put(api, provider="anthropic", model="claude")

    assert [price["model"] for price in api.get("prices", **query).json["items"]] == expected


@one_database
@pytest.mark.parametrize(
    ("fault", "field"),
    [
        ({"provider": "nobody"}, "provider"),
        ({"model": ""}, "model"),
        ({"model": " gpt"}, "model"),
        ({"model": "g\0"}, "model"),
        ({"model": "g" * 257}, "model"),
        ({"prompt": "-1"}, "prompt"),
        ({"prompt": 1.25}, "prompt"),
        ({"request": "1e3"}, "request"),
        ({"above": -1}, "above"),
        ({"above": "7"}, "above"),
        ({"prompt": None, "completion": None}, "prompt"),
        ({"valid_from": "2026-01-01T00:00:00"}, "valid_from"),
        ({"valid_from": "2026-01-02T00:00:00Z", "valid_until": "2026-01-02T00:00:00Z"}, "valid_until"),
        ({"currency": "EUR"}, "currency"),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(map(str, value.values()))[:20],
)
def test_what_is_no_price_is_refused(api: Api, fault: dict[str, Any], field: str) -> None:
    assert faulty(put(api, **fault)) == [field]


def test_without_redis_a_price_is_stored_and_pending(lonely: Api) -> None:
    assert problem(put(lonely)) == (503, "publish_pending")
    assert len(lonely.get("prices").json["items"]) == 1
