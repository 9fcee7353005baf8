"""Rules of reading an answer beside its way to the client, on recordings of what providers send."""

import gzip
import tracemalloc
import zlib

import brotli
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from addons.dialects import reader as reader_module
from addons.dialects.answer import Answer
from addons.dialects.reader import AnswerReader
from shared.models import Usage

CHAT = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","model":"gpt-4o-mini-2024-07-18",'
    b'"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}\n\n'
    b'data: {"id":"chatcmpl-1","model":"gpt-4o-mini-2024-07-18","choices":[{"delta":{"content":"\\"usage\\""},'
    b'"finish_reason":null}],"usage":null}\n\n'
    b'data: {"id":"chatcmpl-1","model":"gpt-4o-mini-2024-07-18","choices":[],"usage":{"prompt_tokens":9,'
    b'"completion_tokens":12,"total_tokens":21,"prompt_tokens_details":{"cached_tokens":0}}}\n\n'
    b"data: [DONE]\n\n"
)
RESPONSES = (
    b'event: response.created\ndata: {"type":"response.created","response":{"id":"resp_1","model":"gpt-4.1",'
    b'"usage":null}}\n\n'
    b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"hi"}\n\n'
    b'event: response.completed\ndata: {"type":"response.completed","response":{"id":"resp_1","model":"gpt-4.1",'
    b'"usage":{"input_tokens":36,"output_tokens":87,"total_tokens":123}}}\n\n'
)
MESSAGES = (
    b'event: message_start\ndata: {"type":"message_start","message":{"model":"claude-sonnet-4-5","usage":'
    b'{"input_tokens":25,"output_tokens":1}}}\n\n'
    b'event: ping\ndata: {"type": "ping"}\n\n'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"text":"Hello"}}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
    b'"usage":{"output_tokens":15}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)
RECORDINGS = {
    "chat": ("openai", CHAT, Answer("gpt-4o-mini-2024-07-18", Usage(9, 12, 21, cached_tokens=0), None, True)),
    "responses": ("openai", RESPONSES, Answer("gpt-4.1", Usage(36, 87, 123), None, True)),
    "messages": ("anthropic", MESSAGES, Answer("claude-sonnet-4-5", Usage(25, 15, 40), "end_turn", True)),
}


def read(reader: AnswerReader, *chunks: bytes) -> Answer:
    for chunk in chunks:
        reader.feed(chunk)
    reader.finish()
    return reader.answer


def stream_reader(dialect: str, coding: str = "") -> AnswerReader:
    return AnswerReader(dialect, "text/event-stream; charset=utf-8", coding)


@pytest.mark.parametrize("recording", RECORDINGS)
def test_a_stream_cut_at_any_byte_says_the_same(recording: str) -> None:
    dialect, stream, expected = RECORDINGS[recording]

    answers = {read(stream_reader(dialect), stream[:cut], stream[cut:]) for cut in range(len(stream) + 1)}

    assert answers == {expected}


@pytest.mark.parametrize(
    ("dialect", "body", "expected"),
    [
        (
            "openai",
            b'{"model":"gpt-4o","usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}',
            Answer("gpt-4o", Usage(5, 7, 12), is_final=True),
        ),
        (
            "openai",
            b'{"model":"text-embedding-3-small","usage":{"prompt_tokens":8,"total_tokens":8}}',
            Answer("text-embedding-3-small", Usage(8, None, 8), is_final=True),
        ),
        (
            "openai",
            b'{"model":"gpt-4.1","usage":{"input_tokens":3,"output_tokens":4,"total_tokens":7}}',
            Answer("gpt-4.1", Usage(3, 4, 7), is_final=True),
        ),
        (
            "anthropic",
            b'{"model":"claude","usage":{"input_tokens":3,"output_tokens":4}}',
            Answer("claude", Usage(3, 4, 7), is_final=True),
        ),
        ("opaque", b'{"model":"m","usage":{"prompt_tokens":1}}', Answer()),
        ("openai", b"not json", Answer()),
        ("openai", b'{"model":"m","usage":{"prompt_tokens":"many"}}', Answer()),
        ("anthropic", b"\xff\xfe", Answer()),
        ("openai", b"", Answer()),
    ],
)
def test_a_json_body_is_read_as_a_whole(dialect: str, body: bytes, expected: Answer) -> None:
    reader = AnswerReader(dialect, "application/json; charset=utf-8", "")

    assert read(reader, body[:10], body[10:]) == expected


