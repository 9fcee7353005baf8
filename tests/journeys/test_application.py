"""What an application does: the official SDK, changed in nothing but base URL and key."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator

import openai
import pytest
import requests

from shared import tokens
from tests.journeys.conftest import Installation, Token, until

ASK = [{"role": "user", "content": "tell me about withering tokens"}]


@pytest.fixture(scope="module")
def project(installation: Installation) -> str:
    return installation.project("application")


@pytest.fixture(scope="module")
def token(installation: Installation, project: str) -> Token:
    return installation.token(project, label="application")


@pytest.fixture(params=[0, 1], ids=["worker-1", "worker-2"])
def client(installation: Installation, token: Token, request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    with installation.client(token, request.param) as made:
        yield made


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert "gpt-4o-mini" in [model.id for model in client.models.list()]


def test_a_chat_is_answered(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o-mini", messages=ASK)

    assert "withering tokens" in (answer.choices[0].message.content or "")
    assert answer.usage is not None and answer.usage.total_tokens > 0


def test_a_chat_is_streamed(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="gpt-4o-mini", messages=ASK, stream=True, stream_options={"include_usage": True}
    )

    chunks = list(stream)

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "withering tokens" in text and len(chunks) > 4
    assert chunks[-1].usage is not None and chunks[-1].usage.total_tokens > 0


def test_texts_are_embedded(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="text-embedding-3-small", input=["one", "two"])

    assert len(answer.data) == 2 and all(isinstance(value, float) for value in answer.data[0].embedding)


def test_the_responses_api_answers_plainly_and_streamed(client: openai.OpenAI) -> None:
    plain = client.responses.create(model="gpt-4.1", input="hello you")
    events = list(client.responses.create(model="gpt-4.1", input="hello you", stream=True))

    assert "hello you" in plain.output_text
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")


def test_legacy_completions_are_answered(client: openai.OpenAI) -> None:
    assert client.completions.create(model="gpt-3.5-turbo-instruct", prompt="hello you").choices[0].text


def test_the_provider_sees_the_projects_key_and_never_a_token(
    installation: Installation, client: openai.OpenAI
) -> None:
    client.models.list()

    ledger = installation.ledger()
    assert ledger["leaked_tokens"] == 0
    assert {entry["key"] for entry in ledger["recent"]} == {tokens.mask(installation.provider_key)}


def test_refusals_are_readable_errors_of_the_sdk(installation: Installation, project: str, token: Token) -> None:
    spent = installation.token(project, max_requests=1)
    installation.client(spent).models.list()

    with pytest.raises(openai.AuthenticationError, match="not a valid withering token"):
        installation.client("sk-anything-but-a-withering-token").models.list()
    with pytest.raises(openai.AuthenticationError, match="not known"):
        installation.client(tokens.generate()).models.list()
    with pytest.raises(openai.RateLimitError, match="have been used") as spent_error:
        installation.client(spent, max_retries=2).models.list()
    with pytest.raises(openai.NotFoundError, match="not offered"):
        installation.client(token).get("/organization/admin_api_keys", cast_to=object)

    assert spent_error.value.code == "quota_exceeded"


def test_an_inactive_project_is_a_permission_error(installation: Installation) -> None:
    project_id = installation.project("soon inactive")
    token = installation.token(project_id)
    installation.client(token).models.list()

    installation.manage("PATCH", f"/manage/projects/{project_id}", {"is_active": False})

    for worker in (0, 1):
        with pytest.raises(openai.PermissionDeniedError, match="not active"):
            installation.client(token, worker).models.list()


def test_the_first_chunk_arrives_while_the_provider_still_holds_the_next(
    installation: Installation, token: Token
) -> None:
    headers = {"x-mock-behaviour": json.dumps({"hold_after": 2})}
    stream = installation.client(token).chat.completions.create(
        model="gpt-4o-mini", messages=ASK, stream=True, extra_headers=headers
    )

    first, second = next(stream), next(stream)
    held = [entry for entry in installation.ledger()["recent"] if entry["outcome"] is None or entry["events_sent"] == 2]

    assert first.choices[0].delta.role == "assistant" and second.choices[0].delta.content
    assert held, "the provider must not have sent more than the two events that are here already"
    installation.release()
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


@pytest.mark.parametrize("compress", [None, "gzip"])
@pytest.mark.parametrize("stream", [True, False])
def test_the_clients_bytes_are_the_providers_bytes(
    installation: Installation, token: Token, stream: bool, compress: str | None
) -> None:
    headers = {"x-mock-behaviour": json.dumps({"compress": compress}), "accept-encoding": "gzip"}
    body = {"model": "gpt-4o-mini", "messages": ASK, "stream": stream}
    if stream:
        body["stream_options"] = {"include_usage": True}  # Else it is the proxy that asks, see below.

    answer = installation.send(token.secret, "POST", "/v1/chat/completions", json=body, headers=headers, stream=True)
    received = b"".join(answer.raw.stream(decode_content=False))

    mock_id = answer.headers["x-request-id"]
    assert (answer.headers.get("content-encoding") == "gzip") is (compress == "gzip")
    [entry] = [entry for entry in installation.ledger()["recent"] if entry["id"] == mock_id]
    assert (entry["bytes"], entry["sha256"]) == (len(received), hashlib.sha256(received).hexdigest())


@pytest.mark.parametrize("options", [None, {"include_usage": False}, {"include_obfuscation": True}], ids=json.dumps)
def test_a_stream_is_what_the_provider_sends_without_being_asked_for_usage(
    installation: Installation, project: str, options: object
) -> None:
    token = installation.token(project)
    body = {"model": "gpt-4o-mini", "messages": ASK, "stream": True, "stream_options": options}
    own_key = {"authorization": f"Bearer {installation.provider_key}"}

    through = installation.send(token.secret, "POST", "/v1/chat/completions", json=body).content
    direct = requests.post(
        f"{installation.mock_url}/v1/chat/completions", json=body, headers=own_key, timeout=10
    ).content

    assert re.sub(b"chatcmpl-mock-[0-9]+", b"id", through) == re.sub(b"chatcmpl-mock-[0-9]+", b"id", direct)
    assert b"usage" not in through
    [row] = installation.usage_of(token, 1)
    assert row["total_tokens"] > 0


def test_usage_of_every_kind_of_answer_arrives_in_sql(installation: Installation, project: str) -> None:
    token = installation.token(project, label="metered")
    client = installation.client(token)
    client.models.list()
    client.chat.completions.create(model="gpt-4o-mini", messages=ASK)
    list(
        client.chat.completions.create(
            model="gpt-4o-mini", messages=ASK, stream=True, stream_options={"include_usage": True}
        )
    )
    list(client.responses.create(model="gpt-4.1", input="hello you", stream=True))
    client.embeddings.create(model="text-embedding-3-small", input="one two three")

    rows = {(row["route"], row["is_stream"]): row for row in installation.usage_of(token, 5)}

    assert len(rows) == 5 and all(row["outcome"] == "finished" and row["status"] == 200 for row in rows.values())
    assert rows["chat.completions", True]["total_tokens"] == rows["chat.completions", False]["total_tokens"] > 0
    assert rows["responses", True]["completion_tokens"] > 0 and rows["embeddings", False]["prompt_tokens"] > 0
    assert rows["chat.completions", True]["first_byte_ms"] <= rows["chat.completions", True]["duration_ms"]
    assert installation.manage("GET", f"/manage/tokens/{token.id}")["request_count"] == 5


def test_a_stream_that_the_client_leaves_is_recorded_and_ends_at_the_provider(
    installation: Installation, project: str
) -> None:
    token = installation.token(project)
    headers = {"x-mock-behaviour": json.dumps({"hold_after": 2})}
    disconnected = installation.ledger()["disconnected"]
    stream = installation.client(token).chat.completions.create(
        model="gpt-4o-mini", messages=ASK, stream=True, extra_headers=headers
    )
    next(stream)

    stream.close()

    [row] = installation.usage_of(token, 1)
    assert (row["outcome"], row["status"], row["is_stream"]) == ("client_aborted", 200, True)
    assert row["chunks"] >= 1 and row["prompt_tokens"] > 0 and row["completion_tokens"] >= 0
    until(lambda: installation.ledger()["disconnected"] == disconnected + 1)


def test_a_stream_that_the_provider_cuts_is_recorded_and_ends_with_an_error(
    installation: Installation, project: str
) -> None:
    token = installation.token(project)
    headers = {"x-mock-behaviour": json.dumps({"abort_rate": 1})}
    stream = installation.client(token).chat.completions.create(
        model="gpt-4o-mini", messages=ASK, stream=True, extra_headers=headers
    )

    assert next(stream).choices
    with pytest.raises(openai.APIError, match="broke off") as broken:
        list(stream)

    assert broken.value.code == "upstream_error"
    [row] = installation.usage_of(token, 1)
    assert (row["outcome"], row["error_code"]) == ("upstream_aborted", "upstream_error")


def test_a_provider_that_cannot_be_reached_is_one_json_error(installation: Installation) -> None:
    token = installation.token(installation.project("nobody there", base_url="http://127.0.0.1:9"))

    answer = installation.send(token.secret)

    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_error")
    [row] = installation.usage_of(token, 1)
    assert (row["status"], row["outcome"], row["error_code"]) == (502, "upstream_aborted", "upstream_error")


def test_the_providers_own_errors_pass_as_they_are(installation: Installation) -> None:
    token = installation.token(installation.project("limited by its provider"))
    behaviour = json.dumps({"error_rate": 1, "error_status": 429, "retry_after_s": 7})
    headers = {"x-mock-behaviour": behaviour, "x-llm-proxy-retry": "off"}

    answer = installation.send(token.secret, headers=headers)

    assert answer.status_code == 429 and answer.headers["retry-after"] == "7"
    assert answer.json()["error"]["code"] != "quota_exceeded"


def test_max_requests_lets_exactly_that_many_through_two_workers(installation: Installation, project: str) -> None:
    token = installation.token(project, max_requests=10)
    before = installation.ledger()["requests"]
    statuses: list[int] = []
    start = threading.Barrier(40)

    def hammer(number: int) -> None:
        start.wait()
        for attempt in range(5):
            statuses.append(installation.send(token.secret, worker=(number + attempt) % 2).status_code)

    threads = [threading.Thread(target=hammer, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(statuses) == 200
    assert (statuses.count(200), statuses.count(429)) == (10, 190)
    assert installation.ledger()["requests"] - before == 10
