"""Rules of filters: they mean what they mean in mitmproxy, and take no time worth mentioning."""

import asyncio
import time

import pytest
from mitmproxy import contentviews, flowfilter
from mitmproxy.contentviews import Metadata
from mitmproxy.contentviews._registry import ContentviewRegistry
from mitmproxy.http import HTTPFlow

from addons.inspection import filters, flows, safe_views
from addons.inspection.flows import body_of
from addons.inspection.searching import Searches
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
        '~b "a[ab]{1000}[ab]{1000}[ab]{1000}[ab]{1000}c"',
        "~b a[ab]{400}c | ~b a[ab]{401}c | ~b a[ab]{402}c",
    ],
    ids=[
        "open",
        "look ahead",
        "back reference",
        "unknown",
        "deep",
        "not not",
        "long",
        "nothing",
        "large",
        "large parts",
    ],
)
def test_what_cannot_be_used_is_refused_soon(text: str) -> None:
    began = time.monotonic()

    with pytest.raises(ValueError, match=r"."):
        filters.parse(text)

    assert time.monotonic() - began < 30


def test_a_filter_that_takes_too_long_for_a_flow_is_not_asked_any_more() -> None:
    found = filters.parse("~b a[ab]{900}c | ~all")

    assert found(FLOW) and not found.is_slow
    assert not found(shown(ended(body=b"ab" * 100_000))) and found.is_slow
    assert not found(FLOW)


async def test_a_search_gives_way_and_ends() -> None:
    flows, turns = [FLOW] * 50_000, 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    assert await Searches().fitting(filters.parse("~comment nightly"), flows) == {FLOW.id}
    with pytest.raises(ValueError, match="takes too long"):
        await Searches(most_seconds=0.0).fitting(filters.parse("~comment nightly"), flows)
    counting.cancel()

    assert turns > 1


async def test_searches_wait_for_each_other() -> None:
    searches, found = Searches(), filters.parse("~all")

    fitting = await asyncio.gather(*[searches.fitting(found, [FLOW]) for _ in range(3)])

    assert fitting == [{FLOW.id}] * 3


def test_views_that_take_long_are_for_short_bodies() -> None:
    registry = ContentviewRegistry()
    for view in contentviews._views:
        registry.register(view)
    safe_views.keep_safe_views(registry)
    safe_views.keep_safe_views(registry)
    form, told = registry["URL-encoded"], Metadata(content_type="application/x-www-form-urlencoded")

    assert form.prettify(b"a=%41", told) == "a: A\n" and form.render_priority(b"a=%41", told) == 1
    long = b"&".join(b"a%d=%%41" % number for number in range(100_000))
    assert registry.get_view(long, told).name == "Raw" and "others more" in form.prettify(long, told)
    assert "protobuf" not in registry
