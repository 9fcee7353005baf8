"""What is asked and answered: OpenAI-shaped chats, and a model's name that tells the provider what to answer.

`bench-json-SIZE` is answered with JSON of about SIZE bytes, `bench-once-SIZE` with the same on a connection that the
provider then closes, and `bench-sse-COUNT-RATE` with COUNT chunks, RATE each second.
"""

import json
import re
import time

PATH = "/v1/chat/completions"
PROVIDER_KEY = "sk-provider-000000000000000000000000000000000000000000000000"
SMALL = 0
_MODEL = re.compile(rb"bench-(json|once|sse)-(\d+)(?:-(\d+))?")
_STAMP = re.compile(rb"@(\d{19})@")
_DIGITS = 19


def json_model(size: int) -> str:
    """Return the model that is answered with JSON of about `size` bytes, SMALL for a short answer."""
    return f"bench-json-{size}"


def once_model(size: int) -> str:
    """Return the model that is answered like that on a connection which the provider does not keep."""
    return f"bench-once-{size}"


def stream_model(chunks: int, per_second: int) -> str:
    """Return the model that is answered with a stream; `per_second` 0 is as fast as the provider can."""
    return f"bench-sse-{chunks}-{per_second}"


def request_body(model: str, size: int = 0) -> bytes:
    """Return a chat of at least `size` bytes."""
    body: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": "Hello!" + "x" * size}]}
    if "-sse-" in model:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(body).encode()


def wanted(request: bytes) -> tuple[str, int, int] | None:
    """Return what a request's model asks for: ("json" or "once", size, 0) or ("sse", chunks, per second)."""
    found = _MODEL.search(request)
    return (found[1].decode(), int(found[2]), int(found[3] or 0)) if found else None


def whole(status: str, body: bytes) -> bytes:
    """Return an HTTP answer of JSON."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def chat(size: int) -> bytes:
    """Return the HTTP answer of `bench-json-SIZE`."""
    message = {"role": "assistant", "content": "Hello! How can I help?" + "x" * size}
    return whole("200 OK", json.dumps({
        "id": "chatcmpl-bench", "object": "chat.completion", "created": 1760000000, "model": "bench",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21},
    }).encode())  # fmt: skip


def _event(fields: str) -> bytes:
    start = '{"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1760000000,"model":"bench",'
    return f"data: {start}{fields}}}\n\n".encode()


def _framed(event: bytes, length: int) -> bytes:
    return b"%x\r\n%b\r\n" % (length, event)


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_CHUNK = _event('"choices":[{"index":0,"delta":{"content":"@STAMP@"},"finish_reason":null}]')
# A format with one gap, so that a chunk costs the provider little more than reading the clock.
_FRAMED_CHUNK = _framed(_CHUNK.replace(b"STAMP", b"%019d"), len(_CHUNK) - len("STAMP") + _DIGITS)
_STOP = _event('"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]')
_USAGE = _event('"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21}')
_LAST = _STOP + _USAGE + b"data: [DONE]\n\n"
STREAM_END = _framed(_LAST, len(_LAST)) + b"0\r\n\r\n"


def stream_chunk() -> bytes:
    """Return a framed chunk that holds the time at which it was made, in nanoseconds of the machine's clock."""
    return _FRAMED_CHUNK % time.monotonic_ns()


def stamps(received: bytes) -> list[int]:
    """Return the times, in nanoseconds, that the chunks in a piece of an answer hold."""
    return [int(found) for found in _STAMP.findall(received)]
