"""Bodies as clients and providers of each API send them, shortened from their documentation."""

import base64
import json
import struct
from typing import Any

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8).decode()
WAV = base64.b64encode(b"RIFF" + bytes(range(200))).decode()
PDF = base64.b64encode(b"%PDF-1.7" + bytes(range(250)) * 20).decode()
ARGUMENTS = '{"city":"Ulm","days":2}'


def sse(*events: dict[str, Any], named: bool = False, end: bytes = b"") -> bytes:
    """The events of a stream."""
    return b"".join(_event(event, named) for event in events) + end


def _event(event: dict[str, Any], named: bool) -> bytes:
    name = f"event: {event['type']}\n".encode() if named else b""
    return name + b"data: " + json.dumps(event).encode() + b"\n\n"


def chunk(delta: dict[str, Any], index: int = 0, reason: str | None = None, **more: Any) -> dict[str, Any]:
    """An event of a stream of chat."""
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "gpt-4o", "choices": [choice], **more}


CHAT_REQUEST = {
    "model": "gpt-4o",
    "temperature": 0.2,
    "stream": True,
    "stream_options": {"include_usage": True},
    "tools": [
        {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}},
        {"type": "custom", "custom": {"name": "run_shell"}},
    ],
    "messages": [
        {"role": "system", "content": "You are terse."},
        {
            "role": "user",
            "name": "ada",
            "content": [
                {"type": "text", "text": "What is this?\nAnd that?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://img.example/cat.png?signature=s3cret"}},
                {"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
                {"type": "file", "file": {"file_id": "file-abc"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": ARGUMENTS}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": '{"celsius": 12}'},
    ],
}

CHAT_ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-2024-08-06",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "It is a cat.", "refusal": None, "annotations": []},
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 19,
        "completion_tokens": 10,
        "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 3, "audio_tokens": 0},
    },
}

CHAT_STREAM = sse(
    chunk({"role": "assistant", "content": "", "refusal": None}),
    chunk({"reasoning_content": "Let me "}),
    chunk({"reasoning_content": "think."}),
    chunk({"content": "It is "}),
    chunk({"content": "a cat."}),
    chunk(
        {
            "tool_calls": [
                {"index": 0, "id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": ""}}
            ]
        }
    ),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"city":'}}]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"Ulm","days":2}'}}]}),
    chunk({"tool_calls": [{"index": 1, "id": "call_2", "function": {"name": "get_time", "arguments": "{}"}}]}),
    chunk({}, reason="tool_calls"),
    {"id": "chatcmpl-1", "model": "gpt-4o", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}},
    end=b"data: [DONE]\n\n",
)

# The same with the deltas of each series merged into its first event, as the feed tells of it.
CHAT_MERGED = sse(
    chunk({"role": "assistant", "content": "It is a cat.", "reasoning_content": "Let me think."}),
    chunk(
        {
            "tool_calls": [
                {"index": 0, "id": "call_1", "function": {"name": "get_weather", "arguments": ARGUMENTS}},
                {"index": 1, "id": "call_2", "function": {"name": "get_time", "arguments": "{}"}},
            ]
        }
    ),
    chunk({}, reason="tool_calls"),
    {"id": "chatcmpl-1", "model": "gpt-4o", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}},
    end=b"data: [DONE]\n\n",
)

COMPLETION_REQUEST = {"model": "gpt-3.5-turbo-instruct", "prompt": ["Once upon", "There was"], "max_tokens": 5}
COMPLETION_ANSWER = {
    "object": "text_completion",
    "model": "gpt-3.5-turbo-instruct",
    "choices": [
        {"text": " a time", "index": 0, "finish_reason": "length"},
        {"text": " a king", "index": 1, "finish_reason": "stop"},
    ],
}
COMPLETION_STREAM = sse(
    {"object": "text_completion", "model": "m", "choices": [{"index": 0, "text": " a ", "finish_reason": None}]},
    {"object": "text_completion", "model": "m", "choices": [{"index": 0, "text": "time", "finish_reason": "length"}]},
    end=b"data: [DONE]\n\n",
)

