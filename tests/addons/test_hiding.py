"""Rules of what may be shown: no secret in any spelling that a reader would undo, and everything else as it was."""

import json
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addons.findings import UnreadablePattern
from addons.hiding import hide, reveal, shown, shown_document, shown_form, shown_path
from shared import tokens
from shared.inspection import Hidden, Inspection

NOTHING = Inspection()
EVERYTHING = Inspection(hidden=tuple(Hidden))
TOKEN = tokens.generate(bytes(range(24)))
SECRETS = {
    "email": "jane.o'hara+x@clinic.example.org",
    "umlaut email": "jörg@kränke.example",
    "card": "4111 1111-1111 1111",
    "bare card": "5500005555555559",
    "iban": "DE89 3704 0044 0532 0130 00",
    "bare iban": "GB82WEST12345698765432",
    "phone": "+49 (0)30 901820-22",
    "us phone": "(415) 555-2671",
    "token": TOKEN,
    "operator's token": tokens.generate(bytes(range(24)), tokens.OPERATOR_PREFIX),
    "provider key": "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789",
    "google key": "AIzaSyA-abcdefghijklmnopqrstuvwxyz01234",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJqYW5lIn0.c2lnbmF0dXJl",
}


def everywhere(character: str) -> str:
    return f"\\u{ord(character):04x}"


SPELLINGS: dict[str, Callable[[str], str]] = {
    "plain": lambda text: json.dumps(text, ensure_ascii=False),
    "ascii": json.dumps,
    "escaped": lambda text: '"' + "".join(map(everywhere, text)) + '"',
    "escaped slashes": lambda text: json.dumps(text).replace("/", "\\/"),
}
WRAPPINGS: dict[str, Callable[[str], str]] = {
    "value": lambda literal: '{"messages":[{"content":' + literal + "}]}",
    "name": lambda literal: "{" + literal + ":1}",
    "in a list": lambda literal: f'[1,"a",{literal}]',
    "cut": lambda literal: '{"a":[{"b":' + literal + ',"c":"d',
    "arguments": lambda literal: json.dumps({"arguments": '{"to":' + literal + "}"}),
    "arguments in arguments": lambda literal: json.dumps({"a": json.dumps({"b": '{"to":' + literal + "}"})}),
    "lines": lambda literal: f'{{"a":1}}\n{{"b":{literal}}}\n',
    "broken before": lambda literal: '{"a": } " {"b":' + literal + "}",
    "unquoted": lambda literal: '{"a":1}' + literal,
}


def leaves(document: str) -> str:
    """What a reader could read: the text, and all that it says as JSON, several times over."""
    seen = document
    for _ in range(5):
        seen += seen.encode().decode("unicode_escape", errors="replace") if "\\" in seen else ""
        seen = seen.replace("\\/", "/")
        if len(seen) > 100_000:
            break
    return seen


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("name", SECRETS)
def test_no_spelling_of_json_shows_a_secret(name: str, spelling: str, wrapping: str) -> None:
    secret = SECRETS[name]

    seen = leaves(shown_document(WRAPPINGS[wrapping](SPELLINGS[spelling](f"see {secret} there")), EVERYTHING))

    assert secret not in seen
    assert secret.encode("utf-8").decode("latin-1") not in seen


@pytest.mark.parametrize("name", SECRETS)
def test_no_text_shows_a_secret(name: str) -> None:
    assert shown(f"of {SECRETS[name]}, yes", EVERYTHING).startswith("of ")
    assert SECRETS[name] not in shown(f"of {SECRETS[name]}, yes", EVERYTHING)


@given(
    before=st.text(max_size=20),
    secret=st.sampled_from(["jane@clinic.example", TOKEN, "4111111111111111"]),
    after=st.text(max_size=20),
    mask=st.lists(st.booleans(), min_size=1, max_size=8),
    depth=st.integers(0, 3),
)
def test_whatever_stands_around_a_secret_and_however_it_is_escaped(
    before: str, secret: str, after: str, mask: list[bool], depth: int
) -> None:
    text = f"{before} {secret} {after}"
    spelt = "".join(everywhere(character) if mask[at % len(mask)] else character for at, character in enumerate(secret))
    literal = json.dumps(text).replace(secret, spelt)
    for _ in range(depth):
        literal = json.dumps('{"a":' + literal + "}")

    veiled = json.loads(shown_document('{"a":' + literal + "}", EVERYTHING))

    for _ in range(depth):
        veiled = json.loads(veiled["a"])
    assert secret not in veiled["a"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(alphabet='abc {}[]":,\\/\n\u00e9\U0001f600'),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    )
)
def test_what_hides_nothing_is_not_changed(document: object) -> None:
    for written in (json.dumps(document), json.dumps(document, indent=1, ensure_ascii=False)):
        assert shown_document(written, EVERYTHING) == written
        assert shown_document(written, Inspection(json_paths=("never.there",), patterns=("never",))) == written


