"""The ledger counts everything, remembers a thousand, and knows no key."""

import hashlib

import pytest

from manager.mock_provider.answers.told import Used
from manager.mock_provider.keys import presented
from manager.mock_provider.ledger import RECENT, Ledger, Outcome

CALLER = presented([(b"authorization", b"Bearer sk-provider-1234"), (b"x-note", b"a: b")])
LEAKING = presented([(b"authorization", b"Bearer sk-llmp-123456789")])
EMPTY = hashlib.sha256().hexdigest()


def test_an_entry_shows_the_request_and_the_answer_as_far_as_it_has_come() -> None:
    ledger = Ledger()
    entry = ledger.open("POST", "/v1/chat/completions", CALLER)
    for piece in (b"quest", b"ion"):
        entry.heard(piece)
    entry.model, entry.status, entry.stream = "gpt-4o", 200, True

    entry.wrote(b"data: 1\n\n")
    entry.wrote(b"data: 2\n\n")

    assert ledger.shown()["recent"] == [
        {
            "id": "req_mock_1",
            "method": "POST",
            "path": "/v1/chat/completions",
            "model": "gpt-4o",
            "status": 200,
            "key": "sk-p****1234",
            "stream": True,
            "sha256": hashlib.sha256(b"data: 1\n\ndata: 2\n\n").hexdigest(),
            "bytes": 18,
            "events_sent": 2,
            "outcome": "open",
            "request_sha256": hashlib.sha256(b"question").hexdigest(),
            "request_bytes": 8,
            "events_received": 0,
            "headers": [["authorization", "Bearer sk-p****1234"], ["x-note", "a: b"]],
        }
    ]


def test_a_plain_answer_has_no_events_and_keeps_its_digests_when_it_ends() -> None:
    ledger = Ledger()
    entry = ledger.open("GET", "/v1/models", CALLER)
    entry.heard(b"?")
    entry.wrote(b"{}")

    ledger.close(entry, Outcome.FINISHED)

    shown = entry.shown()
    assert (shown["sha256"], shown["bytes"], shown["events_sent"]) == (
        hashlib.sha256(b"{}").hexdigest(),
        2,
        0,
    )
    assert shown["request_sha256"] == hashlib.sha256(b"?").hexdigest()
    assert shown["outcome"] == "finished"


def test_an_answer_that_never_began_has_the_digest_of_nothing() -> None:
    ledger = Ledger()
    entry = ledger.open("GET", "/v1/models", presented([]))

    ledger.close(entry, Outcome.DISCONNECTED)

    assert (entry.shown()["sha256"], entry.shown()["headers"]) == (EMPTY, [])


def test_requests_paths_leaks_and_outcomes_are_counted() -> None:
    ledger = Ledger()
    for path, caller, outcome in [
        ("/v1/models", CALLER, Outcome.FINISHED),
        ("/v1/models", LEAKING, Outcome.FINISHED),
        ("/v1/chat/completions", CALLER, Outcome.ABORTED),
        ("/v1/chat/completions", CALLER, Outcome.DISCONNECTED),
    ]:
        ledger.close(ledger.open("GET", path, caller), outcome)

    counts = {name: count for name, count in ledger.shown().items() if name != "recent"}

    assert counts == {
        "requests": 4,
        "most_at_once": 1,
        "by_path": {"/v1/models": 2, "/v1/chat/completions": 2},
        "leaked_tokens": 1,
        "finished": 2,
        "aborted": 1,
        "disconnected": 1,
    }


def test_only_the_last_thousand_requests_and_a_thousand_paths_are_remembered() -> None:
    ledger = Ledger()

    for number in range(RECENT + 5):
        ledger.open("GET", f"/{number}", CALLER)

    shown = ledger.shown()
    assert (shown["requests"], len(shown["recent"])) == (RECENT + 5, RECENT)
    assert shown["recent"][0]["path"] == "/5"
    assert shown["by_path"]["(other)"] == 5


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("used", [None, Used(3, 5)])
def test_what_whole_answers_have_used_is_remembered_by_their_ids(outcome: Outcome, used: Used | None) -> None:
    ledger = Ledger()
    entry = ledger.open("POST", "/v1/chat/completions", CALLER)
    entry.used = used

    ledger.close(entry, outcome)

    is_whole = used is not None and outcome is Outcome.FINISHED
    expected = {"req_mock_1": {"prompt_tokens": 3, "completion_tokens": 5}} if is_whole else {}
    assert ledger.answered() == expected
    ledger.reset()
    assert ledger.answered() == {}


def test_the_most_requests_at_once_are_counted_anew_after_a_reset() -> None:
    ledger = Ledger()
    first, second = (ledger.open("GET", "/v1/models", CALLER) for _ in range(2))
    ledger.close(first, Outcome.FINISHED)
    ledger.open("GET", "/v1/models", CALLER)
    before = ledger.shown()["most_at_once"]

    ledger.reset()
    for _ in range(2):
        ledger.close(ledger.open("GET", "/v1/models", CALLER), Outcome.FINISHED)
    ledger.close(second, Outcome.FINISHED)
    ledger.open("GET", "/v1/models", CALLER)

    assert (before, ledger.shown()["most_at_once"]) == (2, 1)


def test_a_reset_forgets_answers_still_open_but_never_reuses_a_number() -> None:
    ledger = Ledger()
    still_open = ledger.open("GET", "/v1/models", CALLER)

    ledger.reset()
    ledger.close(still_open, Outcome.FINISHED)

    assert (ledger.shown()["requests"], ledger.shown()["finished"], ledger.shown()["recent"]) == (0, 0, [])
    assert ledger.open("GET", "/v1/models", CALLER).id == "req_mock_2"
