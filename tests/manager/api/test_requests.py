"""Rules of /manage/requests: what the collector has recorded, newest first, by token or project."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from manager import db
from manager.tables import Request
from tests.manager.api.conftest import Api, faulty, problem
from tests.manager.conftest import one_database

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SEARCH, FIND = uuid.UUID(int=1), uuid.UUID(int=2)
NIGHTLY, WEEKLY, KEY = uuid.UUID(int=11), uuid.UUID(int=12), uuid.UUID(int=21)


def request(number: int, project_id: uuid.UUID = SEARCH, token_id: uuid.UUID = NIGHTLY, **more: Any) -> Request:
    """A finished request; its id sorts by its number, as the data plane's ids sort by time."""
    values: dict[str, Any] = {
        "request_id": f"{number:032x}",
        "occurred_at": NOON + timedelta(seconds=number),
        "project_id": project_id,
        "token_id": token_id,
        "upstream_key_id": KEY,
        "sequence": number,
        "provider": "openai",
        "route": "chat.completions",
        "method": "POST",
        "model": "gpt-4o",
        "status": 200,
        "outcome": "finished",
        "error_code": None,
        "is_stream": True,
        "chunks": 7,
        "request_bytes": 120,
        "response_bytes": 2**40,
        "duration_ms": 812.5,
        "first_byte_ms": 90.25,
        "prompt_tokens": 5,
        "completion_tokens": 7,
        "total_tokens": 12,
        "attempts": 3,
        "cached_tokens": 4,
        "cache_write_tokens": 3,
        "reasoning_tokens": 2,
        "audio_prompt_tokens": 1,
        "audio_completion_tokens": 0,
        "is_estimate": True,
        "model_asked": "gpt-4",
        "finish_reason": "stop",
        "provider_request_id": "req_7",
        "provider_ms": 700.5,
        "tokens_per_second": 9.75,
        "cost_nano_usd": 1_230_000,
    }
    return Request(**values | more)


def record(sessions: db.Sessions, *requests: Request) -> None:
    with sessions.begin() as session:
        session.add_all(requests)


def listed(api: Api, **query: Any) -> list[int]:
    """The numbers of the requests that are shown."""
    return [int(item["request_id"], 16) for item in api.get("requests", **query).json["items"]]


def test_a_request_is_shown_in_full(api: Api, sessions: db.Sessions) -> None:
    record(sessions, request(1))

    assert api.get("requests").json == {
        "items": [
            {
                "request_id": f"{1:032x}",
                "occurred_at": "2026-03-01T12:00:01+00:00",
                "project_id": str(SEARCH),
                "token_id": str(NIGHTLY),
                "upstream_key_id": str(KEY),
                "provider": "openai",
                "route": "chat.completions",
                "method": "POST",
                "model": "gpt-4o",
                "status": 200,
                "outcome": "finished",
                "error_code": None,
                "is_stream": True,
                "chunks": 7,
                "request_bytes": 120,
                "response_bytes": 2**40,
                "duration_ms": 812.5,
                "first_byte_ms": 90.25,
                "prompt_tokens": 5,
                "completion_tokens": 7,
                "total_tokens": 12,
                "attempts": 3,
                "cached_tokens": 4,
                "cache_write_tokens": 3,
                "reasoning_tokens": 2,
                "audio_prompt_tokens": 1,
                "audio_completion_tokens": 0,
                "is_estimate": True,
                "model_asked": "gpt-4",
                "finish_reason": "stop",
                "provider_request_id": "req_7",
                "provider_ms": 700.5,
                "tokens_per_second": 9.75,
                "cost": "0.00123",
            }
        ],
        "next_cursor": None,
    }


def test_what_nobody_knows_is_null(api: Api, sessions: db.Sessions) -> None:
    unknown = ["upstream_key_id", "model", "first_byte_ms", "prompt_tokens", "completion_tokens", "total_tokens"]
    later = ["cached_tokens", "model_asked", "finish_reason", "provider_ms", "tokens_per_second", "cost_nano_usd"]
    record(sessions, request(1, status=0, outcome="client_aborted", **dict.fromkeys([*unknown, *later])))

    [shown] = api.get("requests").json["items"]

    nulls = [*unknown[:2], "error_code", *unknown[2:], *later[:-1], "cost"]
    assert [name for name, value in shown.items() if value is None] == nulls


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({}, [4, 3, 2, 1]),
        ({"project_id": SEARCH}, [3, 1]),
        ({"token_id": WEEKLY}, [4, 3]),
        ({"project_id": SEARCH, "token_id": WEEKLY}, [3]),
        ({"project_id": uuid.UUID(int=9)}, []),
        ({"limit": 3}, [4, 3, 2]),
        ({"sort": "occurred_at"}, [1, 2, 3, 4]),
    ],
)
def test_requests_are_listed_newest_first_and_filtered(
    api: Api, sessions: db.Sessions, query: dict[str, Any], numbers: list[int]
) -> None:
    record(sessions, request(2, FIND), request(1), request(4, FIND, WEEKLY), request(3, SEARCH, WEEKLY))

    assert listed(api, **query) == numbers


