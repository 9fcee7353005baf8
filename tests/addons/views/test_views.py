"""Rules of content views: conversations are chosen by themselves, read well, and nothing in them can do harm."""

import json
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import contentviews, http
from mitmproxy.contentviews import ContentviewResult, Metadata
from mitmproxy.test import taddons, tflow

from addons import views
from tests.addons.dialects import bodies

KNOWN = {
    "route": "chat.completions", "model": "gpt-4o", "status": 200, "outcome": "finished", "prompt_tokens": 12,
    "completion_tokens": 34, "cost_nano_usd": 1_500_000, "first_byte_ms": 120.0, "duration_ms": 2400.0,
    "project": "search team", "token": "nightly", "request_url": "http://127.0.0.1:8000/ui/requests/r1",
}  # fmt: skip
CHAT, EMBEDDINGS, MESSAGES = "/v1/chat/completions", "/v1/embeddings", "/v1/messages"


@pytest.fixture(autouse=True, scope="module")
def _registered() -> Iterator[None]:
    views.register()
    with taddons.context() as context:
        context.options.add_option("protobuf_definitions", str | None, None, "")
        yield
    for view in views.VIEWS:
        contentviews.registry._by_name.pop(view().name.lower(), None)


def flow(path: str, asked: bytes = b"{}", answered: bytes = b"{}", kind: str = "application/json") -> http.HTTPFlow:
    made = tflow.tflow(resp=True)
    made.request = http.Request.make("POST", f"https://x.test{path}", asked, {"content-type": "application/json"})
    made.response = http.Response.make(200, answered, {"content-type": kind})
    return made


def asked(path: str, body: object) -> ContentviewResult:
    made = flow(path, bodies.body(body))
    return contentviews.prettify_message(made.request, made)


def answered(path: str, body: bytes, kind: str = "application/json", **known: object) -> ContentviewResult:
    made = flow(path, b"{}", body, kind)
    made.metadata["llm_proxy"] = known
    assert made.response is not None
    return contentviews.prettify_message(made.response, made)


def test_a_chat_is_shown_as_a_conversation() -> None:
    shown = asked(CHAT, {"model": "m", "messages": [{"role": "user", "content": "hello there"}]})

    assert shown.view_name == "LLM conversation"
    assert "hello there" in shown.text and "user" in shown.text and "{" not in shown.text


@pytest.mark.parametrize(
    ("path", "stream", "wanted"),
    [(CHAT, bodies.CHAT_STREAM, "Ulm"), (CHAT, bodies.CHAT_MERGED, ""), (MESSAGES, bodies.MESSAGE_STREAM, "Ulm")],
    ids=["chat", "merged", "messages"],
)
def test_a_stream_is_put_together_again(path: str, stream: bytes, wanted: str) -> None:
    shown = answered(path, stream, "text/event-stream")

    assert shown.view_name == "LLM answer" and wanted in shown.text and "data:" not in shown.text


def test_what_it_took_stands_above() -> None:
    shown = answered(CHAT, bodies.body(bodies.CHAT_ANSWER), **KNOWN)

    head = "\n".join(shown.text.split("\n")[:4])
    for told in (
        "tokens 12 + 34",
        "cost 0.001500 USD",
        "120 ms",
        "2.40 s",
        "search team",
        "nightly",
        "/ui/requests/r1",
    ):
        assert told in head


def test_embeddings_are_summarised() -> None:
    shown = answered(EMBEDDINGS, bodies.body(bodies.EMBEDDING_ANSWER))

    assert shown.view_name == "LLM embeddings" and len(shown.text) < 1000


def test_files_are_told_by_size() -> None:
    made = flow("/v1/audio/speech", b"{}", bytes(2048), "audio/mpeg")

    assert made.response is not None
    shown = contentviews.prettify_message(made.response, made)
    assert (shown.view_name, "audio/mpeg, 2.0 KiB" in shown.text) == ("LLM files", True)


def test_other_bodies_are_left_to_others() -> None:
    made = flow("/anything", b'{"messages": []}')

    assert not (contentviews.prettify_message(made.request, made).view_name or "").startswith("LLM")


_ANYTHING = st.recursive(st.text(max_size=20), lambda inner: st.dictionaries(st.text(max_size=9), inner, max_size=3))
_BODIES = st.binary(max_size=300) | _ANYTHING.map(lambda value: json.dumps(value).encode())


@pytest.mark.parametrize("path", [CHAT, MESSAGES, EMBEDDINGS, "/v1/audio/speech"])
@given(body=_BODIES, known=st.dictionaries(st.sampled_from(list(KNOWN)), st.text() | st.floats()))
def test_whatever_it_is_it_is_shown_without_harm(path: str, body: bytes, known: dict[str, object]) -> None:
    made = flow(path, body, body)
    made.metadata["llm_proxy"] = known
    for view in views.VIEWS:
        for message in (made.request, made.response):
            try:
                text = view().prettify(body, Metadata(made, "application/json", message))
            except ValueError:
                continue
            # Nothing that steers a terminal, hides or turns text around.
            assert {unicodedata.category(each) for each in text if each not in "\n\t"} & {
                "Cc",
                "Cf",
                "Zl",
                "Zp",
            } == set()
