"""Rules of filters: they mean what they mean in mitmproxy, say where they are wrong, and take linear time."""

import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mitmproxy import flowfilter, http
from mitmproxy.test import tflow

from addons import flow_filters
from addons.filter_subject import Subject
from addons.flow_filters import FilterError
from shared.rules_schema import LONGEST_FILTER

URL = "https://api.openai.com/v1/chat/completions?x=1"
BODY = b'{"model":"gpt-4o","messages":[{"role":"user","content":"Write to ann@example.org"}]}'
HEADERS = [("content-type", "application/json"), ("user-agent", "OpenAI/Python 2.0"), ("x-tier", "gold")]


def subject(
    body: bytes | None = BODY,
    is_whole: bool = True,
    url: str = URL,
    headers: list[tuple[str, str]] | None = None,
    method: str = "POST",
) -> Subject:
    def remark(tags: object) -> str:
        return "request=r1 project=acme token=nightly model=gpt-4o"

    return Subject(method, url, HEADERS if headers is None else headers, "10.0.0.7:5123", body, is_whole, remark)


def flow() -> http.HTTPFlow:
    """The same request as mitmproxy has it."""
    made = tflow.tflow()
    made.request = http.Request.make("POST", URL, BODY, dict(HEADERS))
    made.request.headers.pop("host", None)
    made.request.headers.pop("content-length", None)
    made.client_conn.peername = ("10.0.0.7", 5123)
    made.comment = "request=r1 project=acme token=nightly model=gpt-4o"
    return made


def fits(text: str, **how: Any) -> bool | None:
    return flow_filters.parse(text).fits(subject(**how))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("~all", True),
        ("~q & ~http", True),
        ("!~q", False),
        ("!!~q", True),
        ("~m POST", True),
        ("~m ^GET$", False),
        ("~d openai", True),
        ("~d ^openai", False),
        ("chat/completions", True),
        ("~u /v1/CHAT", True),
        ("~u embeddings|chat", True),
        ("~h x-tier:.gold", True),
        ("~hq '^x-tier: '", True),
        ("~h silver", False),
        ("~t json", True),
        ("~tq ^application/json$", True),
        ("~t multipart", False),
        ("~b ann@example", True),
        ("~bq ANN@", True),
        ("~b 'model.*content'", True),
        ("~b bob", False),
        ("~src 10.0.0.7", True),
        ("~src :80$", False),
        ("~comment project=acme", True),
        ("~comment model=gpt-4o-mini", False),
        ("~m GET | ~m POST", True),
        ("~m GET | ~m POST & ~b bob", False),
        ("(~m GET | ~m POST) & !~b bob", True),
        ("~m POST ~b ann", True),
        ("~m POST | ~m GET ~b bob", False),
        ('~b "to ann"', True),
        ("~b 'to \\\\w+@'", True),
        ("~b '\\\"user\\\"'", True),
        ("~websocket", False),
    ],
)
def test_a_filter_means_what_it_means_in_mitmproxy(text: str, expected: bool) -> None:
    assert fits(text) is expected
    assert bool(flowfilter.parse(text)(flow())) is expected


words = st.sampled_from(["~q", "~all", "~m GET", "~m POST", "~b ann", "~u chat", "gpt", "~d api", "~comment acme"])
expressions = st.recursive(
    words,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" & ", " | "]), inner).map("".join),
        inner.map(lambda text: f"!{text}"),
        inner.map(lambda text: f"( {text} )"),
    ),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(expressions, min_size=1, max_size=2).map(" ".join))
@example("~m GET | ~m POST & !~b ann")
def test_operators_bind_as_in_mitmproxy(text: str) -> None:
    assert fits(text) is bool(flowfilter.parse(text)(flow()))


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("", 0, "must not be empty"),
        ("   ", 0, "must not be empty"),
        ("~q & ~s", 5, "about answers"),
        ("~c 200", 0, "about answers"),
        ("~bs x", 0, "about answers"),
        ("~e", 0, "about answers"),
        ("~a", 0, "about answers"),
        ("~tcp | ~q", 0, "other protocols"),
        ("~meta x", 0, "mitmproxy's own notes"),
        ("~marked", 0, "mitmproxy's own notes"),
        ("~dst x", 0, "~d is the host"),
        ("~q & ~nothing", 5, "There is no ~nothing."),
        ("~ b", 0, "A letter must follow ~"),
        ("~q &", 4, "missing"),
        ("~q & & ~q", 5, "missing"),
        ("& ~q", 0, "missing"),
        ("()", 1, "missing"),
        ("(~q", 0, "not closed"),
        ("~q )", 3, "not been opened"),
        ("(~q ~q)", 4, "joined by & or |"),
        ("~b", 2, "A pattern must follow ~b"),
        ("~b (a|b)", 3, "must be quoted"),
        ("~b a(b)", 4, "must be quoted"),
        ("~b & ~q", 3, "must be quoted"),
        ("~b !x", 3, "must be quoted"),
        ("a& ~q", 0, "must be quoted"),
        ("~q~q", 2, "A space must follow ~q."),
        ('~b"x"', 2, "A space must follow ~b."),
        ('~b "x', 3, "quote is not closed"),
        ("~b ''", 3, "must not be empty"),
        (r"~b 'a\d'", 5, r"written twice: \\d"),
        ("~b '(a'", 3, "a closing bracket is missing: (a"),
        ("~b 'a)'", 3, "closing bracket too many"),
        ("~b [a", 3, "a closing ] is missing"),
        ("~b '(?=a)'", 3, "not among RE2's operators"),
        (r"~b '(a)\\1'", 3, "not among RE2's escapes"),
        ("~b 'a{2000}'", 3, "more than 1000 times"),
        ("~b '(a{999}){99}'", 3, "more than 1000 times"),
        (r"~b '\\pL{999}'", 3, "it is too large"),
        ("~b '(abcdef){900}'", 3, "it is too large"),
        ("!" * 30 + "~q", 21, "at most 20 times"),
        ("(" * 30 + "~q" + ")" * 30, 21, "at most 20 times"),
        ("~q " * 101, 300, "at most 100 parts"),
        ("a" * (LONGEST_FILTER + 1), LONGEST_FILTER, "at most 2000 characters"),
    ],
)
def test_what_is_no_filter_for_requests_is_refused_with_its_place(text: str, position: int, message: str) -> None:
    with pytest.raises(FilterError) as caught:
        flow_filters.parse(text)

    assert message in caught.value.message and caught.value.position == position


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="~bqus()!&|'\"\\ a0[{*", max_size=40))
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    try:
        verdict = fits(text)
    except FilterError as error:
        assert 0 <= error.position <= len(text) and error.message
    else:
        assert verdict in (True, False)


