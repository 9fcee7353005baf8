"""Rules of bodies: what variables become, JSON that stays JSON, and faults that are told before anything is sent."""

import json
import re
import uuid

import pytest

from manager.benchmark.template import DEFAULT, Template, TemplateError, streaming


def bodies(text: str, count: int = 200, **variables: str) -> list[str]:
    template = Template(text, variables)
    return [template.body(number).decode() for number in range(count)]


def test_text_without_variables_stays() -> None:
    assert Template('{"a": {"b": 1}}', {}).is_constant and bodies('{"a": {"b": 1}}', 1) == ['{"a": {"b": 1}}']


def test_requests_are_numbered_and_named() -> None:
    made = bodies("{{number}} {{ uuid }} {{model}}", model="m")

    assert [int(each.split()[0]) for each in made] == list(range(200))
    assert len({uuid.UUID(each.split()[1]) for each in made}) == 200
    assert {each.split()[2] for each in made} == {"m"}


@pytest.mark.parametrize(("kind", "size"), [("int", int), ("words", lambda text: len(text.split(" "))), ("text", len)])
def test_sizes_are_within_their_ends_and_reach_both(kind: str, size: object) -> None:
    assert callable(size)
    assert {size(each) for each in bodies(f"{{{{{kind}:3-6}}}}")} == {3, 4, 5, 6}


def test_one_size_is_always_that() -> None:
    assert {len(each) for each in bodies("{{text:50000}}", 20)} == {50_000}


def test_one_of_several_is_chosen() -> None:
    assert set(bodies("{{choice:red|green}}")) == {"red", "green"}


def test_all_of_them_fit_into_a_string_of_json() -> None:
    text = '{"a": "{{number}} {{uuid}} {{int:1-9}} {{choice:x|y}} {{words:1-90}} {{text:1-900}}"}'

    assert all(json.loads(each) for each in bodies(text))


def test_the_same_seed_makes_the_same_bodies() -> None:
    text = "{{uuid}} {{words:1-9}}"

    first, same, other = (Template(text, {}, seed).body(0) for seed in (1, 1, 2))

    assert first == same != other


FAULTY = {
    "{{nonsense}}": "nobody knows {{nonsense}}",
    "{{text}}": "{{text}} needs a size",
    "{{words:9-1}}": "from less to more",
    "{{text:99999999}}": "up to",
    "{{number:3}}": "takes nothing",
    '{"a": "{{ 7 }}"}': "is no variable: '{{ 7 }}",
    "{{text:1-9}": "is no variable",
}


@pytest.mark.parametrize("text", FAULTY)
def test_what_is_wrong_is_told(text: str) -> None:
    with pytest.raises(TemplateError, match=re.escape(FAULTY[text])):
        Template(text, {})


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ('{"model": "m"}', '{"stream": true, "model": "m"}'),
        (" {}", '{"stream": true}'),
        ('{"stream": false}', '{"stream": false}'),
    ],
)
def test_a_body_is_made_to_ask_for_a_stream(text: str, asked: str) -> None:
    assert streaming(text) == asked


def test_the_usual_body_is_a_chat_that_can_be_streamed() -> None:
    chat = json.loads(bodies(streaming(DEFAULT), 1, model="m")[0])

    assert chat == {"stream": True, "model": "m", "messages": [{"role": "user", "content": "Hello 0"}]}


@pytest.mark.parametrize("text", ["[]", "hello", "{{uuid}}"])
def test_no_stream_is_asked_for_where_there_is_no_place_for_it(text: str) -> None:
    with pytest.raises(TemplateError, match="JSON object"):
        streaming(text)
