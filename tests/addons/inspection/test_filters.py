"""Rules of filters: they mean what they mean in mitmproxy, and take no time worth mentioning."""

import time

import pytest
from mitmproxy import flowfilter
from mitmproxy.http import HTTPFlow

from addons.inspection import filters, flows
from addons.inspection.flows import body_of
from shared.flow_schema import FlowRecord
from tests.flow_records import ended


def shown(told: FlowRecord) -> HTTPFlow:
    assert told.response is not None
    flow = flows.flow_of(told)
    flows.show(flow, told, body_of(told.request, None), body_of(told.response, None), "")
    return flow


FLOW = shown(ended(token_label="Nightly job", tags=["clinic"], body=b'{"a":\n"b"}'))


@pytest.mark.parametrize(
    "text",
    [
        "~all",
        '~comment "token=\\"nightly"',
        "~comment nightly",
        "~comment daily",
        "~b a.*b",
        "~bs a.*b",
        "~bq clinic",
        "~hs ^content-type",
        "~c 200 & ~m post",
        "!(~m get | ~c 404)",
        "~u OPENAI.com",
        "openai",
        "~marked",
        "~marker label",
        "~d api.openai.com ~s",
        "~src 10.1",
        "~t json",
        "~e",
    ],
)
def test_a_filter_means_what_it_means_in_mitmproxy(text: str) -> None:
    assert bool(filters.parse(text)(FLOW)) is bool(flowfilter.parse(text)(FLOW))
    assert filters.parse(text).pattern == text


def test_no_pattern_takes_long() -> None:
    flow = shown(ended(body=b"a" * 100_000 + b"!"))
    began = time.monotonic()

    assert not filters.parse("~b '(a+)+$|(a|aa)+b$'")(flow)

    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    "text",
    [
        "~b '('",
        "~b '(?=a)'",
        "~b '(a)\\\\1'",
        "~nothing x",
        "(" * 4 + "~all" + ")" * 4,
        "!" * 50 + "~all",
        "a" * 501,
        "~b",
    ],
    ids=["open", "look ahead", "back reference", "unknown", "deep", "not not", "long", "nothing"],
)
def test_what_cannot_be_used_is_refused_soon(text: str) -> None:
    began = time.monotonic()

    with pytest.raises(ValueError, match=r"."):
        filters.parse(text)

    assert time.monotonic() - began < 30