def test_requests_that_come_between_two_pages_shift_nothing(api: Api, sessions: db.Sessions) -> None:
    record(sessions, *map(request, range(1, 5)))
    first = api.get("requests", limit=2).json
    record(sessions, request(5))

    assert listed(api, limit=2, cursor=first["next_cursor"]) == [2, 1]
    assert listed(api, limit=1) == [5]


@pytest.mark.parametrize("cursor", ["AA", "YQBi", "YWJj", "!!!!", "x", "é", "\0", "w6k"], ids=ascii)
def test_a_cursor_that_this_list_did_not_give_out_is_refused(api: Api, cursor: str) -> None:
    assert faulty(api.get("requests", cursor=cursor)) == ["cursor"]


@one_database
@pytest.mark.parametrize(
    ("field", "value"),
    [("token_id", "nightly"), ("project_id", "\0"), ("limit", 0), ("limit", 201), ("digest", "x"), ("model", "\0")],
)
def test_a_faulty_or_unknown_filter_is_refused(api: Api, field: str, value: Any) -> None:
    assert faulty(api.get("requests", **{field: value})) == [field]


@one_database
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_the_record_cannot_be_changed(api: Api, method: str) -> None:
    assert problem(api.send(method, "requests")) == (405, "method_not_allowed")


# Searching


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ({"model": "gpt-5"}, [2]),
        ({"model": "gpt"}, []),
        ({"route": "embeddings"}, [3]),
        ({"provider": "anthropic"}, [4]),
        ({"status": 502}, [3]),
        ({"status_class": 5}, [4, 3]),
        ({"outcome": "cut"}, [2]),
        ({"error_code": "upstream_error"}, [3]),
        ({"is_stream": "false"}, [4]),
        ({"min_duration_ms": 5000}, [4]),
        ({"provider_request_id": "req-1"}, [1]),
        ({"status_class": 5, "provider": "anthropic"}, [4]),
        ({"from": "2001-01-01T00:00:00Z", "until": "2001-01-02T00:00:00Z"}, []),
        ({"from": "2001-01-01T00:00:00Z"}, [4, 3, 2, 1]),
    ],
    ids=str,
)
def test_requests_are_found_by_what_they_were(
    api: Api, sessions: db.Sessions, query: dict[str, Any], numbers: list[int]
) -> None:
    record(
        sessions,
        request(1, provider_request_id="req-1"),
        request(2, model="gpt-5", outcome="cut"),
        request(3, route="embeddings", status=502, error_code="upstream_error"),
        request(4, provider="anthropic", status=500, is_stream=False, duration_ms=5000.0),
    )

    assert listed(api, **query) == numbers


def test_one_request_is_shown_as_in_the_list(api: Api, sessions: db.Sessions) -> None:
    record(sessions, request(1))
    [shown] = api.get("requests").json["items"]

    assert api.get(f"requests/{shown['request_id']}").json == shown
    assert api.get("requests", request_id=shown["request_id"]).json["items"] == [shown]


@pytest.mark.parametrize("request_id", ["unknown", "%00", "a%00b", "%F0%9F%98%80"])
def test_a_request_that_is_not_there_is_not_found(api: Api, request_id: str) -> None:
    assert problem(api.get(f"requests/{request_id}")) == (404, "not_found")


@one_database
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("outcome", "well"),
        ("status", "+200"),
        ("status", "²"),
        ("status_class", 9),
        ("from", "today"),
        ("is_stream", "maybe"),
        ("min_duration_ms", -1),
        ("model", "x" * 257),
        ("sort", "model"),
    ],
)
def test_a_faulty_search_is_refused(api: Api, field: str, value: Any) -> None:
    assert faulty(api.get("requests", **{field: value})) == [field]
