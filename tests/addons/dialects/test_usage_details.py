"""Rules of reading usage: one way of counting, whatever the provider's own is."""

import pytest

from addons.dialects import anthropic, openai
from addons.dialects.answer import Answer, Said
from addons.dialects.reader import AnswerReader
from shared.models import Usage

CHAT = b"""{"model":"gpt-4o","choices":[{"finish_reason":"length","message":{"content":"x"}}],"usage":{
"prompt_tokens":20,"completion_tokens":10,"total_tokens":30,
"prompt_tokens_details":{"cached_tokens":5,"audio_tokens":2,"cache_write_tokens":1},
"completion_tokens_details":{"reasoning_tokens":4,"audio_tokens":3,"accepted_prediction_tokens":0}}}"""
COMPLETION = b"""{"model":"gpt-3.5-turbo-instruct","choices":[{"text":"x","finish_reason":"stop"}],
"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}"""
RESPONSE = b"""{"model":"gpt-4.1","status":"completed","incomplete_details":null,"usage":{"input_tokens":36,
"input_tokens_details":{"cached_tokens":8},"output_tokens":87,"output_tokens_details":{"reasoning_tokens":64},
"total_tokens":123}}"""
INCOMPLETE = b"""{"model":"gpt-4.1","status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},
"usage":{"input_tokens":1,"output_tokens":2,"total_tokens":3}}"""
TRANSCRIPTION = b"""{"text":"x","usage":{"type":"tokens","input_tokens":14,"input_token_details":{"text_tokens":4,
"audio_tokens":10},"output_tokens":45,"total_tokens":59}}"""
IMAGE = b"""{"created":1,"data":[{"b64_json":"x"}],"usage":{"total_tokens":100,"input_tokens":50,"output_tokens":50,
"input_tokens_details":{"text_tokens":10,"image_tokens":40}}}"""
MESSAGE = b"""{"model":"claude-sonnet-4-5","stop_reason":"max_tokens","usage":{"input_tokens":10,
"cache_creation_input_tokens":200,"cache_read_input_tokens":3000,"output_tokens":7}}"""


@pytest.mark.parametrize(
    ("dialect", "body", "expected"),
    [
        ("openai", CHAT, Answer("gpt-4o", Usage(20, 10, 30, 5, 1, 4, 2, 3), "length", True)),
        ("openai", COMPLETION, Answer("gpt-3.5-turbo-instruct", Usage(5, 7, 12), "stop", True)),
        ("openai", RESPONSE, Answer("gpt-4.1", Usage(36, 87, 123, 8, reasoning_tokens=64), "completed", True)),
        ("openai", INCOMPLETE, Answer("gpt-4.1", Usage(1, 2, 3), "max_output_tokens", True)),
        ("openai", b'{"model":"m","status":"queued","usage":null}', Answer("m")),
        ("openai", b'{"usage":{"prompt_tokens":8,"total_tokens":8}}', Answer(None, Usage(8, None, 8), None, True)),
        ("openai", b'{"usage":{"prompt_tokens":8,"completion_tokens":1}}', Answer(None, Usage(8, 1, 9), None, True)),
        ("openai", TRANSCRIPTION, Answer(None, Usage(14, 45, 59, audio_prompt_tokens=10), None, True)),
        ("openai", b'{"text":"x","usage":{"type":"duration","seconds":9}}', Answer()),
        ("openai", IMAGE, Answer(None, Usage(50, 50, 100), None, True)),
        ("openai", b'{"usage":{"prompt_tokens":-5,"completion_tokens":1}}', Answer()),
        ("openai", b'{"usage":{"prompt_tokens":1e300,"completion_tokens":1}}', Answer()),
        ("openai", b'{"delta":{"a":1},"usage":{"total_tokens":3}}', Answer(None, Usage(total_tokens=3), None, True)),
        ("anthropic", MESSAGE, Answer("claude-sonnet-4-5", Usage(3210, 7, 3217, 3000, 200), "max_tokens", True)),
        ("anthropic", b'{"usage":{"input_tokens":-1}}', Answer()),
    ],
    ids=[
        "chat", "completion", "response", "incomplete", "queued", "embedding", "sum", "transcription", "duration",
        "image", "negative", "huge", "unexpected_elsewhere", "message", "negative_message",
    ],
)  # fmt: skip
def test_a_body_tells(dialect: str, body: bytes, expected: Answer) -> None:
    reader = AnswerReader(dialect, "application/json", "")
    reader.feed(body)
    reader.finish()

    assert reader.answer == expected


