"""What bodies of each API say, as people read it."""

import json
import time
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addons.dialects import conversation
from addons.dialects.conversation import Block, Conversation, Kind, Topic, of_answer, of_request, topic_of
from addons.dialects.conversation.turns import MOST_BLOCKS, MOST_TURNS
from tests.addons.dialects import bodies
from tests.addons.dialects.bodies import body, sse

PRETTY = '{\n  "city": "Ulm",\n  "days": 2\n}'
CALL = Block(Kind.CALL, PRETTY, "get_weather", "call_1")
STREAM = "text/event-stream; charset=utf-8"


def roles(told: Conversation) -> list[str]:
    return [turn.role for turn in told.turns]


def blocks(told: Conversation, turn: int = 0) -> list[Block]:
    return list(told.turns[turn].blocks)


def shown(told: Conversation) -> str:
    """Everything that could be shown, as one text."""
    return repr(told)


# Which API


@pytest.mark.parametrize(
    ("route", "path", "topic"),
    [
        ("chat.completions", "/anything", Topic.CHAT),
        ("messages.count_tokens", "", Topic.MESSAGES),
        ("", "/v1/chat/completions", Topic.CHAT),
        ("my.own", "/v1/chat/completions", Topic.CHAT),
        ("", "/openai/deployments/gpt/chat/completions", Topic.CHAT),
        ("", "/chat/completions", Topic.CHAT),
        ("", "/v1beta/openai/chat/completions", None),
        ("", "/v1/completions", Topic.COMPLETIONS),
        ("", "/v1/responses", Topic.RESPONSES),
        ("", "/v1/responses/compact", Topic.RESPONSES),
        ("", "/v1/messages/count_tokens", Topic.MESSAGES),
        ("", "/prefix/v1/embeddings", Topic.EMBEDDINGS),
        ("", "/v1/threads/thread_1/messages", None),
        ("", "/v1/chat/completions/chatcmpl-1/messages", None),
        ("threads.messages", "/v1/threads/thread_1/messages", None),
        ("", "/v1/models", None),
        ("", "/v1/chat/completions" + "/" * 1000, None),
        ("", "", None),
    ],
)
def test_the_route_or_else_the_path_says_which_api_a_body_is_of(route: str, path: str, topic: Topic | None) -> None:
    assert topic_of(route, path) == topic


# Chat


def test_a_request_for_chat_is_a_conversation() -> None:
    told = of_request(Topic.CHAT, body(bodies.CHAT_REQUEST))

    assert roles(told) == ["system", "user ada", "assistant", "tool"]
    assert blocks(told, 0) == [Block(Kind.TEXT, "You are terse.")]
    assert blocks(told, 2) == [CALL]
    assert blocks(told, 3) == [Block(Kind.RESULT, '{"celsius": 12}', "", "call_1")]
    assert told.facts[0] == ("model", "gpt-4o")
    assert ("stream_options", '{"include_usage":true}') in told.facts
    assert told.facts[-1] == ("tools", "get_weather, run_shell")
    assert told.rest == "" and not told.is_cut


def test_what_is_attached_is_told_by_kind_and_size_and_never_shown() -> None:
    told = of_request(Topic.CHAT, body(bodies.CHAT_REQUEST))

    assert blocks(told, 1) == [
        Block(Kind.TEXT, "What is this?\nAnd that?"),
        Block(Kind.ATTACHMENT, "image/png, 2.0 KiB"),
        Block(Kind.ATTACHMENT, "image at https://img.example/cat.png?..."),
        Block(Kind.ATTACHMENT, "audio/wav, 204 bytes"),
        Block(Kind.ATTACHMENT, "a.pdf, application/pdf, 4.9 KiB"),
        Block(Kind.ATTACHMENT, "file file-abc"),
    ]


def test_an_answer_is_a_turn_with_its_ending_and_usage() -> None:
    told = of_answer(Topic.CHAT, body(bodies.CHAT_ANSWER), "application/json")

    assert told == Conversation(
        turns=(conversation.Turn("assistant", (Block(Kind.TEXT, "It is a cat."),)),),
        facts=(("model", "gpt-4o-2024-08-06"),),
        usage=(
            ("prompt_tokens", 19),
            ("completion_tokens", 10),
            ("total_tokens", 29),
            ("prompt_tokens_details.cached_tokens", 3),
        ),
        ending="stop",
    )


