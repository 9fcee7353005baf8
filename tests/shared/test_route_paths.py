"""A raw path fits a template or it does not: nothing is repaired, and nothing has two readings."""

import re
import unicodedata
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.route_paths import (
    LONGEST_SEGMENT,
    MOST_SEGMENTS,
    PathTree,
    check_base_url,
    decode,
    shape_of,
    split,
)


@pytest.mark.parametrize(
    ("segment", "value"),
    [
        ("gpt-4o", "gpt-4o"),
        ("ft:gpt-4o-mini:org::abc", "ft:gpt-4o-mini:org::abc"),
        ("ft%3Agpt-4o-mini%3aorg%3A%3Aabc", "ft:gpt-4o-mini:org::abc"),
        ("a@b!$&'()*+,=~_.-", "a@b!$&'()*+,=~_.-"),
        ("...", "..."),
        ("v1.5", "v1.5"),
        ("m%C3%BCller", "müller"),
        ("%F0%9F%90%99", "🐙"),
        ("a" * LONGEST_SEGMENT, "a" * LONGEST_SEGMENT),
    ],
)
def test_safe_segment_is_decoded_once(segment: str, value: str) -> None:
    assert decode(segment) == value


@pytest.mark.parametrize(
    "segment",
    [
        pytest.param("", id="empty"),
        pytest.param(".", id="dot"),
        pytest.param("..", id="dots"),
        pytest.param("%2e%2E", id="encoded dots"),
        pytest.param(".%2e", id="half-encoded dots"),
        pytest.param("%252e%252e", id="twice-encoded dots"),
        pytest.param("100%25", id="encoded percent"),
        pytest.param("a%2Fb", id="encoded slash"),
        pytest.param("a%5cb", id="encoded backslash"),
        pytest.param("a\\b", id="backslash"),
        pytest.param("..;", id="dots with a path parameter"),
        pytest.param("a%3Bb", id="encoded path parameter"),
        pytest.param("a%3Fb", id="encoded question mark"),
        pytest.param("a%23b", id="encoded hash"),
        pytest.param("a?b", id="query"),
        pytest.param("a#b", id="fragment"),
        pytest.param("a%00", id="NUL"),
        pytest.param("a%0d%0ab", id="line break"),
        pytest.param("a%7F", id="DEL"),
        pytest.param("a%C2%85", id="C1"),
        pytest.param("a%20b", id="encoded space"),
        pytest.param("a b", id="space"),
        pytest.param("a+\tb", id="tab"),
        pytest.param("a%C2%A0b", id="no-break space"),
        pytest.param("a%E2%80%A8b", id="line separator"),
        pytest.param("a%E2%80%AEb", id="right-to-left override"),
        pytest.param("%C0%AE", id="overlong UTF-8"),
        pytest.param("%ED%A0%80", id="surrogate"),
        pytest.param("%FF", id="not UTF-8"),
        pytest.param("%EF%BC%8E%EF%BC%8E", id="fullwidth dots"),
        pytest.param("%E2%80%A5", id="two-dot leader"),
        pytest.param("a%EF%BC%8Fb", id="fullwidth solidus"),
        pytest.param("%zz", id="percent without hex"),
        pytest.param("a%2", id="percent cut short"),
        pytest.param("%u002e", id="percent u"),
        pytest.param("müller", id="raw non-ASCII"),
        pytest.param('a"b', id="quote"),
        pytest.param("a|b", id="bar"),
        pytest.param("{model}", id="template"),
        pytest.param("gpt-4o\n", id="line break at the end"),
        pytest.param("a" * (LONGEST_SEGMENT + 1), id="too long"),
        pytest.param("%41" * (LONGEST_SEGMENT // 3 + 1), id="too long as spelled"),
    ],
)
def test_unsafe_segment_has_no_value(segment: str) -> None:
    assert decode(segment) is None


PIECES = [*"./\\%;?#:@ \t\0aZ09éＡ．／", "%2e", "%2F", "%25", "%3a", "%C3%A9", "%C0"]
NASTY = st.lists(st.sampled_from(PIECES)).map("".join)


@given(st.one_of(NASTY, st.text()))
@example("%2e%2e")
@example("ft%3Agpt")
def test_whatever_has_a_value_is_safe_however_often_it_is_decoded(segment: str) -> None:
    value = decode(segment)

    if value is not None:
        assert 0 < len(segment) <= LONGEST_SEGMENT
        assert re.fullmatch(r"[!-~]+", segment)
        assert value == unquote(segment, errors="strict") == unquote(value)
        assert value not in (".", "..")
        assert not re.search(r"[\s/\\%;?#\x00-\x1f\x7f-\x9f]", value)


def is_of_words_only(word: str) -> bool:
    """A few letters stand for something with a space in it (U+FC5E, U+FDFA)."""
    return not re.search(r"\s", unicodedata.normalize("NFKC", word))


@given(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=40).filter(is_of_words_only))
def test_any_word_can_be_sent_percent_encoded(word: str) -> None:
    assert decode(quote(word, safe="")) == word


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("", id="empty"),
        pytest.param("*", id="asterisk form"),
        pytest.param("v1/models", id="relative"),
        pytest.param("http://evil.example/v1/models", id="absolute form"),
        pytest.param("//evil.example/v1/models", id="network path"),
        pytest.param("/", id="root"),
        pytest.param("/v1//models", id="empty segment"),
        pytest.param("/v1/models/", id="trailing slash"),
        pytest.param("/v1/../v1/models", id="dots"),
        pytest.param("/a" * (MOST_SEGMENTS + 1), id="too many segments"),
        pytest.param("/" + "a" * 1_000_000, id="too long"),
    ],
)
def test_path_that_is_not_plain_has_no_segments(path: str) -> None:
    assert split(path) is None


