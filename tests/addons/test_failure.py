"""What each way to fail is called, whom it speaks against, and how long an answer asks to wait."""

from datetime import UTC, datetime

import pytest

from addons import failure

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("[Errno 111] Connect call failed ('127.0.0.1', 9)", "refused"),
        ("Multiple exceptions: [Errno 111] Connect call failed ('::1', 9, 0, 0), [Errno 111] Connect", "refused"),
        ("[Errno -2] Name or service not known", "dns"),
        ("[Errno -3] Temporary failure in name resolution", "dns"),
        ("Certificate verify failed: self-signed certificate", "tls"),
        ("The remote server does not speak TLS.", "tls"),
        ("[Errno 113] No route to host", "unreachable"),
        ("[Errno 101] Network is unreachable", "unreachable"),
        ("connect timeout", "connect_timeout"),
        ("connection cancelled", "connect_timeout"),
        ("anything else", "connect"),
    ],
)
def test_errors_while_connecting_are_told_apart_and_nothing_has_been_done_yet(message: str, kind: str) -> None:
    failed = failure.of_connect_error(message)

    assert (failed.kind, failed.blames, failed.may_have_acted) == (kind, "origin", False)


def test_a_limit_of_the_workers_own_speaks_against_nobody_else() -> None:
    failed = failure.of_connect_error(failure.CROWDED)

    assert (failed.kind, failed.blames, failed.may_have_acted) == ("crowded", "worker", False)


@pytest.mark.parametrize("status", [401, 402, 403, 429])
def test_some_statuses_speak_against_the_key_and_mean_that_nothing_was_done(status: int) -> None:
    failed = failure.of_answer(status, {}, NOW)

    assert failed == failure.Failure(f"status_{status}", "key", False, status)


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 529])
def test_some_statuses_speak_against_the_provider_which_may_have_acted(status: int) -> None:
    failed = failure.of_answer(status, {}, NOW)

    assert failed == failure.Failure(f"status_{status}", "origin", True, status)


@pytest.mark.parametrize("status", [101, 200, 204, 304, 400, 404, 409, 413, 422, 501])
def test_other_answers_are_the_callers_business(status: int) -> None:
    assert failure.of_answer(status, {}, NOW) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": "Sun, 01 Mar 2026 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "Sun, 01 Mar 2026 12:00:30 -0000"}, 30.0),
        ({"retry-after": "99999999"}, failure.LONGEST_RETRY_AFTER),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "soon"}, None),
    ],
)
def test_the_wait_that_an_answer_asks_for_is_read_and_bounded(headers: dict[str, str], seconds: float | None) -> None:
    assert failure.retry_after(headers, NOW) == seconds