@given(
    st.recursive(
        st.none()
        | st.integers()
        | st.sampled_from([*SECRETS.values(), "[email 3]", '{"to":"a@b.example"}', "4111111111111111"])
        | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
        max_leaves=12,
    )
)
def test_what_was_hidden_comes_back(document: object) -> None:
    inspection = Inspection(hidden=tuple(Hidden), json_paths=("a.b", "**.c"), patterns=("[0-9]{5,}",))
    body = json.dumps({"a": document, "e": document})

    hiding = hide(body, inspection)

    assert json.loads(reveal(hiding.text, hiding.originals)) == json.loads(body)


@given(st.text())
def test_any_text_can_be_shown_and_comes_back(text: str) -> None:
    hiding = hide(text, EVERYTHING)

    assert isinstance(shown_document(text, EVERYTHING), str)
    assert hiding.originals or hiding.text == text


# What is shown instead


def test_views_get_a_word_for_what_was_there() -> None:
    text = "jane@clinic.example paid with 4111 1111 1111 1111, call +44 20 7946 0958; key sk-proj-0123456789abcdef"

    veiled = shown(text, EVERYTHING)

    assert veiled == "[email] paid with [card], call [phone]; key sk-p****cdef"


def test_without_being_asked_for_only_keys_are_hidden() -> None:
    text = f"jane@clinic.example 4111 1111 1111 1111 {TOKEN}"

    assert shown(text, NOTHING) == f"jane@clinic.example 4111 1111 1111 1111 {tokens.mask(TOKEN)}"


def test_numbers_in_json_become_text() -> None:
    assert shown_document('{"card": 4111111111111111, "n": 12}', EVERYTHING) == '{"card": "[card]", "n": 12}'


@pytest.mark.parametrize(
    "text",
    [
        "order 4111111111111112",
        "1735689600000",
        "2026-03-01 12:00:00",
        "GB83WEST12345698765432",
        "a basic understanding of bearer instruments",
        "127.0.0.1:8080",
        "@home a @ b",
        "0.123456789012345678",
    ],
)
def test_what_only_looks_like_it_is_shown(text: str) -> None:
    assert shown(text, EVERYTHING) == text


def test_a_card_is_found_among_other_numbers() -> None:
    assert shown("12 4111 1111 1111 1111 12 26", EVERYTHING) == "12 [card] 12 26"


def test_an_iban_is_found_with_words_behind_it() -> None:
    assert shown("DE89 3704 0044 0532 0130 00 and more", EVERYTHING) == "[iban] and more"


# Paths and patterns


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("messages[*].content", '{"messages":[{"content":"[hidden]","n":1}],"user":{"name":"J","at":[1]}}'),
        ("messages.content", '{"messages":[{"content":"[hidden]","n":1}],"user":{"name":"J","at":[1]}}'),
        ("user", '{"messages":[{"content":"hi","n":1}],"user":"[hidden]"}'),
        ("user.*", '{"messages":[{"content":"hi","n":1}],"user":{"name":"[hidden]","at":"[hidden]"}}'),
        ("**.n", '{"messages":[{"content":"hi","n":"[hidden]"}],"user":{"name":"J","at":[1]}}'),
        ("$.messages", '{"messages":"[hidden]","user":{"name":"J","at":[1]}}'),
        ("n", '{"messages":[{"content":"hi","n":1}],"user":{"name":"J","at":[1]}}'),
    ],
)
def test_paths_name_members(path: str, expected: str) -> None:
    body = '{"messages":[{"content":"hi","n":1}],"user":{"name":"J","at":[1]}}'

    assert shown_document(body, Inspection(json_paths=(path,))) == expected


def test_a_path_holds_within_arguments_and_where_a_body_was_cut() -> None:
    inspection = Inspection(json_paths=("**.password",))

    assert shown_document('{"arguments":"{\\"password\\":\\"x\\"}"}', inspection) == (
        '{"arguments":"{\\"password\\":\\"[hidden]\\"}"}'
    )
    assert shown_document('{"a":{"password":{"b":"secr', inspection) == '{"a":{"password":"[hidden]"'
    assert shown_document('{"a":{"passw\\u006frd":"secr', inspection) == '{"a":{"passw\\u006frd":"[hidden]'


