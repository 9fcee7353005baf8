"""The official SDK reads everything the provider says."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI


@pytest.fixture
def client(remote: Any) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{remote.url}/v1", api_key="sk-provider-1234", max_retries=0, timeout=10) as client:
        yield client


HI: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi there"}]


def test_models_are_listed_and_retrieved(client: OpenAI) -> None:
    assert "gpt-4o" in [model.id for model in client.models.list()]
    assert client.models.retrieve("any-model").id == "any-model"


def test_a_chat_answer(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="gpt-4o", messages=HI)

    assert answer.choices[0].message.content == "You said: hi there"
    assert answer.usage and (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (4, 4)
    assert answer._request_id and answer._request_id.startswith("req_mock_")


def test_a_chat_stream_with_usage(client: OpenAI) -> None:
    options: Any = {"include_usage": True}
    chunks = list(client.chat.completions.create(model="m", messages=HI, stream=True, stream_options=options))

    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "You said: hi there"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage and chunks[-1].usage.total_tokens == 8


def test_a_completion_plain_and_streamed(client: OpenAI) -> None:
    plain = client.completions.create(model="m", prompt="hi")
    stream = client.completions.create(model="m", prompt="hi", stream=True)

    assert plain.choices[0].text == "You said: hi"
    assert "".join(chunk.choices[0].text for chunk in stream) == "You said: hi"


def test_embeddings_are_the_same_as_numbers_and_as_base64(client: OpenAI) -> None:
    texts = ["one", "two"]
    by_default = client.embeddings.create(model="m", input=texts, dimensions=8)
    as_floats = client.embeddings.create(model="m", input=texts, dimensions=8, encoding_format="float")

    assert len(by_default.data[0].embedding) == 8
    assert by_default.data[1].embedding == pytest.approx(as_floats.data[1].embedding)


def test_a_response_plain_and_streamed(client: OpenAI) -> None:
    plain = client.responses.create(model="m", input="hi there")
    with client.responses.stream(model="m", input=HI) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()

    assert plain.output_text == final.output_text == "You said: hi there"
    assert plain.usage and (plain.usage.input_tokens, plain.usage.output_tokens) == (2, 4)
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed"


def test_a_raw_response_stream(client: OpenAI) -> None:
    events = list(client.responses.create(model="m", input="hi", stream=True))

    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_errors_are_the_sdks_own(client: OpenAI, remote: Any) -> None:
    with pytest.raises(openai.AuthenticationError) as leaked:
        client.with_options(api_key="sk-llmp-123456").models.list()
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="m", messages=[])
    remote.control("PUT", "behaviour", {"error_rate": 1, "error_status": 429})
    with pytest.raises(openai.RateLimitError):
        client.models.list()

    assert leaked.value.code == "withering_token_leaked"
    assert remote.ledger()["leaked_tokens"] == 1


def test_a_cut_stream_is_a_connection_error(client: OpenAI, remote: Any) -> None:
    remote.control("PUT", "behaviour", {"abort_rate": 1})

    with pytest.raises(openai.APIConnectionError):
        list(client.chat.completions.create(model="m", messages=HI, stream=True))
