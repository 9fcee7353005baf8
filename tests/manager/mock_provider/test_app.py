"""The app, driven by hand: who is refused, in which order, and what every answer carries."""

import asyncio
import gzip
import json
from typing import Any

import pytest

from manager.mock_provider import Behaviour, create_app

CHAT = "/v1/chat/completions"
KEY = {"authorization": "Bearer sk-provider-0123456789abcdef"}


async def test_a_question_is_answered_and_noted(ask: Any) -> None:
    app = create_app()

    answer = await ask(app)

    assert answer.status == 200
    assert answer.json["choices"][0]["message"]["content"] == "You said: hi there"
    assert answer.headers["x-request-id"] == "req_mock_1"
    assert int(answer.headers["openai-processing-ms"]) >= 0
    assert answer.headers["content-length"] == str(len(answer.body))
    seen = app.provider.ledger.shown()["recent"][0]
    assert (seen["model"], seen["status"], seen["outcome"]) == ("gpt-4o", 200, "finished")
    assert (seen["bytes"], seen["stream"]) == (len(answer.body), False)


@pytest.mark.parametrize(
    ("behaviour", "used"),
    [({}, {"prompt_tokens": 2, "completion_tokens": 4}), ({"status": 500}, None), ({"status": 204}, None)],
    ids=["answered", "failed", "bare"],
)
async def test_what_an_answer_uses_is_noted_only_if_it_is_given(
    ask: Any, behaviour: dict[str, Any], used: dict[str, int] | None
) -> None:
    app = create_app(Behaviour(**behaviour))

    await ask(app)

    assert app.provider.ledger.answered() == ({} if used is None else {"req_mock_1": used})


async def test_a_stream_is_sent_event_by_event(ask: Any) -> None:
    app, body = create_app(), {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}

    answer = await ask(app, body=body)

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert all(message["body"].endswith(b"\n\n") for message in answer.sent[1:])
    assert [message["more_body"] for message in answer.sent[1:]] == [True] * (len(answer.sent) - 2) + [False]
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert app.provider.ledger.shown()["recent"][0]["events_sent"] == len(answer.sent) - 1


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "invalid_api_key"),
        ({"authorization": "Bearer sk-unknown-123456"}, "invalid_api_key"),
        ({"x-api-key": "sk-good-key-1234"}, "invalid_api_key"),
        ({"authorization": "Bearer sk-llmp-123456"}, "withering_token_leaked"),
        (
            {"authorization": "Bearer sk-good-key-1234", "x-api-key": "sk-llmp-123456"},
            "withering_token_leaked",
        ),
    ],
)
async def test_a_wrong_key_is_refused_as_openai_does(ask: Any, headers: dict[str, str], code: str) -> None:
    app = create_app(accepted_keys=["sk-good-key-1234"])

    answer = await ask(app, headers=headers)

    error = answer.json["error"]
    assert (answer.status, error["code"], error["type"]) == (401, code, "invalid_request_error")
    assert error["param"] is None
    assert app.provider.ledger.shown()["leaked_tokens"] == (code == "withering_token_leaked")


async def test_a_leaked_token_is_seen_even_where_there_is_nothing(ask: Any) -> None:
    answer = await ask(create_app(), "/nowhere", headers={"authorization": "Bearer sk-llmp-123456"})

    assert answer.json["error"]["code"] == "withering_token_leaked"


@pytest.mark.parametrize("key", ["sk-good-key-1234", "another-good-key"])
async def test_an_accepted_key_is_served(ask: Any, key: str) -> None:
    app = create_app(accepted_keys={"sk-good-key-1234", "another-good-key"})

    assert (await ask(app, headers={"authorization": f"Bearer {key}"})).status == 200


async def test_the_messages_api_takes_its_own_key_header_and_words_its_own_errors(ask: Any) -> None:
    body = {"model": "claude", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}

    served = await ask(create_app(), "/v1/messages", body, headers={"x-api-key": "anthropic-key"})
    refused = await ask(create_app(), "/v1/messages", body, headers=KEY)

    assert (served.status, served.json["type"]) == (200, "message")
    assert (refused.status, refused.json["error"]["type"]) == (401, "authentication_error")


@pytest.mark.parametrize(
    ("path", "method", "body", "status"),
    [
        (CHAT, "POST", b"{", 400),
        (CHAT, "POST", b"[]", 400),
        (CHAT, "POST", b'{"messages": [{"role": "user", "content": "hi"}]}', 400),
        (CHAT, "POST", b'{"model": "m"}', 400),
        (CHAT, "GET", b"", 405),
        ("/v1/nothing", "GET", b"", 404),
    ],
)
async def test_a_flawed_request_is_refused_as_openai_does(
    ask: Any, path: str, method: str, body: bytes, status: int
) -> None:
    answer = await ask(create_app(), path, body, method, KEY)

    assert answer.status == status
    assert set(answer.json["error"]) == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"] == "req_mock_1"


async def test_models_need_no_body(ask: Any) -> None:
    listed = await ask(create_app(), "/v1/models", b"", "GET", KEY)
    single = await ask(create_app(), "/v1/models/any-name", b"", "GET", KEY)

    assert listed.json["object"] == "list"
    assert single.json["id"] == "any-name"


