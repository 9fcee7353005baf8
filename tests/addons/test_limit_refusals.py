"""What callers are told of limits: where they stand, and why not."""

import pytest
from mitmproxy import http

from addons import refusal
from addons.call import Call, Calls
from addons.headers import Headers
from addons.limit_headers import LimitHeaders, headers_of
from addons.limit_refusals import overrun_of, refusal_of
from shared.models import Denial, LimitState, Measure, Scope, Window

PER_MINUTE = LimitState(Scope.PROJECT, Measure.REQUESTS, Window.MINUTE, 60, 12, 5_001)
MONEY = LimitState(Scope.TOKEN, Measure.COST, Window.LIFE, 12_500_000_000, 1, None)


def test_headers_tell_amount_rest_and_seconds_beside_the_providers_own() -> None:
    assert headers_of([PER_MINUTE, MONEY]) == {
        "x-ratelimit-limit-proxy-requests": "60",
        "x-ratelimit-remaining-proxy-requests": "12",
        "x-ratelimit-reset-proxy-requests": "6",
        "x-ratelimit-limit-proxy-cost": "12.5",
        "x-ratelimit-remaining-proxy-cost": "0.000000001",
    }


@pytest.mark.parametrize(
    ("reason", "limit", "wait_ms", "message", "retry_after"),
    [
        (
            Denial.RATE_LIMIT_EXCEEDED, PER_MINUTE, 1_001,
            "This project's limit of 60 requests per minute does not allow this request. It will in 2 s.", 2,
        ),
        (
            Denial.QUOTA_EXCEEDED, MONEY, -1,
            "This token's limit of 12.5 USD in all does not allow this request. It will not.", None,
        ),
        (
            Denial.RATE_LIMIT_EXCEEDED, LimitState(Scope.GLOBAL, Measure.CONCURRENT, Window.LIFE, 3, 0, None), 0,
            "This proxy's limit of 3 requests at the same time does not allow this request. It will in 1 s.", 1,
        ),
        (
            Denial.QUOTA_EXCEEDED, LimitState(Scope.TOKEN, Measure.REQUESTS, Window.LIFE, 3, 0, None), -1,
            refusal.QUOTA_EXCEEDED.message, None,
        ),
        (Denial.QUOTA_EXCEEDED, None, None, refusal.QUOTA_EXCEEDED.message, None),
    ],
    ids=["rate", "money", "concurrent", "max_requests", "unknown"],
)  # fmt: skip
def test_a_refusal_names_the_limit_whose_it_is_and_when_it_frees(
    reason: Denial, limit: LimitState | None, wait_ms: int | None, message: str, retry_after: int | None
) -> None:
    worded = refusal_of(reason, limit, wait_ms)

    assert (worded.status, worded.code, worded.message) == (429, reason.value, message)
    assert worded.retry_after == retry_after


def test_an_answer_that_is_ended_hears_of_the_limit() -> None:
    worded = overrun_of(LimitState(Scope.TOKEN, Measure.TOKENS, Window.DAY, 100, 0, 60_000))

    assert worded.code == "quota_exceeded" and "100 tokens per day" in worded.message
    assert worded.param == "token.tokens.day"


def test_an_answer_of_which_nobody_can_tell_hears_that() -> None:
    assert overrun_of(None) == refusal.SERVICE_UNAVAILABLE


def test_refusals_carry_the_headers_too() -> None:
    call = Call(standing=(PER_MINUTE,))

    answer = refusal.respond(refusal_of(Denial.RATE_LIMIT_EXCEEDED, PER_MINUTE, 1_001), call)

    assert answer.headers["x-ratelimit-remaining-proxy-requests"] == "12"
    assert answer.headers["retry-after"] == "2"
    assert b'"param":"project.requests.minute"' in (answer.content or b"")


def test_answers_carry_them_beside_the_providers_own(admitted: tuple[http.HTTPFlow, Call], calls: Calls) -> None:
    flow, call = admitted
    own = {"x-ratelimit-limit-requests": "500", "X-RateLimit-Limit-Proxy-Requests": "forged"}
    flow.response, call.standing = http.Response.make(200, b"", own), (PER_MINUTE,)

    Headers(calls).responseheaders(flow)
    LimitHeaders(calls).responseheaders(flow)

    assert flow.response.headers.get_all("x-ratelimit-limit-proxy-requests") == ["60"]
    assert flow.response.headers["x-ratelimit-limit-requests"] == "500"
