"""Streams as providers of chat send them, each one twice: as it comes unasked, and with the usage asked for."""

from dataclasses import dataclass

from shared.models import Usage

USAGE = (
    b'{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13,"prompt_tokens_details":{"cached_tokens":3,'
    b'"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":2,"audio_tokens":0,'
    b'"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}'
)
TOLD = Usage(9, 4, 13, cached_tokens=3, reasoning_tokens=2, audio_prompt_tokens=0, audio_completion_tokens=0)
HEAD = b'"id":"chatcmpl-1","object":"chat.completion.chunk","created":1735689600,"model":"gpt-4o-2024-08-06"'


@dataclass(frozen=True)
class Recording:
    """`asked` and `unasked` are whole streams; what the provider would tell of both is in `asked` alone."""

    asked: bytes
    unasked: bytes
    usage: Usage = TOLD
    finish_reason: str | None = "stop"


def _choice(delta: bytes, reason: bytes = b"null") -> bytes:
    return b'"choices":[{"index":0,"delta":%b,"logprobs":null,"finish_reason":%b}]' % (delta, reason)


_CHOICES = [
    _choice(b'{"role":"assistant","content":"","refusal":null}'),
    _choice(b'{"content":"say \\",\\"usage\\":null}\\n\\n"}'),
    _choice('{"content":" é 中文 🙂"}'.encode()),
    _choice(b'{"tool_calls":[{"index":0,"function":{"arguments":"{\\"usage\\":null}"}}]}'),
    _choice(b"{}", b'"stop"'),
]


def _stream(prefix: bytes = b"data: ", end: bytes = b"\n\n", padding: bytes = b"", before: bytes = b"") -> Recording:
    asked = b"".join(b'%b%b{%b,%b,"usage":null%b}%b' % (before, prefix, HEAD, c, padding, end) for c in _CHOICES)
    asked += b'%b%b{%b,"choices":[],"usage":%b%b}%b' % (before, prefix, HEAD, USAGE, padding, end)
    unasked = b"".join(b"%b%b{%b,%b%b}%b" % (before, prefix, HEAD, c, padding, end) for c in _CHOICES)
    done = prefix + b"[DONE]" + end
    return Recording(asked + done, unasked + done)


def _with_spaces() -> Recording:
    head = b'{"id": "cmpl-1", "object": "text_completion", "model": "gpt-4o-2024-08-06", '
    asked = b'data: {"usage": null, "choices": [{"text": "a, b", "finish_reason": "stop"}]}\n\n'
    asked += b'data: %b"usage": null, "choices": []}\n\n' % head
    asked += b'data: %b"choices": [ ], "usage": %b}\n\n' % (head, USAGE)
    unasked = b'data: {"choices": [{"text": "a, b", "finish_reason": "stop"}]}\n\n'
    unasked += b'data: %b"choices": []}\n\n' % head
    return Recording(asked, unasked)


def _with_other_events() -> Recording:
    both = b": OPENROUTER PROCESSING\n\n: \n\nretry: 3000\n\nevent: ping\nid: 7\n\ndata\ndata:\n\n"
    error = (
        b'event: error\ndata: {"error":{"message":"usage","code":null}}\n\ndata: {"usage":{"a":1},"x":\ndata: 1}\n\n'
    )
    plain = _stream()
    return Recording(both + plain.asked + error + both, both + plain.unasked + error + both)


RECORDINGS = {
    "openai": _stream(),
    "crlf": _stream(end=b"\r\n\r\n"),
    "no_space": _stream(prefix=b"data:"),
    "obfuscated": _stream(padding=b',"obfuscation":"aB3xYz"'),
    "fields_and_comments_before_data": _stream(before=b"event: message\r\nid: 1\r\n: note\r\n", end=b"\r\n\r\n"),
    "spaces_and_usage_first": _with_spaces(),
    "other_events": _with_other_events(),
}