@pytest.mark.parametrize("stream", [bodies.CHAT_STREAM, bodies.CHAT_MERGED], ids=["as_sent", "merged"])
def test_a_stream_of_chat_is_put_together(stream: bytes) -> None:
    told = of_answer(Topic.CHAT, stream, STREAM)

    assert blocks(told) == [
        Block(Kind.REASONING, "Let me think."),
        Block(Kind.TEXT, "It is a cat."),
        CALL,
        Block(Kind.CALL, "{}", "get_time", "call_2"),
    ]
    assert told.ending == "tool_calls"
    assert told.usage == (("prompt_tokens", 9), ("completion_tokens", 4))
    assert not told.is_cut


def test_several_choices_are_told_apart() -> None:
    stream = sse(*[bodies.chunk({"content": text}, index) for index, text in [(0, "a"), (1, "x"), (0, "b"), (1, "y")]])

    told = of_answer(Topic.CHAT, stream, STREAM)

    assert roles(told) == ["assistant, choice 1", "assistant, choice 2"]
    assert [turn.blocks[0].text for turn in told.turns] == ["ab", "xy"]


def test_sound_is_its_transcript_and_a_size() -> None:
    deltas: list[dict[str, Any]] = [{"audio": {"id": "audio_1", "transcript": "Hel"}}, {"audio": {"transcript": "lo"}}]
    deltas += [{"audio": {"data": bodies.WAV[:100]}}, {"audio": {"data": bodies.WAV[100:]}}]

    told = of_answer(Topic.CHAT, sse(*map(bodies.chunk, deltas)), STREAM)

    assert blocks(told) == [Block(Kind.TEXT, "Hello"), Block(Kind.ATTACHMENT, "audio, 204 bytes")]


def test_a_refusal_is_one_and_so_is_an_older_call() -> None:
    message = {"content": "", "refusal": "No.", "function_call": {"name": "f", "arguments": "{"}}

    told = of_answer(Topic.CHAT, body({"choices": [{"message": message}]}))

    assert blocks(told) == [Block(Kind.REFUSAL, "No."), Block(Kind.CALL, "{", "f")]


def test_an_older_call_in_a_stream_is_put_together() -> None:
    deltas = [{"function_call": {"name": "f", "arguments": "{"}}, {"function_call": {"arguments": "}"}}]

    told = of_answer(Topic.CHAT, sse(*map(bodies.chunk, deltas)), STREAM)

    assert blocks(told) == [Block(Kind.CALL, "{}", "f")]


# Completions


def test_prompts_and_their_completions_are_turns() -> None:
    asked = of_request(Topic.COMPLETIONS, body(bodies.COMPLETION_REQUEST))
    answered = of_answer(Topic.COMPLETIONS, body(bodies.COMPLETION_ANSWER))
    streamed = of_answer(Topic.COMPLETIONS, bodies.COMPLETION_STREAM, STREAM)

    assert [turn.blocks[0].text for turn in asked.turns] == ["Once upon", "There was"]
    assert [turn.blocks[0].text for turn in answered.turns] == [" a time", " a king"]
    assert answered.ending == "length, stop"
    assert [turn.blocks[0].text for turn in streamed.turns] == [" a time"]
    assert streamed.ending == "length"


def test_a_prompt_of_tokens_is_counted() -> None:
    told = of_request(Topic.COMPLETIONS, body({"prompt": [1, 2, 3], "suffix": "the end"}))

    assert blocks(told) == [Block(Kind.NOTE, "3 tokens, given as numbers")]
    assert roles(told) == ["prompt", "suffix"]


# Responses