def test_tokens_with_their_probabilities_are_left_out() -> None:
    body = '{"text":"hi","logprobs":{"content":[{"token":"sk"},{"token":"-proj"}]},"top_logprobs":3}'

    assert shown_document(body, NOTHING) == '{"text":"hi","logprobs":"[hidden]","top_logprobs":3}'


def test_patterns_are_those_of_re2() -> None:
    inspection = Inspection(patterns=(r"MRN-\d+", "(b|b)*$"))

    assert shown_document('{"a":"of MRN-1234 yes"}', inspection) == '{"a":"of [hidden] yes"}'


def test_what_overlaps_goes_together() -> None:
    inspection = Inspection(hidden=(Hidden.EMAILS,), patterns=("jane@clinic", "example today"))

    assert shown("to jane@clinic.example today.", inspection) == "to [hidden]."


def test_with_a_pattern_that_nobody_can_read_nothing_is_shown() -> None:
    with pytest.raises(UnreadablePattern):
        shown("anything", Inspection(patterns=("(?=x)",)))


# What people edit


def test_edited_text_gets_its_originals_back() -> None:
    body = '{"to":"jane@clinic.example","cc":["jane@clinic.example","joe@clinic.example"],"card":4111111111111111}'
    hiding = hide(body, EVERYTHING)

    edited = hiding.text.replace('"cc":', '"bcc":')

    assert hiding.text == '{"to":"[email 1]","cc":["[email 1]","[email 2]"],"card":"[value 3]"}'
    assert reveal(edited, hiding.originals) == body.replace('"cc":', '"bcc":')


def test_words_that_a_client_has_written_stay_as_they_are() -> None:
    body = json.dumps({"text": "[email 7] is jane@clinic.example"})

    hiding = hide(body, EVERYTHING)

    assert json.loads(hiding.text)["text"] == "[email 7] is [email 8]"
    assert reveal(hiding.text, hiding.originals) == body
    assert reveal('{"a":"[email 9]"}', hiding.originals) == '{"a":"[email 9]"}'


def test_originals_are_escaped_where_they_come_back() -> None:
    body = json.dumps({"arguments": json.dumps({"to": 'x "y" z'})})
    hiding = hide(body, Inspection(patterns=('"y"',)))

    assert json.loads(reveal(hiding.text, hiding.originals)) == json.loads(body)


# Paths and forms


@pytest.mark.parametrize(
    "text",
    [
        "https://app.example/?mail=jane%40clinic.example&x=1",
        "mail%3Djane%40clinic.example",
        "<a>jane&#64;clinic.example</a>",
        "jane&#x40;clinic.example",
        "jane&commat;clinic.example",
    ],
)
def test_an_address_is_found_as_urls_and_html_write_it(text: str) -> None:
    hiding = Inspection(hidden=(Hidden.EMAILS,))

    for document in (text, json.dumps({"url": text, "inner": json.dumps([text])})):
        assert "clinic" not in shown_document(document, hiding).lower()


def test_what_is_written_in_percents_is_read() -> None:
    assert shown_path("/v1/users/jane%40clinic.example/a%20b", EVERYTHING) == "/v1/users/[email]/a%20b"
    assert shown_form("q=a+b&to=jane%40clinic.example&k=%73k-proj-0123456789abcdef", EVERYTHING) == (
        "q=a+b&to=[email]&k=sk-p****cdef"
    )


# Time


@pytest.mark.parametrize(
    "piece",
    ["a", "ask-", "@", "a@", "a.", "4 ", "4111 ", "+4", "DE89", '"', '{"a":', "[", "\\", "\\u0041", '\\"', "://a:",
     "basic ", "eyJ", "Bearer  ", "0 1", "%40", "a&#64;"],
)  # fmt: skip
def test_nothing_takes_long(piece: str) -> None:
    inspection = Inspection(hidden=tuple(Hidden), json_paths=("**.a.**.b",), patterns=("(a*)*b",))
    began = time.process_time()

    shown_document('{"a":"' + piece * (200_000 // len(piece)), inspection)
    shown_document('{"a":' + piece * (200_000 // len(piece)), inspection)

    assert time.process_time() - began < 60