def test_path_is_split_into_raw_and_decoded_segments() -> None:
    assert split("/v1/models/ft%3Aabc") == [("v1", "v1"), ("models", "models"), ("ft%3Aabc", "ft:abc")]
    assert split("/a" * MOST_SEGMENTS) == [("a", "a")] * MOST_SEGMENTS


def test_template_is_parsed_into_its_shape() -> None:
    assert shape_of("/v1/models/{model}") == ("v1", "models", None)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("v1/models", "must start with /"),
        ("", "must start with /"),
        ("/", "empty segment"),
        ("/v1/models/", "trailing slash"),
        ("/v1//models", "empty segment"),
        ("/v1/../models", "'..'"),
        ("/v1/./models", "'.'"),
        ("/v1/models/{model", "'{model'"),
        ("/v1/models/{}", "'{}'"),
        ("/v1/models/a{model}", "'a{model}'"),
        ("/v1/models/{model}:cancel", "'{model}:cancel'"),
        ("/v1/%6dodels", "'%6dodels'"),
        ("/v1/models?x=1", "'models?x=1'"),
        ("/v1/modéls", "'modéls'"),
        ("/" + "a" * (LONGEST_SEGMENT + 1), "must be letters"),
        ("/a" * (MOST_SEGMENTS + 1), "at most 16 segments"),
    ],
)
def test_malformed_template_is_refused_with_the_reason(template: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        shape_of(template)


def found(path: str, *templates: str) -> str | None:
    segments = split(path)
    tree = PathTree((shape_of(template), template) for template in templates)
    return tree.find(segments) if segments else None


def test_path_finds_the_template_that_it_fits_as_a_whole() -> None:
    templates = ("/v1/files", "/v1/files/{file}", "/v1/files/{file}/content")

    assert found("/v1/files", *templates) == "/v1/files"
    assert found("/v1/files/f-1", *templates) == "/v1/files/{file}"
    assert found("/v1/files/f-1/content", *templates) == "/v1/files/{file}/content"
    assert found("/v1", *templates) is None
    assert found("/v1/files/f-1/contents", *templates) is None
    assert found("/v1/files/f-1/content/x", *templates) is None


@pytest.mark.parametrize("templates", [("/{a}/x", "/lit/x"), ("/lit/x", "/{a}/x")])
def test_literal_wins_over_a_parameter_in_either_order(templates: tuple[str, str]) -> None:
    assert found("/lit/x", *templates) == "/lit/x"
    assert found("/other/x", *templates) == "/{a}/x"


def test_literal_is_never_taken_for_a_parameter() -> None:
    assert found("/videos/edits/content", "/videos/edits", "/videos/{video}/content") is None


def test_encoded_spelling_of_a_literal_is_neither_the_literal_nor_a_parameter() -> None:
    assert found("/videos/%65dits", "/videos/edits", "/videos/{video}") is None


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com",
        "http://127.0.0.1:8090",
        "http://[::1]:8090/v1",
        "http://mock_provider:8090",
        "https://API.example.com",
        "https://example.openai.azure.com/openai/deployments/gpt-4o",
    ],
)
def test_origin_with_an_optional_prefix_is_a_base_url(url: str) -> None:
    check_base_url(url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "http:// or https://"),
        ("api.openai.com", "http:// or https://"),
        ("ftp://api.openai.com", "http:// or https://"),
        ("https:api.openai.com", "http:// or https://"),
        ("https://api.openai.com/ v1", "printable ASCII"),
        ("https://api.openai.com\n", "printable ASCII"),
        ("https://api.öpenai.com", "printable ASCII"),
        ("https://evil.example\\@api.openai.com", "printable ASCII"),
        ("https://user:secret@api.openai.com", "no user"),
        ("https://api.openai.com?", "no user, query or fragment"),
        ("https://api.openai.com/v1?a=b", "no user, query or fragment"),
        ("https://api.openai.com#", "no user, query or fragment"),
        ("https:///v1", "must name a host"),
        ("https://:443", "must name a host"),
        ("https://-.example", "must name a host"),
        ("https://a%2fb.example", "must name a host"),
        ("https://api.openai.com:", "must name a host"),
        ("https://api.openai.com:0", "must name a host"),
        ("https://api.openai.com:99999", "Port out of range"),
        ("https://api.openai.com:http", "Port could not be cast"),
        ("https://[::1", "Invalid IPv6"),
        ("https://api.openai.com/", "trailing slash"),
        ("https://api.openai.com/v1/", "trailing slash"),
        ("https://api.openai.com/a/../b", "'..'"),
        ("https://api.openai.com/{version}", "no parameter"),
    ],
)
def test_anything_else_is_no_base_url(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        check_base_url(url)