def test_a_request_for_a_response_is_a_conversation() -> None:
    told = of_request(Topic.RESPONSES, body(bodies.RESPONSE_REQUEST))

    assert roles(told) == ["instructions", "user", "assistant", "assistant", "tool"]
    assert blocks(told, 1) == [
        Block(Kind.TEXT, "Weather?"),
        Block(Kind.ATTACHMENT, "image/jpeg, 2.0 KiB"),
        Block(Kind.ATTACHMENT, "b.pdf, application/pdf, 4.9 KiB"),
    ]
    assert blocks(told, 2) == [Block(Kind.REASONING, "Ask the tool.")]
    assert blocks(told, 3) == [Block(Kind.CALL, PRETTY, "get_weather", "call_9")]
    assert blocks(told, 4) == [Block(Kind.RESULT, "rain", "", "call_9")]
    assert told.facts[-1] == ("tools", "web_search, get_weather")


def test_a_text_for_a_response_is_what_the_user_says() -> None:
    told = of_request(Topic.RESPONSES, body({"input": "Hi"}))

    assert roles(told) == ["user"] and blocks(told) == [Block(Kind.TEXT, "Hi")]


@pytest.mark.parametrize(
    "answer", [body(bodies.RESPONSE_ANSWER), bodies.RESPONSE_STREAM], ids=["whole", "end_of_a_stream"]
)
def test_a_response_is_a_turn_for_each_of_its_items(answer: bytes) -> None:
    told = of_answer(Topic.RESPONSES, answer)

    assert [block for turn in told.turns for block in turn.blocks] == [
        Block(Kind.NOTE, "reasoning, encrypted"),
        Block(
            Kind.CALL, '{\n  "action": {\n    "type": "search",\n    "query": "rain Ulm"\n  }\n}', "web_search", "ws_1"
        ),
        Block(Kind.TEXT, "It rains."),
        Block(Kind.REFUSAL, "I will not say more."),
        Block(Kind.CALL, "", "image_generation", "ig_1"),
        Block(Kind.ATTACHMENT, "image, 2.0 KiB"),
    ]
    assert told.ending == "incomplete: max_output_tokens"
    assert told.usage[-1] == ("output_tokens_details.reasoning_tokens", 64)


def test_a_response_that_breaks_off_is_what_has_come() -> None:
    told = of_answer(Topic.RESPONSES, bodies.RESPONSE_STREAM_SO_FAR, STREAM)

    assert [turn.blocks for turn in told.turns] == [
        (Block(Kind.TEXT, "It rains."),),
        (Block(Kind.CALL, PRETTY, "get_weather", "call_9"),),
    ]
    assert told.ending == "in_progress"


