"""Rules of what a body shows: nothing that was split, coded or cut shows what is to be hidden."""

import gzip
import json
from typing import Any

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from addons.shown_bodies import ShownBody, Tapped, grows, shown_body
from shared import tokens
from shared.inspection import Hidden, Inspection

TOKEN = tokens.generate(bytes(range(24)))
EVERYTHING = Inspection(hidden=tuple(Hidden))
SSE = "text/event-stream"
JSON = "application/json"
SECRETS = {"email": "jane.doe@clinic.example", "card": "4111 1111 1111 1111", "token": TOKEN}


def of(text: str | bytes, kind: str = JSON, inspection: Inspection = EVERYTHING, **more: Any) -> ShownBody:
    raw = text.encode() if isinstance(text, str) else text
    return shown_body(Tapped(raw, more.pop("size", len(raw)), kind, **more), inspection)


def text_of(body: ShownBody) -> str:
    assert body.body is not None, body.note
    return body.body.decode()


def sse(*documents: Any) -> str:
    return "".join(f"data: {each if isinstance(each, str) else json.dumps(each)}\n\n" for each in documents)


SHAPES = {
    "chat": lambda piece: {"choices": [{"index": 0, "delta": {"content": piece}}]},
    "tool": lambda piece: {
        "choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}}]
    },
    "completion": lambda piece: {"choices": [{"index": 0, "text": piece}]},
    "messages": lambda piece: {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": piece},
    },
    "responses": lambda piece: {"type": "response.output_text.delta", "item_id": "i", "delta": piece},
    "unknown": lambda piece: {"say": [{"it": piece}]},
    "text": lambda piece: piece,
}


@pytest.mark.parametrize("shape", SHAPES)
@given(
    name=st.sampled_from(sorted(SECRETS)),
    cuts=st.lists(st.integers(0, 70), max_size=9),
    before=st.text("ab .,", max_size=12),
)
def test_nothing_hides_between_events(shape: str, name: str, cuts: list[int], before: str) -> None:
    text = f"{before} {SECRETS[name]} and so on"
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[start:stop] for start, stop in zip(edges, edges[1:], strict=False)]

    veiled = text_of(of(sse(*map(SHAPES[shape], pieces)), SSE))

    assert SECRETS[name] not in veiled
    assert sum(len(piece) > 3 and piece in veiled for piece in SECRETS[name].split("@")) < 2
    assert f"[{name}]" in veiled or "sk-llmp-****" in veiled


@given(name=st.sampled_from(sorted(SECRETS)), length=st.integers(0, 260), is_stream=st.booleans())
def test_while_it_comes_and_where_it_is_cut_no_part_of_a_secret_is_shown(
    name: str, length: int, is_stream: bool
) -> None:
    secret = SECRETS[name]
    said = "some words that stand before all of it, and then " + secret + " and more words" * 9
    if is_stream:
        body = of(sse(*(SHAPES["chat"](said[at : at + 3]) for at in range(0, length, 3))), SSE, is_over=False)
    else:
        body = of('{"text":"' + said[:length], size=10_000)

    veiled = text_of(body)

    shared = [end for end in range(6, len(secret) + 1) if secret[:end] in veiled.replace("sk-llmp-****", "")]
    assert shared == []


def test_a_stream_grows_word_by_word() -> None:
    said = "one two three " * 20

    veiled = text_of(of(sse(SHAPES["chat"](said)), SSE, is_over=False))

    shown = json.loads(veiled.removeprefix("data: "))["choices"][0]["delta"]["content"]
    assert said.startswith(shown)
    assert len(said) - len(shown) < 80


def test_other_events_and_their_names_stay() -> None:
    stream = (
        'event: message_start\ndata: {"a":1}\n\n: still here\n\ndata: [DONE]\n\nid: jane@clinic.example\ndata: x\n\n'
    )

    assert text_of(of(stream, SSE)) == stream.replace("id: jane@clinic.example", "id: [email]")


def test_the_last_event_may_lack_its_end() -> None:
    assert text_of(of('data: {"error":"of jane@clinic.example"}', SSE)) == 'data: {"error":"of [email]"}\n\n'