RESPONSE_REQUEST = {
    "model": "gpt-5",
    "instructions": "Be brief.",
    "reasoning": {"effort": "low"},
    "tools": [{"type": "web_search"}, {"type": "function", "name": "get_weather"}],
    "input": [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Weather?"},
                {"type": "input_image", "image_url": f"data:image/jpeg;base64,{PNG}"},
                {"type": "input_file", "filename": "b.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
            ],
        },
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Ask the tool."}]},
        {"type": "function_call", "call_id": "call_9", "name": "get_weather", "arguments": ARGUMENTS},
        {"type": "function_call_output", "call_id": "call_9", "output": "rain"},
    ],
}
RESPONSE_OUTPUT = [
    {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAAA" * 50},
    {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "rain Ulm"}},
    {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [
            {"type": "output_text", "text": "It rains.", "annotations": []},
            {"type": "refusal", "refusal": "I will not say more."},
        ],
    },
    {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": PNG},
]
RESPONSE_ANSWER = {
    "id": "resp_1",
    "object": "response",
    "status": "incomplete",
    "incomplete_details": {"reason": "max_output_tokens"},
    "error": None,
    "model": "gpt-5-2025-08-07",
    "output": RESPONSE_OUTPUT,
    "usage": {"input_tokens": 36, "output_tokens": 87, "output_tokens_details": {"reasoning_tokens": 64}},
}


def _response(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "output_index": 0, **more}


_RESPONSE_HEAD: dict[str, Any] = {
    "id": "resp_1",
    "status": "in_progress",
    "model": "gpt-5",
    "output": [],
    "error": None,
}
RESPONSE_EVENTS = [
    {"type": "response.created", "response": _RESPONSE_HEAD},
    _response("output_item.added", item={"type": "message", "role": "assistant", "content": []}),
    _response("output_text.delta", content_index=0, delta="It "),
    _response("output_text.delta", content_index=0, delta="rains."),
    _response("output_text.done", content_index=0, text="It rains."),
    {
        "type": "response.output_item.added",
        "output_index": 1,
        "item": {"type": "function_call", "call_id": "call_9", "name": "get_weather", "arguments": ""},
    },
    {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": '{"city":"Ulm",'},
    {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": '"days":2}'},
]
RESPONSE_STREAM_SO_FAR = sse(*RESPONSE_EVENTS, named=True)
RESPONSE_STREAM = sse(*RESPONSE_EVENTS, {"type": "response.completed", "response": RESPONSE_ANSWER}, named=True)

MESSAGE_REQUEST = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 1024,
    "system": [{"type": "text", "text": "You are terse.", "cache_control": {"type": "ephemeral"}}],
    "tools": [{"name": "get_weather", "input_schema": {"type": "object"}}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                {"type": "document", "title": "Notes", "source": {"type": "text", "data": "Some notes."}},
                {"type": "text", "text": "Weather?"},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Ask the tool.", "signature": "EqoB"},
                {"type": "redacted_thinking", "data": "EmwKAhgB" * 20},
                {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Ulm", "days": 2}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "is_error": True,
                    "content": [
                        {"type": "text", "text": "no such city"},
                        {"type": "image", "source": {"type": "url", "url": "https://img.example/map.png"}},
                    ],
                }
            ],
        },
    ],
}
MESSAGE_ANSWER = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": "It rains."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 25, "cache_read_input_tokens": 7, "output_tokens": 15},
}


def _delta(index: int, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


MESSAGE_EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": MESSAGE_ANSWER | {"content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
    _delta(0, type="thinking_delta", thinking="Ask "),
    _delta(0, type="thinking_delta", thinking="the tool."),
    _delta(0, type="signature_delta", signature="EqoB"),
    {"type": "content_block_stop", "index": 0},
    {"type": "ping"},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    _delta(1, type="text_delta", text="It "),
    _delta(1, type="text_delta", text="rains."),
    {"type": "content_block_stop", "index": 1},
    {
        "type": "content_block_start",
        "index": 2,
        "content_block": {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}},
    },
    _delta(2, type="input_json_delta", partial_json='{"city":"Ulm",'),
    _delta(2, type="input_json_delta", partial_json='"days":2}'),
    {"type": "content_block_stop", "index": 2},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 89},
    },
    {"type": "message_stop"},
]
MESSAGE_STREAM = sse(*MESSAGE_EVENTS, named=True)

EMBEDDING_REQUEST = {"model": "text-embedding-3-small", "input": ["one", "two"], "encoding_format": "float"}
EMBEDDING_ANSWER = {
    "object": "list",
    "model": "text-embedding-3-small",
    "data": [
        {"object": "embedding", "index": 0, "embedding": [0.6, 0.8, 0.0]},
        {"object": "embedding", "index": 1, "embedding": base64.b64encode(struct.pack("<4f", 1, 1, 1, 1)).decode()},
    ],
    "usage": {"prompt_tokens": 8, "total_tokens": 8},
}


def body(document: Any) -> bytes:
    """A document as it is sent."""
    return json.dumps(document, ensure_ascii=False).encode()