def test_items_of_a_response_without_their_beginning_are_told_by_what_they_add() -> None:
    stream = sse(
        {"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "Hm."},
        {"type": "response.custom_tool_call_input.delta", "output_index": 1, "delta": "ls"},
        {"type": "response.refusal.delta", "output_index": 2, "delta": "No."},
        {"type": "response.output_item.done", "output_index": 3, "item": {"type": "item_reference", "id": "msg_7"}},
    )

    told = of_answer(Topic.RESPONSES, stream, STREAM)

    assert [turn.blocks[0] for turn in told.turns] == [
        Block(Kind.REASONING, "Hm."),
        Block(Kind.CALL, "ls", "custom_tool"),
        Block(Kind.REFUSAL, "No."),
        Block(Kind.NOTE, '{\n  "type": "item_reference",\n  "id": "msg_7"\n}'),
    ]


# Messages


def test_a_request_for_a_message_is_a_conversation() -> None:
    told = of_request(Topic.MESSAGES, body(bodies.MESSAGE_REQUEST))

    assert roles(told) == ["system", "user", "assistant", "user"]
    assert blocks(told, 1) == [
        Block(Kind.ATTACHMENT, "image/png, 2.0 KiB"),
        Block(Kind.ATTACHMENT, "Notes, 11 bytes of text"),
        Block(Kind.TEXT, "Weather?"),
    ]
    assert blocks(told, 2) == [
        Block(Kind.REASONING, "Ask the tool."),
        Block(Kind.NOTE, "thinking, encrypted, 160 bytes"),
        Block(Kind.CALL, PRETTY, "get_weather", "toolu_1"),
    ]
    assert blocks(told, 3) == [
        Block(Kind.RESULT, "no such city", "(an error)", "toolu_1"),
        Block(Kind.ATTACHMENT, "image at https://img.example/map.png"),
    ]


def test_a_message_is_a_turn_with_its_ending_and_usage() -> None:
    told = of_answer(Topic.MESSAGES, body(bodies.MESSAGE_ANSWER))

    assert roles(told) == ["assistant"] and blocks(told) == [Block(Kind.TEXT, "It rains.")]
    assert told.ending == "end_turn"
    assert told.usage == (("input_tokens", 25), ("cache_read_input_tokens", 7), ("output_tokens", 15))


def test_a_stream_of_a_message_is_put_together() -> None:
    told = of_answer(Topic.MESSAGES, bodies.MESSAGE_STREAM, STREAM)

    assert blocks(told) == [
        Block(Kind.REASONING, "Ask the tool."),
        Block(Kind.TEXT, "It rains."),
        Block(Kind.CALL, PRETTY, "get_weather", "toolu_1"),
    ]
    assert told.ending == "tool_use"
    assert ("output_tokens", 89) in told.usage and ("input_tokens", 25) in told.usage


# Embeddings


def test_embeddings_are_counted_and_measured() -> None:
    asked = of_request(Topic.EMBEDDINGS, body(bodies.EMBEDDING_REQUEST))
    answered = of_answer(Topic.EMBEDDINGS, body(bodies.EMBEDDING_ANSWER))

    assert [(turn.role, turn.blocks[0].text) for turn in asked.turns] == [("input 1", "one"), ("input 2", "two")]
    assert [block.text for block in answered.turns[0].blocks] == [
        "2 vectors",
        "0: 3 dimensions, norm 1.0000",
        "1: 4 dimensions, norm 2.0000",
    ]
    assert answered.usage[0] == ("prompt_tokens", 8)


def test_of_many_embeddings_the_first_are_told() -> None:
    asked = of_request(Topic.EMBEDDINGS, body({"input": ["x"] * 1000}))
    answered = of_answer(Topic.EMBEDDINGS, body({"data": [{"index": n, "embedding": [1.0]} for n in range(1000)]}))

    assert len(asked.turns) == 21 and blocks(asked, -1) == [Block(Kind.NOTE, "980 more inputs")]
    assert len(blocks(answered)) == 21 and blocks(answered, -1) == [Block(Kind.NOTE, "980 more vectors")]


@pytest.mark.parametrize("given", [[1, 2, 3], [[1, 2, 3]]], ids=["one", "several"])
def test_tokens_to_embed_are_counted(given: Any) -> None:
    told = of_request(Topic.EMBEDDINGS, body({"input": given}))

    assert blocks(told) == [Block(Kind.NOTE, "3 tokens, given as numbers")]


@pytest.mark.parametrize("vector", ["no base64!", ["a"], None, [1e200]], ids=["text", "words", "nothing", "too_large"])
def test_what_is_no_vector_is_said_to_be_none(vector: Any) -> None:
    told = of_answer(Topic.EMBEDDINGS, body({"data": [{"embedding": vector}]}))

    assert blocks(told)[1] == Block(Kind.NOTE, "0: not a vector")


# Errors


@pytest.mark.parametrize(
    ("topic", "document", "said"),
    [
        (
            Topic.CHAT,
            {"error": {"message": "Bad model.", "type": "invalid_request_error", "param": "model", "code": "no_model"}},
            "invalid_request_error no_model (model): Bad model.",
        ),
        (
            Topic.MESSAGES,
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
            "overloaded_error: Overloaded",
        ),
        (Topic.CHAT, {"error": "model not loaded"}, "model not loaded"),
        (Topic.RESPONSES, {"error": {"why": 7}, "output": []}, '{\n  "why": 7\n}'),
    ],
    ids=["openai", "anthropic", "text", "other"],
)
def test_errors_are_told_with_their_kind_and_message(topic: Topic, document: dict[str, Any], said: str) -> None:
    told = of_answer(topic, body(document))

    assert told.error == said and told.rest == ""


@pytest.mark.parametrize(
    ("topic", "event"),
    [
        (Topic.CHAT, {"error": {"message": "It broke.", "type": "server_error"}}),
        (Topic.RESPONSES, {"type": "error", "code": "server_error", "message": "It broke."}),
        (Topic.RESPONSES, {"type": "response.failed", "response": {"error": {"message": "It broke."}}}),
        (Topic.MESSAGES, {"type": "error", "error": {"type": "api_error", "message": "It broke."}}),
    ],
    ids=["chat", "responses", "failed_response", "messages"],
)
def test_an_error_in_a_stream_is_told(topic: Topic, event: dict[str, Any]) -> None:
    told = of_answer(topic, sse(event), STREAM)

    assert told.error.endswith(": It broke.") or told.error == ": It broke."


def test_an_error_in_json_is_told_though_the_head_announces_a_stream() -> None:
    told = of_answer(Topic.CHAT, body({"error": {"message": "no"}}), STREAM)

    assert told.error == ": no"


@pytest.mark.parametrize("sent", [b"", b"da", b": ping", b"data: [DONE]\n\n"], ids=["none", "cut", "comment", "done"])
@pytest.mark.parametrize("topic", list(Topic))
def test_of_a_stream_that_has_said_nothing_nothing_is_told(topic: Topic, sent: bytes) -> None:
    assert of_answer(topic, sent, STREAM) == Conversation()


@pytest.mark.parametrize("topic", list(Topic))
def test_what_is_said_to_be_a_stream_and_is_none_is_an_error(topic: Topic) -> None:
    with pytest.raises(ValueError, match="."):
        of_answer(topic, b"<html>Bad Gateway</html>", STREAM)


# What breaks off


@pytest.mark.parametrize(
    ("topic", "document"),
    [
        (Topic.CHAT, bodies.CHAT_REQUEST),
        (Topic.COMPLETIONS, bodies.COMPLETION_REQUEST),
        (Topic.RESPONSES, bodies.RESPONSE_REQUEST),
        (Topic.MESSAGES, bodies.MESSAGE_REQUEST),
        (Topic.EMBEDDINGS, bodies.EMBEDDING_REQUEST),
    ],
    ids=list(Topic),
)
def test_a_request_that_is_cut_anywhere_is_told_as_far_as_it_goes(topic: Topic, document: dict[str, Any]) -> None:
    whole = body(document)

    for end in range(1, len(whole), 7):
        assert of_request(topic, whole[:end]).is_cut


def test_a_text_that_is_cut_is_shown_up_to_there() -> None:
    whole = body({"model": "m", "messages": [{"role": "user", "content": 'Caf\\é \\u00e9 "quoted" and more'}]})

    told = of_request(Topic.CHAT, whole[: whole.index(b"quoted") + 3])

    assert blocks(told) == [Block(Kind.TEXT, 'Caf\\é \\u00e9 "quo')]
    assert told.is_cut


@pytest.mark.parametrize(
    ("topic", "stream"),
    [
        (Topic.CHAT, bodies.CHAT_STREAM),
        (Topic.CHAT, bodies.CHAT_MERGED),
        (Topic.COMPLETIONS, bodies.COMPLETION_STREAM),
        (Topic.RESPONSES, bodies.RESPONSE_STREAM),
        (Topic.MESSAGES, bodies.MESSAGE_STREAM),
    ],
    ids=["chat", "merged_chat", "completions", "responses", "messages"],
)
def test_a_stream_that_is_cut_anywhere_is_told_as_far_as_it_goes(topic: Topic, stream: bytes) -> None:
    for end in range(0, len(stream), 3):
        of_answer(topic, stream[:end], STREAM)


def test_a_stream_that_is_cut_within_an_event_has_its_beginning() -> None:
    stream = bodies.CHAT_STREAM[: bodies.CHAT_STREAM.index(b"a cat.") + 3]

    told = of_answer(Topic.CHAT, stream, STREAM)

    assert blocks(told) == [Block(Kind.REASONING, "Let me think."), Block(Kind.TEXT, "It is a c")]
    assert told.is_cut


# Hostile bodies


@pytest.mark.parametrize("junk", [b"", b"hello", b"[1]", b"7", b"\xff\xfe\x00", b"[" * 100_000, b'"text"'], ids=repr)
@pytest.mark.parametrize("topic", list(Topic))
def test_what_is_no_object_is_an_error(topic: Topic, junk: bytes) -> None:
    with pytest.raises(ValueError, match="."):
        of_request(topic, junk)
    with pytest.raises(ValueError, match="."):
        of_answer(topic, junk, "application/json")


def test_control_characters_and_what_turns_writing_around_are_not_shown() -> None:
    told = of_request(
        Topic.CHAT, body({"messages": [{"role": "u\x1b[31m\nx", "content": "a\x00b\u202ec\r\nd\x9be\u2028f"}]})
    )

    assert roles(told) == ["u\ufffd[31m x"]
    assert blocks(told) == [Block(Kind.TEXT, "a\ufffdb\ufffdc\nd\ufffde\nf")]


def test_halves_of_surrogate_pairs_are_not_shown() -> None:
    told = of_request(Topic.CHAT, b'{"messages":[{"role":"user","content":"a\\ud83d"}]}')

    assert blocks(told) == [Block(Kind.TEXT, "a\ufffd")]
    assert not told.is_cut


def test_base64_in_a_text_is_measured() -> None:
    content = f"see ![](data:image/png;base64,{bodies.PNG}) and {bodies.PDF} there"

    told = of_request(Topic.CHAT, body({"messages": [{"role": "user", "content": content}]}))

    assert blocks(told)[0].text == "see ![]([image/png, 2.0 KiB]) and [base64, 4.9 KiB] there"


def test_base64_in_unknown_places_is_measured() -> None:
    part = {"type": "hologram", "bytes": bodies.PNG, "within": [{"deeper": bodies.PDF}]}
    asked = {"messages": [{"role": "user", "content": [part]}], "extra": {"x": bodies.PDF}}

    told = of_request(Topic.CHAT, body(asked))

    assert "base64, 2.0 KiB" in shown(told) and "base64, 4.9 KiB" in shown(told)
    assert bodies.PNG[:40] not in shown(told) and bodies.PDF[:40] not in shown(told)


def test_long_words_of_one_kind_are_text() -> None:
    told = of_request(Topic.CHAT, body({"messages": [{"role": "user", "content": "a" * 1000}]}))

    assert blocks(told) == [Block(Kind.TEXT, "a" * 1000)]


def test_a_long_text_is_shortened() -> None:
    told = of_request(Topic.CHAT, body({"messages": [{"role": "user", "content": "word " * 100_000}]}))

    assert blocks(told)[0].text.endswith("... 467232 more characters")


def test_of_very_many_turns_the_first_and_the_last_are_told() -> None:
    asked = {"messages": [{"role": "user", "content": str(n)} for n in range(3000)]}

    told = of_request(Topic.CHAT, body(asked))

    assert len(told.turns) == MOST_TURNS + 1
    assert blocks(told, 0)[0].text == "0" and blocks(told, -1)[0].text == "2999"
    assert blocks(told, 20) == [Block(Kind.NOTE, "2500 turns are not shown")]


def test_of_very_many_parts_the_first_are_told() -> None:
    parts = [{"type": "text", "text": str(n)} for n in range(3000)]

    told = of_request(Topic.CHAT, body({"messages": [{"role": "user", "content": parts}]}))

    assert len(blocks(told)) == MOST_BLOCKS + 1
    assert blocks(told)[-1] == Block(Kind.NOTE, "1 more pieces are not shown")


def _within(depth: int) -> dict[str, Any]:
    part: dict[str, Any] = {"type": "text", "text": "deep"}
    for _ in range(depth):
        part = {"type": "tool_result", "content": [part]}
    return part


@pytest.mark.parametrize("depth", [1, 10, 80])
def test_what_is_nested_deeply_is_shown_to_some_depth(depth: int) -> None:
    told = of_request(Topic.MESSAGES, body({"messages": [{"role": "user", "content": [_within(depth)]}]}))

    assert ("deep" in shown(told)) == (depth == 1)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
_NAMES = sorted(
    {"messages", "role", "content", "type", "text", "input", "prompt", "choices", "delta", "message", "index", "usage"}
    | {"tool_calls", "function", "arguments", "output", "item", "response", "error", "data", "embedding", "system"}
    | {"output_index", "content_index", "content_block", "image_url", "file", "source", "summary", "tools", "name"}
)
_TYPES = sorted(
    {"text", "image_url", "tool_use", "tool_result", "document", "file", "input_audio", "thinking", "refusal"}
    | {"message_start", "content_block_start", "content_block_delta", "message_delta", "text_delta", "error"}
    | {"response.output_item.added", "response.output_text.delta", "function_call", "reasoning"}
)
_likely = st.recursive(
    st.sampled_from(_TYPES) | st.integers(-2, 3) | st.none() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=5),
    max_leaves=30,
)