@pytest.mark.parametrize(
    ("coding", "code"),
    [("gzip", gzip.compress), ("br", brotli.compress), ("", bytes)],
    ids=["gzip", "br", "plain"],
)
def test_content_codings_are_undone(coding: str, code: Any) -> None:
    body = of(code(b'{"to":"jane@clinic.example"}'), content_encoding=coding)

    assert body == ShownBody(b'{"to":"[email]"}')


def test_of_a_small_body_that_becomes_large_the_beginning_is_shown() -> None:
    bomb = gzip.compress(b"word " * 4_000_000)

    body = of(bomb, "text/plain", content_encoding="gzip")

    assert body.is_cut
    assert len(body.body or b"") <= EVERYTHING.max_body_bytes


@pytest.mark.parametrize(
    ("raw", "kind", "coding", "note"),
    [
        (b"abc", "application/json", "zstd, br", "3 bytes of application/json, whose content coding cannot be undone"),
        (b"abc", "application/json", "gzip", "3 bytes of application/json, whose content coding cannot be undone"),
        (b"\x89PNG", "image/png", "", "4 bytes of image/png"),
        (b"a\0b\0", "text/plain", "", "4 bytes of text/plain, not text"),
        (b"+AEA-", "text/plain; charset=utf-7", "", "5 bytes of text/plain, not text"),
        (b'<meta charset="utf-7">', "text/html", "", "22 bytes of text/html, not text"),
    ],
    ids=["stacked", "broken", "picture", "utf-16", "utf-7", "in the page"],
)
def test_what_could_be_read_otherwise_is_told_by_its_size(raw: bytes, kind: str, coding: str, note: str) -> None:
    assert of(raw, kind, content_encoding=coding) == ShownBody(None, note=note)


def test_with_a_pattern_that_nobody_can_read_no_body_is_shown() -> None:
    assert of("{}", inspection=Inspection(patterns=("(?=x)",))).body is None


def test_no_more_than_asked_for_is_shown() -> None:
    body = of("word " * 100, "text/plain", Inspection(max_body_bytes=200))

    assert (body.body, body.is_cut) == (b"word " * 27, True)


def test_letters_of_other_codings_stay() -> None:
    body = of("für jane@clinic.example".encode("latin-1"), "text/plain; charset=ISO-8859-1")

    assert body.body == "für [email]".encode("latin-1")


def test_forms_are_read() -> None:
    assert of("a=1&to=jane%40clinic.example", "application/x-www-form-urlencoded").body == b"a=1&to=[email]"


FORM = (
    '--b\r\ncontent-disposition: form-data; name="prompt"\r\n\r\nof jane@clinic.example\r\n'
    '--b\r\ncontent-disposition: form-data; name="file"; filename="jane%40clinic.example.txt"\r\n\r\nabc\r\n--b--\r\n'
)


def test_of_files_in_forms_the_size_is_shown_if_anything_is_hidden() -> None:
    kind = 'multipart/form-data; boundary="b"'

    hidden, shown = text_of(of(FORM, kind)), text_of(of(FORM, kind, Inspection()))

    assert hidden == FORM.replace("of jane@clinic.example", "of [email]").replace(
        "jane%40clinic.example.txt", "[email]"
    ).replace("abc", "[5 characters]")
    assert shown == FORM


@pytest.mark.parametrize(
    ("kind", "dialect", "patterns", "expected"),
    [(SSE, "openai", (), True), (SSE, "anthropic", (), True), (SSE, "opaque", (), False),
     (SSE, "openai", ("x",), False), (JSON, "openai", (), False)],
)  # fmt: skip
def test_what_grows(kind: str, dialect: str, patterns: tuple[str, ...], expected: bool) -> None:
    assert grows(kind, dialect, Inspection(patterns=patterns)) is expected


@given(st.binary(max_size=200), st.sampled_from([JSON, SSE, "multipart/form-data; boundary=b", "text/html", ""]))
def test_any_body_can_be_shown(raw: bytes, kind: str) -> None:
    assert isinstance(of(raw, kind), ShownBody)