def read(dialect: str, *events: bytes) -> tuple[Answer, Said]:
    module, known, said = {"openai": openai, "anthropic": anthropic}[dialect], Answer(), Said()
    for event in events:
        known = module.read(known, event, said)
    return known, said


@pytest.mark.parametrize("ending", ["completed", "incomplete", "failed"])
def test_a_response_ends_in_one_of_three_ways_and_tells_its_usage_in_each(ending: str) -> None:
    inner = b'"response":{"model":"gpt-4.1","status":"%b","usage":{"input_tokens":3,"output_tokens":4}}'

    answer, _ = read(
        "openai",
        b'{"type":"response.created","response":{"model":"gpt-4.1","status":"in_progress","usage":null}}',
        b'{"type":"response.%b",%b}' % (ending.encode(), inner % ending.encode()),
    )

    assert answer == Answer("gpt-4.1", Usage(3, 4, 7), ending, True)


def test_a_message_is_final_once_its_delta_has_told_the_whole_output() -> None:
    inner = b'"model":"claude","usage":{"input_tokens":5,"cache_read_input_tokens":100,"output_tokens":1}'
    start = b'{"type":"message_start","message":{%b}}' % inner
    delta = b'{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}}'
    whole_delta = b'{"type":"message_delta","usage":{"input_tokens":6,"output_tokens":16}}'

    assert read("anthropic", start)[0] == Answer("claude", Usage(105, 1, 106, 100))
    assert read("anthropic", start, delta)[0] == Answer("claude", Usage(105, 15, 120, 100), "end_turn", True)
    assert read("anthropic", start, whole_delta)[0].usage == Usage(106, 16, 122, 100)


@pytest.mark.parametrize(
    ("dialect", "event", "text"),
    [
        ("openai", b'{"choices":[{"delta":{"role":"assistant","content":""}}]}', ""),
        ("openai", b'{"choices":[{"delta":{"content":"Hello"}}]}', "Hello"),
        ("openai", b'{"choices":[{"delta":{"content":null,"refusal":"No"}}]}', "No"),
        ("openai", b'{"choices":[{"delta":{"reasoning_content":"Hm"}}]}', "Hm"),
        ("openai", b'{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{\\"a\\":"}}]}}]}', '{"a":'),
        ("openai", b'{"choices":[{"delta":{"function_call":{"arguments":"ab"}}}]}', "ab"),
        ("openai", b'{"choices":[{"delta":{"audio":{"transcript":"spoken","data":"AAAA"}}}]}', "spoken"),
        ("openai", b'{"choices":[{"text":"legacy","finish_reason":null}]}', "legacy"),
        ("openai", b'{"type":"response.output_text.delta","delta":"hi"}', "hi"),
        ("openai", b'{"type":"response.function_call_arguments.delta","delta":"{}"}', "{}"),
        ("openai", b'{"type":"response.output_audio.delta","delta":"AAAAAAAA"}', ""),
        ("openai", b'{"type":"response.output_text.done","text":"hi"}', ""),
        ("openai", b"[DONE]", ""),
        ("anthropic", b'{"type":"content_block_delta","delta":{"type":"text_delta","text":"Hello"}}', "Hello"),
        ("anthropic", b'{"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":"{"}}', "{"),
        ("anthropic", b'{"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"Hm"}}', "Hm"),
        ("anthropic", b'{"type":"ping"}', ""),
    ],
    ids=[
        "role", "content", "refusal", "reasoning", "tool_call", "function_call", "transcript", "legacy", "output_text",
        "arguments", "sound", "done", "end", "text", "input_json", "thinking", "ping",
    ],
)  # fmt: skip
def test_generated_text_is_counted_as_it_passes(dialect: str, event: bytes, text: str) -> None:
    _, said = read(dialect, event)

    assert (said.pieces, said.size) == (1 if text else 0, len(text))


def test_each_choice_is_a_piece_of_its_own() -> None:
    _, said = read("openai", b'{"choices":[{"delta":{"content":"a"}},{"delta":{"content":"b"}}]}')

    assert said.pieces == 2


@pytest.mark.parametrize(
    ("texts", "tokens"),
    [([], 0), (["a", "b", "c"], 3), (["a" * 40], 10), (["a" * 41], 11), (["中文"], 2), (["", "a"], 1)],
    ids=["nothing", "a_piece_each", "long_piece", "rounded_up", "bytes_of_utf_8", "empty_piece"],
)
def test_said_tokens_are_pieces_or_bytes_whichever_are_more(texts: list[str], tokens: int) -> None:
    said = Said()

    for text in texts:
        said.add(text)

    assert said.tokens == tokens