async def test_a_body_declared_too_large_is_refused_unread(ask: Any) -> None:
    answer = await ask(create_app(), headers={**KEY, "content-length": str(64 * 1024 * 1024 + 1)})

    assert (answer.status, answer.headers["connection"]) == (413, "close")


async def test_an_injected_error_takes_its_time_like_an_answer(ask: Any) -> None:
    app = create_app(Behaviour(error_rate=1, error_status=429, retry_after_s=2))

    answer = await ask(app)

    assert (answer.status, answer.headers["retry-after"]) == (429, "2")
    assert answer.json["error"]["code"] == "rate_limit_exceeded"
    assert app.provider.ledger.shown()["recent"][0]["model"] == "gpt-4o"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cut_answer_never_ends(ask: Any, stream: bool) -> None:
    app = create_app(Behaviour(abort_rate=1))
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": stream}

    answer = await ask(app, body=body)

    assert all(message["more_body"] for message in answer.sent[1:])
    assert b"[DONE]" not in answer.body
    assert app.provider.ledger.shown()["aborted"] == 1


async def test_an_answer_is_compressed_for_clients_that_take_it(ask: Any) -> None:
    app = create_app(Behaviour(compress="gzip"))

    squeezed = await ask(app, headers={**KEY, "accept-encoding": "gzip"})
    plain = await ask(app, headers=KEY)

    assert json.loads(gzip.decompress(squeezed.body))["object"] == "chat.completion"
    assert "content-encoding" not in plain.headers


async def test_one_request_may_behave_differently(ask: Any) -> None:
    app = create_app()

    padded = await ask(app, headers={**KEY, "x-mock-behaviour": '{"response_bytes": 3000}'})
    flawed = await ask(app, headers={**KEY, "x-mock-behaviour": '{"bytes": 3000}'})

    assert len(padded.body) == 3000
    assert flawed.json["error"]["code"] == "invalid_mock_behaviour"
    assert len((await ask(app)).body) < 3000


@pytest.mark.parametrize("behaviour", [Behaviour(latency_ms=60_000), Behaviour(hold_after=0)])
async def test_a_client_that_leaves_during_a_wait_is_noticed(ask: Any, behaviour: Behaviour) -> None:
    app, body = (
        create_app(behaviour),
        {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True},
    )

    async with asyncio.timeout(5):
        answer = await ask(app, body=body, leaves=True)

    assert answer.body == b""
    assert app.provider.ledger.shown()["disconnected"] == 1


@pytest.mark.parametrize("path", [CHAT, "/__mock__/ledger"])
async def test_a_client_that_leaves_while_asking_gets_nothing(path: str) -> None:
    app, sent = create_app(), []

    async def leave() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http", "method": "POST", "path": path, "headers": []}, leave, send)

    assert sent == []
    assert app.provider.ledger.shown()["disconnected"] == (path == CHAT)


async def test_the_control_endpoints_need_no_key_and_are_not_counted(ask: Any) -> None:
    app = create_app(accepted_keys=["only-this-one"])

    answer = await ask(app, "/__mock__/ledger", b"", "GET", {})

    assert (answer.status, answer.json["requests"]) == (200, 0)


async def test_a_control_body_is_bounded_too(ask: Any) -> None:
    answer = await ask(create_app(), "/__mock__/behaviour", bytes(64 * 1024 * 1024 + 1), "PUT", {})

    assert answer.status == 413


async def test_it_has_no_lifespan() -> None:
    with pytest.raises(NotImplementedError):
        await create_app()({"type": "lifespan"}, None, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/files/f/content"])
async def test_head_is_answered_with_the_headers_of_get_alone(ask: Any, path: str) -> None:
    got, asked = [await ask(create_app(), path, b"", method, KEY) for method in ("GET", "HEAD")]

    assert asked.headers["content-length"] == got.headers["content-length"] == str(len(got.body))
    assert (asked.status, asked.body) == (200, b"")


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_has_no_length_either(ask: Any, status: int) -> None:
    answer = await ask(create_app(Behaviour(status=status)))

    assert (answer.status, answer.body) == (status, b"")
    assert "content-length" not in answer.headers and "content-type" not in answer.headers


async def test_a_key_fares_as_was_set_for_it_and_others_as_before(ask: Any) -> None:
    app = create_app(accepted_keys=["sk-another-key-1"])
    app.provider.treat("sk-provider-0123456789abcdef", {"status": 402})

    exhausted = await ask(app)
    other = await ask(app, headers={"authorization": "Bearer sk-another-key-1"})

    assert (exhausted.status, exhausted.json["error"]["code"]) == (402, "insufficient_quota")
    assert other.status == 200


async def test_a_connection_is_closed_after_an_answer_if_so_wished(ask: Any) -> None:
    assert (await ask(create_app(Behaviour(close_after_answer=True)))).headers["connection"] == "close"
    assert "connection" not in (await ask(create_app())).headers


async def test_an_answer_that_could_not_be_sent_counts_as_aborted() -> None:
    app = create_app()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        raise OSError("no way out")

    with pytest.raises(OSError):
        await app({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send)

    assert app.provider.ledger.shown()["aborted"] == 1
