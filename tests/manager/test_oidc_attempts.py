"""Rules of sign-ins that have begun: opened by whom they were sealed for, for ten minutes, and used once."""

from datetime import timedelta

import pytest

from manager.oidc_attempts import SECONDS, Attempt, Attempts
from manager.tallies import MemoryTallies
from tests.manager.conftest import NOW, PEPPER

WHOSE = "https://login.example.org\nadmin-ui"


@pytest.fixture
def attempts() -> Attempts:
    return Attempts(PEPPER.encode(), WHOSE, MemoryTallies())


@pytest.fixture
def attempt() -> Attempt:
    return Attempt.begin("https://llm.example/callback", "/ui/projects")


def test_what_was_sealed_is_opened(attempts: Attempts, attempt: Attempt) -> None:
    assert attempts.open(attempts.seal(attempt, NOW), NOW) == attempt


def test_a_seal_shows_nothing(attempts: Attempts, attempt: Attempt) -> None:
    sealed = attempts.seal(attempt, NOW)

    assert not [secret for secret in (attempt.state, attempt.nonce, attempt.verifier) if secret in sealed]


@pytest.mark.parametrize(("seconds", "is_open"), [(-120, False), (0, True), (SECONDS, True), (SECONDS + 1, False)])
def test_a_seal_holds_for_minutes(attempts: Attempts, attempt: Attempt, seconds: int, is_open: bool) -> None:
    opened = attempts.open(attempts.seal(attempt, NOW), NOW + timedelta(seconds=seconds))

    assert (opened is not None) is is_open


@pytest.mark.parametrize(
    ("pepper", "whose"),
    [(PEPPER[::-1], WHOSE), (PEPPER, "https://login.example.org\nother"), (PEPPER, "https://other.example\nadmin-ui")],
    ids=["pepper", "client", "issuer"],
)
def test_nobody_else_opens_it(attempts: Attempts, attempt: Attempt, pepper: str, whose: str) -> None:
    others = Attempts(pepper.encode(), whose, MemoryTallies())

    assert others.open(attempts.seal(attempt, NOW), NOW) is None


@pytest.mark.parametrize("text", ["", "x", "ü", "\udcff", "gAAAAA==", "x" * 4000], ids=ascii)
def test_what_is_no_seal_is_not_opened(attempts: Attempts, text: str) -> None:
    assert attempts.open(text, NOW) is None


def test_each_byte_of_a_seal_counts(attempts: Attempts, attempt: Attempt) -> None:
    sealed = attempts.seal(attempt, NOW)

    for at in range(0, len(sealed) - 3, 7):
        changed = sealed[:at] + ("A" if sealed[at] != "A" else "B") + sealed[at + 1 :]
        assert attempts.open(changed, NOW) is None


def test_an_attempt_is_used_once(attempts: Attempts, attempt: Attempt) -> None:
    other = Attempt.begin(attempt.redirect_uri, attempt.next)

    assert [attempts.take(each) for each in (attempt, attempt, other, attempt)] == [True, False, True, False]


def test_the_challenge_is_that_of_the_standard() -> None:
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # RFC 7636, appendix B

    assert Attempt("", "", "", "", verifier).challenge == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