def encoded(coding: str, plain: bytes) -> bytes:
    if coding == "gzip":
        return gzip.compress(plain)
    if coding == "deflate":
        return zlib.compress(plain)
    if coding == "br":
        return bytes(brotli.compress(plain))
    return zstandard.compress(plain)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_coded_stream_cut_at_any_byte_says_the_same(coding: str) -> None:
    coded = encoded(coding, CHAT)

    answers = {read(stream_reader("openai", coding), coded[:cut], coded[cut:]) for cut in range(len(coded) + 1)}

    assert answers == {RECORDINGS["chat"][2]}


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_bytes_that_are_not_of_their_coding_end_the_reading_quietly(coding: str) -> None:
    assert read(stream_reader("openai", coding), b"\x00garbage" * 9, CHAT) == Answer()


@pytest.mark.parametrize("coding", ["gzip, br", "compress", "x-unknown"])
def test_an_unknown_coding_is_not_read(coding: str) -> None:
    assert read(stream_reader("openai", coding), CHAT) == Answer()


IMAGE = (
    b'event: image_generation.completed\ndata: {"type":"image_generation.completed","b64_json":"%b","usage":'
    b'{"input_tokens":50,"output_tokens":4160,"total_tokens":4210}}\n\n'
)
IN_RESPONSE = (
    b'event: response.completed\ndata: {"type":"response.completed","response":{"model":"gpt-5","output":'
    b'[{"type":"image_generation_call","result":"%b"}],"usage":{"input_tokens":50,"output_tokens":4160,'
    b'"total_tokens":4210}}}\n\n'
)


@pytest.mark.parametrize("event", [IMAGE, IN_RESPONSE], ids=["image", "response"])
def test_the_usage_that_comes_with_a_streamed_image_is_read(event: bytes) -> None:
    raw = event % (b"A" * 6_000_000)

    answer = read(stream_reader("openai"), *(raw[at : at + 65536] for at in range(0, len(raw), 65536)))

    assert answer.usage == Usage(50, 4160, 4210) and answer.is_final


def test_a_cut_stream_keeps_what_it_has_said_so_far() -> None:
    reader = stream_reader("openai")

    reader.feed(CHAT[:300])

    assert reader.answer == Answer("gpt-4o-mini-2024-07-18", Usage())


def test_other_content_is_not_held() -> None:
    reader = AnswerReader("openai", "audio/mpeg", "")

    assert read(reader, b'{"model":"m"}') == Answer()


def test_a_body_over_the_bound_passes_unread() -> None:
    reader = AnswerReader("openai", "application/json", "")
    filler = b" " * reader_module.MAX_BODY_BYTES

    assert read(reader, b'{"model":"m"', filler, b"}") == Answer()


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
def test_a_few_bytes_that_stand_for_gigabytes_are_not_unpacked(coding: str) -> None:
    zeros = bytes(64 << 20)
    packed = {
        "gzip": gzip.compress,
        "deflate": zlib.compress,
        "br": lambda plain: brotli.compress(plain, quality=1),
        "zstd": zstandard.ZstdCompressor().compress,
    }[coding](zeros)
    tracemalloc.start()

    answer = read(AnswerReader("openai", "application/json", coding), packed)

    assert answer == Answer() and tracemalloc.get_traced_memory()[1] < 48 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("dialect", ["openai", "anthropic", "opaque"])
@given(st.binary(max_size=200), st.integers(0, 200))
@example(b'{"model":"\xff\xfe","usage":{}}', 3)
@example(b'data: {"model":"\xff"}\n\n', 9)
@example(b'{"usage":' + b"[" * 100_000, 50)
def test_no_bytes_of_a_provider_make_reading_fail(dialect: str, body: bytes, cut: int) -> None:
    for kind in ("application/json", "text/event-stream"):
        read(AnswerReader(dialect, kind, ""), body[:cut], body[cut:])