@given(document=st.dictionaries(st.sampled_from(_NAMES), _likely | _json, max_size=6), topic=st.sampled_from(Topic))
def test_any_json_object_is_told(document: dict[str, Any], topic: Topic) -> None:
    sent = json.dumps(document).encode()

    for told in (of_request(topic, sent), of_answer(topic, sent), of_answer(topic, sse(document, document), STREAM)):
        shown(told).encode()


@given(sent=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="replace")))
def test_any_bytes_are_told_or_an_error(sent: bytes) -> None:
    for topic in Topic:
        for tell in (of_request, partial(of_answer, content_type=STREAM)):
            try:
                told = tell(topic, sent)
            except ValueError:
                continue
            shown(told).encode()


_MIB = 1 << 20
LARGE = {
    "one_text": body({"messages": [{"role": "user", "content": "word " * (_MIB // 5)}]}),
    "many_turns": body({"messages": [{"role": "user", "content": "x"}] * (_MIB // 36)}),
    "many_settings": body({f"s{n}": {"a": [n]} for n in range(_MIB // 22)}),
    "numbers_cut": b'{"messages":[' + b"1," * (_MIB // 2),
    "brackets": b'{"messages":' + b"[" * _MIB,
    "strings_cut": b'{"messages":["' + b'\\"' * (_MIB // 2),
    "quotes": b'{"messages":[' + b'"",' * (_MIB // 3),
    "base64_near_misses": body({"messages": [{"role": "user", "content": ("aB3" * 84 + " ") * 4000}]}),
    "base64_lines": body({"messages": [{"role": "user", "content": ("a" * 60 + "\n" + "b ") * 16000}]}),
    "data_urls": body({"messages": [{"role": "user", "content": "data:a/" + "data:a/b;c" * (_MIB // 10)}]}),
    "unknown_parts": body({"messages": [{"role": "user", "content": [{"type": "?", "x": [[1]] * 40_000}] * 4}]}),
    "arguments": body({"messages": [{"tool_calls": [{"function": {"arguments": "[" * 500 + "1," * 200_000}}]}]}),
}
LARGE_STREAMS = {
    "tiny_deltas": sse(bodies.chunk({"content": "x" * 30})) * (_MIB // 190),
    "many_choices": b"".join(sse({"choices": [{"index": n, "delta": {"content": "x"}}]}) for n in range(_MIB // 64)),
    "many_calls": b"".join(
        sse({"choices": [{"delta": {"tool_calls": [{"index": n, "function": {"arguments": "{"}}]}}]})
        for n in range(_MIB // 100)
    ),
    "empty_events": b"data: {}\n\n" * (_MIB // 10),
}


@pytest.mark.parametrize("name", list(LARGE))
def test_large_requests_are_told_in_little_time_and_space(name: str) -> None:
    began = time.process_time()
    try:
        told = of_request(Topic.CHAT, LARGE[name])
    except ValueError:
        told = Conversation()

    assert time.process_time() - began < 5
    assert len(shown(told)) < 4 * _MIB


@pytest.mark.parametrize("name", list(LARGE_STREAMS))
@pytest.mark.parametrize("topic", [Topic.CHAT, Topic.RESPONSES, Topic.MESSAGES])
def test_large_streams_are_told_in_little_time_and_space(topic: Topic, name: str) -> None:
    began = time.process_time()

    told = of_answer(topic, LARGE_STREAMS[name], STREAM)

    assert time.process_time() - began < 5
    assert len(shown(told)) < 4 * _MIB
