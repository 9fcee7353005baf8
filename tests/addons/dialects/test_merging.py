"""Rules of merging a stream: what is said in pieces stands whole in one event, and all else stays where it is."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from addons.dialects.merging import events_of, joined, merged, written


def stream(*documents: Any) -> str:
    return "".join(f"data: {json.dumps(each)}\n\n" for each in documents)


def documents(text: str) -> list[Any]:
    return [json.loads(joined(event, str)) for event in merged(events_of(text)[0])]


def chat(index: int = 0, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"id": "c1", "choices": [{"index": index, "delta": delta, "finish_reason": finish}], "usage": None}


def test_a_chat_becomes_one_event_with_the_last_usage() -> None:
    usage = {"id": "c1", "choices": [], "usage": {"total_tokens": 3}}

    told = documents(
        stream(chat(role="assistant", content=""), chat(content="Hel"), chat(content="lo", finish="stop"), usage)
    )

    assert told == [
        {
            "id": "c1",
            "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
            "usage": {"total_tokens": 3},
        }
    ]


def test_choices_and_calls_of_tools_are_told_apart() -> None:
    def call(index: int, **function: str) -> dict[str, Any]:
        return chat(tool_calls=[{"index": index, "id": f"t{index}", "function": function}])

    told = documents(
        stream(
            chat(1, content="b"),
            call(0, name="mail", arguments='{"to"'),
            call(1, name="look", arguments="{"),
            call(0, name="mail", arguments=':"x"}'),
            chat(1, content="B"),
            call(1, arguments="}"),
        )
    )

    one, other = told[0]["choices"]
    assert one["delta"]["content"] == "bB"
    assert [call["function"] for call in other["delta"]["tool_calls"]] == [
        {"name": "mail", "arguments": '{"to":"x"}'},
        {"name": "look", "arguments": "{}"},
    ]


def test_completions_are_merged_too() -> None:
    told = documents(stream(*({"choices": [{"index": 0, "text": piece, "logprobs": {"a": 1}}]} for piece in "abc")))

    assert told == [{"choices": [{"index": 0, "text": "abc"}]}]


def test_blocks_of_messages_are_merged_by_index_and_kind() -> None:
    def delta(index: int, kind: str, **said: str) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **said}}

    told = documents(
        stream(
            {"type": "message_start", "message": {"id": "m"}},
            delta(0, "text_delta", text="Hel"),
            delta(1, "input_json_delta", partial_json='{"a"'),
            {"type": "ping"},
            delta(0, "text_delta", text="lo"),
            delta(1, "input_json_delta", partial_json=":1}"),
        )
    )

    assert [each["type"] for each in told] == ["message_start", *["content_block_delta"] * 2, "ping"]
    assert [each["delta"] for each in told[1:3]] == [
        {"type": "text_delta", "text": "Hello"},
        {"type": "input_json_delta", "partial_json": '{"a":1}'},
    ]


def test_deltas_of_responses_are_merged_by_item() -> None:
    def delta(item: str, said: str) -> dict[str, Any]:
        return {"type": "response.output_text.delta", "item_id": item, "delta": said, "obfuscation": "xy"}

    told = documents(stream(delta("a", "1"), delta("b", "2"), delta("a", "3"), {"type": "response.completed"}))

    assert [(each.get("item_id"), each.get("delta")) for each in told] == [("a", "13"), ("b", "2"), (None, None)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_events_are_read_with_any_line_end(end: str) -> None:
    text = end.join([": comment", "event: x", "data: a", "data:b", "", "data: [DONE]", "", "data: half"])

    events, rest = events_of(text)

    assert [(event.lines, event.text) for event in events] == [([": comment", "event: x"], "a\nb"), ([], "[DONE]")]
    assert rest == "data: half"
    assert written(events[0], "c\nd") == ": comment\nevent: x\ndata: c\ndata: d\n\n"


@pytest.mark.parametrize(
    "odd",
    [
        [{"choices": [1]}],
        [{"choices": [{"delta": "x"}]}, {"choices": [{"delta": {"a": 1}}]}],
        [chat(content="a"), chat(content={"a": "b"}), chat(content=["x"]), chat(content="c")],
        [chat(tool_calls=[1, {"index": 0}, {"index": 0, "x": None}])],
        [{"type": "content_block_delta", "delta": 5}],
    ],
    ids=range(5),
)
def test_what_no_provider_sends_does_no_harm(odd: Sequence[Any]) -> None:
    assert len(documents(stream(*odd))) >= 1