# Bodies


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("~b x", None),
        ("!~b x", None),
        ("~b x & ~m POST", None),
        ("~b x & ~m GET", False),
        ("~b x | ~m POST", True),
        ("~b x | ~m GET", None),
        ("~m POST", True),
    ],
)
def test_what_depends_on_a_body_that_cannot_be_read_is_neither_so_nor_not(text: str, expected: bool | None) -> None:
    assert fits(text, body=None) is expected
    assert fits(text.replace("x", "model"), body=b"mod", is_whole=False) is expected


def test_what_is_found_in_the_beginning_of_a_body_is_found() -> None:
    assert fits("~b model", is_whole=False) is True


@pytest.mark.parametrize(
    ("text", "is_needed"),
    [("~b x", True), ("~bq x | ~m GET", True), ("!(~comment x)", True), ("~u x & ~h y & ~src z", False)],
)
def test_a_filter_tells_whether_it_needs_the_body(text: str, is_needed: bool) -> None:
    assert flow_filters.parse(text).needs_body is is_needed


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (rb'{"a":"ann\u0040example.org"}', "application/json"),
        (rb'{"a":"\u0061\u006e\u006E@example.org"}', ""),
        (b"to=ann%40example.org", "application/x-www-form-urlencoded; charset=utf-8"),
        (b"\xff\x00 ann@example.org \xfe", "application/octet-stream"),
    ],
    ids=["escaped", "escaped letters", "form", "no text"],
)
def test_escapes_evade_nothing(body: bytes, content_type: str) -> None:
    assert fits("~b ann@example", body=body, headers=[("Content-Type", content_type)])
    assert fits("!~b ann@example", body=body, headers=[("Content-Type", content_type)]) is False


def test_a_dot_is_any_byte_where_a_body_is_no_text() -> None:
    assert fits("~b needle.in.hay", body=b"needle\xffin\xfehay")


def test_letters_beyond_ascii_are_compared_without_case() -> None:
    assert fits("~b größe", body="GRÖẞE Größe".encode())


def test_an_escaped_path_is_found_by_its_plain_name() -> None:
    assert fits("~u /v1/files", url="https://api.openai.com/v1/f%69les")


def test_a_websocket_is_known_by_what_it_asks_for() -> None:
    assert fits("~websocket", headers=[("Upgrade", "WebSocket")])


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+b", "(.*a){20}", "([a-z]+)*=", "a[ab]{400}c"])
def test_no_pattern_takes_time_without_bounds(pattern: str) -> None:
    found = flow_filters.parse(f"~b '{pattern}'")
    started = time.perf_counter()

    found.fits(subject(body=b"a" * 100_000 + b"!"))

    assert time.perf_counter() - started < 2


def test_what_all_patterns_take_together_is_bounded() -> None:
    parts = [f"~b a[ab]{{{count}}}c" for count in range(400, 498)]
    fitting = " | ".join(parts[:6])

    with pytest.raises(FilterError, match="too large together") as refused:
        flow_filters.parse(" | ".join(parts))

    assert flow_filters.parse(fitting).fits(subject()) is False
    assert refused.value.position == len(fitting) + len(" | ~b ")


def test_words_are_not_too_large_together() -> None:
    words = " ".join(f"~b {word}" for word in ("occupational", "remunerations", "Straßenbahnen", "désolées") * 24)

    assert LONGEST_FILTER * 0.65 < len(words) and flow_filters.parse(words).body_steps


def test_json_in_json_evades_nothing() -> None:
    body = rb'{"tool_calls":[{"function":{"arguments":"{\"a\":\"k\\u0065epme\"}"}}]}'

    assert fits("~b keepme", body=body) is True
