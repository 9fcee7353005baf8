"""Rules of reading what a request asks for: which model, and how much at most; in one way only."""

import json
from typing import Any

import pytest

from addons.asked import DEFAULT_COMPLETION, asked_completion, charged_fields, model_of_body, model_of_head, named_model
from addons.refusal import Refused
from shared.providers import BodyKind, Route
from tests.addons.conftest import request

MANY = 1 << 40
FORM = "multipart/form-data; boundary=b"


def form(**fields: str) -> bytes:
    parts = [f'--b\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields.items()]
    return "".join([*parts, "--b--\r\n"]).encode()


def fields_of(
    body: bytes,
    kind: BodyKind = "json",
    dialect: str = "openai",
    content_type: str = "application/json",
    **headers: str,
) -> dict[str, Any]:
    flow = request("POST", "/v1/x", body, content_type=content_type, **headers)
    return charged_fields(flow.request, body, kind, dialect)


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({}, DEFAULT_COMPLETION),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6, "n": 3}, 18),
        ({"max_output_tokens": 7}, 7),
        ({"max_tokens": 5, "max_completion_tokens": 9}, 9),
        ({"max_tokens": 5, "n": 2, "best_of": 4}, 20),
        ({"max_tokens": None, "n": 4}, 4 * DEFAULT_COMPLETION),
        ({"max_tokens": 0, "n": 0}, DEFAULT_COMPLETION),
        ({"n": 100}, 100 * DEFAULT_COMPLETION),
        ({"max_tokens": MANY, "n": MANY}, MANY * MANY),
    ],
    ids=lambda value: json.dumps(value),
)
def test_the_asked_completion_is_the_limit_for_all_answers(fields: dict[str, Any], tokens: int) -> None:
    assert asked_completion(fields) == tokens


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of"])
@pytest.mark.parametrize("value", ["5", -1, MANY + 1, True, 1e6, [5]], ids=lambda value: json.dumps(value))
def test_a_bound_that_is_no_whole_number_is_refused_by_its_name(name: str, value: object) -> None:
    with pytest.raises(Refused) as refused:
        asked_completion({name: value})

    assert (refused.value.refusal.code, refused.value.refusal.param) == ("invalid_request", name)


def test_of_a_body_only_what_is_charged_by_is_read() -> None:
    body = b'{"model":"m","messages":["max_tokens"],"max_tokens":3,"n":2,"temperature":1}'

    assert fields_of(body) == {"model": "m", "max_tokens": 3, "n": 2}


@pytest.mark.parametrize(
    "body",
    [b'{"max_tokens":9,"max_tokens":1}', b'{"maxTokens":9}', b'{"model":"a","Model":"b"}', b"[1]", b"\xff", b"{"],
)
@pytest.mark.parametrize("kind", ["json", "any"])
def test_what_another_reader_could_take_otherwise_is_refused(body: bytes, kind: BodyKind) -> None:
    with pytest.raises(Refused) as refused:
        fields_of(body, kind)

    assert refused.value.refusal.status == 400


@pytest.mark.parametrize(("kind", "content_type"), [("json", "text/plain"), ("any", "application/json")])
def test_what_a_coding_hides_is_refused(kind: BodyKind, content_type: str) -> None:
    with pytest.raises(Refused):
        fields_of(b'{"max_tokens":1}', kind, content_type=content_type, content_encoding="gzip")


def test_numbers_in_forms_are_numbers_and_models_are_not() -> None:
    body = form(model="4", n="10", max_tokens="many")

    assert fields_of(body, "multipart", content_type=FORM) == {"model": "4", "n": 10, "max_tokens": "many"}


@pytest.mark.parametrize(("body", "content_type"), [(b"RIFF", "audio/wav"), (b"", "application/json"), (b"", FORM)])
def test_where_no_fields_can_be_there_are_none(body: bytes, content_type: str) -> None:
    assert fields_of(body, "any", content_type=content_type) == {}


def test_a_body_that_does_not_say_what_it_is_is_read_as_json() -> None:
    flow = request("POST", "/v1/x", b'{"model":"m"}')

    assert charged_fields(flow.request, b'{"model":"m"}', "any", "openai") == {"model": "m"}


@pytest.mark.parametrize(
    ("body", "model"),
    [(b'{"model":"m","maxTokens":"all"}', "m"), (b"<xml/>", None), (b'{"Model":"m"}', None), (form(model="m"), "m")],
)
def test_an_api_that_is_not_known_may_take_anything(body: bytes, model: str | None) -> None:
    assert named_model(fields_of(body, dialect="opaque", content_type=FORM)) == model


def test_of_an_api_that_is_not_known_a_bound_may_not_come_twice_either() -> None:
    with pytest.raises(Refused):
        fields_of(b'{"max_tokens":9,"max_tokens":1}', dialect="opaque")


@pytest.mark.parametrize(
    ("target", "body", "model"),
    [
        ("GET /v1/talk?model=m", "json", "m"),
        ("GET /v1/talk?x=1&model=gpt%204", "json", "gpt 4"),
        ("GET /v1/talk?model=a&model=b", "json", None),
        ("GET /v1/talk?model=a&Model=b", "json", None),
        ("GET /v1/talk?model=", "json", None),
        ("GET /v1/talk", "json", None),
        ("POST /v1/talk?model=m", "any", "m"),
        ("POST /v1/talk?model=m", "json", None),
        ("POST /v1/talk?model=m", "multipart", None),
    ],
)
def test_a_query_names_the_model_where_no_body_has_to(target: str, body: BodyKind, model: str | None) -> None:
    method, path = target.split()

    assert model_of_head(Route("talk", "/v1/talk", frozenset({method}), body, 1), method, path) == model


@pytest.mark.parametrize("path", ["/v1/models/gpt-4o/talk", "/v1/models/gpt%2D4o/talk?model=other"])
def test_a_path_names_the_model_whatever_else_does(path: str) -> None:
    route = Route("talk", "/v1/models/{model}/talk", frozenset({"POST"}), "any", 1)

    assert model_of_head(route, "POST", path) == "gpt-4o"


@pytest.mark.parametrize(
    ("body", "content_type", "model"),
    [
        (form(purpose="x", model="whisper-1"), FORM, "whisper-1"),
        (b'{"model":"gpt-image-1"}', "application/json", "gpt-image-1"),
        (form(model="a") + form(model="b"), FORM, None),
        (b"RIFF", "audio/wav", None),
        (form(model="a" * 300), FORM, "a" * 256),
    ],
)
def test_a_held_body_names_the_model(body: bytes, content_type: str, model: str | None) -> None:
    assert model_of_body(request("POST", "/v1/x", body, content_type=content_type).request) == model
