"""Rules of people's tokens: signed by a key of the issuer's, for us, in time, with a role; or nobody gets in."""

import hmac
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from structlog.testing import capture_logs

from manager import issuer_http
from manager.authentication import IssuerAway, Refused
from manager.issuer_keys import FRESH_SECONDS, PAUSE_SECONDS, STALE_SECONDS, IssuerKeys
from manager.oidc import Claims, Oidc, values
from manager.principals import EVERYTHING, Principal, Role
from tests.manager.issuer import AUDIENCE, Issuer, Key, serving, written

RSA, EC, STRANGER = Key("rsa-1"), Key("ec-1", "ES256"), Key("rsa-1")
ROLES = {"ops": "operator", "bosses": "admin", "security": "auditor"}


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with serving(RSA, EC) as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def oidc(issuer: Issuer, clock: Clock) -> Oidc:
    return Oidc(Claims(issuer.url, AUDIENCE, "roles", ROLES), IssuerKeys(issuer.url, clock))


def is_refused(oidc: Oidc, token: str) -> bool:
    with pytest.raises(Refused) as caught:
        oidc.identify(token)
    return str(caught.value).endswith(".") and "\n" not in str(caught.value)


@pytest.mark.parametrize("key", [RSA, EC], ids=["rsa", "ec"])
def test_a_token_that_the_issuer_signed_tells_who_it_is(oidc: Oidc, issuer: Issuer, key: Key) -> None:
    assert oidc.identify(issuer.token(key)) == Principal("oidc:ann", Role.OPERATOR, EVERYTHING, None)


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt"])
def test_the_usual_kinds_of_token_are_taken(oidc: Oidc, issuer: Issuer, kind: str) -> None:
    assert oidc.identify(issuer.token(RSA, {"typ": kind})).name == "oidc:ann"


# Claims


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "http://127.0.0.1:1"},
        {"iss": None},
        {"iss": ["http://127.0.0.1:1"]},
        {"aud": "another"},
        {"aud": ["another", "third"]},
        {"aud": None},
        {"aud": []},
        {"exp": None},
        {"exp": "soon"},
        {"exp": int(time.time()) - 60},
        {"nbf": int(time.time()) + 10_000},
        {"iat": int(time.time()) + 10_000},
        {"sub": None},
        {"sub": ""},
        {"sub": "a\nb"},
        {"sub": "x" * 191},
        {"sub": 7},
        {"roles": None},
        {"roles": []},
        {"roles": ["another"]},
        {"roles": "OPS"},
        {"roles": [7, None, {"ops": 1}]},
        {"roles": {"ops": True}},
    ],
    ids=lambda claims: next(iter(claims)),
)
def test_claims_that_are_not_for_us_let_nobody_in(oidc: Oidc, issuer: Issuer, claims: dict[str, Any]) -> None:
    assert is_refused(oidc, issuer.token(RSA, **claims))


def test_clocks_may_differ_a_little(oidc: Oidc, issuer: Issuer) -> None:
    now = int(time.time())

    assert oidc.identify(issuer.token(RSA, exp=now - 20)) and oidc.identify(
        issuer.token(RSA, nbf=now + 20, iat=now + 20)
    )
    assert is_refused(oidc, issuer.token(RSA, exp=now - 40)) and is_refused(oidc, issuer.token(RSA, nbf=now + 50))


def test_one_audience_of_several_is_enough(oidc: Oidc, issuer: Issuer) -> None:
    assert oidc.identify(issuer.token(RSA, aud=["another", AUDIENCE]))


@pytest.mark.parametrize(
    ("given", "role"),
    [
        ("ops", Role.OPERATOR),
        (["security"], Role.AUDITOR),
        (["security", "bosses", "ops"], Role.ADMIN),
        (["another", "ops", 7], Role.OPERATOR),
    ],
)
def test_of_several_roles_the_highest_counts(oidc: Oidc, issuer: Issuer, given: Any, role: Role) -> None:
    assert oidc.identify(issuer.token(RSA, roles=given)).role is role


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("groups", ["a", "b"]),
        ("realm.roles", ["c"]),
        ("https://example.org/roles", ["d"]),
        ("realm.roles.more", []),
        ("nothing.at.all", []),
        ("number", []),
    ],
)
def test_a_claim_is_found_by_its_name_or_by_the_way_to_it(name: str, found: list[str]) -> None:
    claims = {"groups": ["a", 1, "b"], "realm": {"roles": "c"}, "https://example.org/roles": "d", "number": 7}

    assert values(claims, name) == found


# Signatures


def test_nobody_else_signs_for_the_issuer(oidc: Oidc, issuer: Issuer) -> None:
    token = issuer.token(RSA)

    assert is_refused(oidc, issuer.token(STRANGER))
    assert is_refused(oidc, token[:-8] + "AAAAAAAA") and is_refused(oidc, token.rpartition(".")[0] + ".")
    head, _, signature = token.split(".")
    assert is_refused(oidc, f"{head}.{written({}, issuer.claims(sub='eve')).split('.')[1]}.{signature}")


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, 7, ["RS256"]], ids=str)
def test_a_token_without_a_signature_is_nobodys(oidc: Oidc, issuer: Issuer, algorithm: Any) -> None:
    header = {"alg": algorithm, "kid": RSA.key_id}

    assert is_refused(oidc, written(header, issuer.claims()))
    assert is_refused(oidc, written(header, issuer.claims(), b"x"))


@pytest.mark.parametrize("form", [PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1], ids=["spki", "pkcs1"])
def test_the_public_key_is_no_shared_secret(oidc: Oidc, issuer: Issuer, form: PublicFormat) -> None:
    pem = RSA.private.public_key().public_bytes(Encoding.PEM, form)
    unsigned = written({"alg": "HS256", "kid": RSA.key_id}, issuer.claims()).rpartition(".")[0]
    signature = hmac.digest(pem, unsigned.encode(), "sha256")

    assert is_refused(oidc, written({"alg": "HS256", "kid": RSA.key_id}, issuer.claims(), signature))


def test_a_key_serves_its_own_algorithm_alone(oidc: Oidc, issuer: Issuer) -> None:
    for key, other in ((RSA, "ES256"), (EC, "RS256"), (RSA, "PS256"), (RSA, "RS512"), (EC, "EdDSA")):
        signature = issuer.token(key).rpartition(".")[2].encode()
        assert is_refused(oidc, written({"alg": other, "kid": key.key_id}, issuer.claims(), signature))


@pytest.mark.parametrize("header", [{"crit": ["exp"]}, {"crit": []}, {"typ": "logout+jwt"}], ids=str)
def test_a_header_that_demands_something_else_is_refused(oidc: Oidc, issuer: Issuer, header: dict[str, Any]) -> None:
    assert is_refused(oidc, issuer.token(RSA, header))


@pytest.mark.parametrize("key_id", ["another", "../../etc/passwd", 7, ["rsa-1"]], ids=str)
def test_an_unknown_key_id_is_refused(oidc: Oidc, issuer: Issuer, key_id: Any) -> None:
    signature = issuer.token(RSA).rpartition(".")[2].encode()

    assert is_refused(oidc, written({"alg": "RS256", "typ": "JWT", "kid": key_id}, issuer.claims(), signature))
    if isinstance(key_id, str):
        assert is_refused(oidc, issuer.token(RSA, {"kid": key_id}))


def test_a_key_that_the_token_brings_along_is_not_looked_at(oidc: Oidc, issuer: Issuer) -> None:
    more = {"jwk": STRANGER.public, "jku": f"{issuer.url}/mine", "x5u": f"{issuer.url}/mine"}

    assert is_refused(oidc, issuer.token(STRANGER, more)) and "/mine" not in issuer.asked


@pytest.mark.parametrize("token", ["", "..", "a.b.c", "a.b", "é.ü.ß", "[" * 4000 + ".x.y", "eyJhbGciOiJSUzI1NiJ9.x.y"])
def test_what_is_no_token_is_refused(oidc: Oidc, token: str) -> None:
    assert is_refused(oidc, token)


def test_a_header_that_is_nested_without_end_is_refused(oidc: Oidc, issuer: Issuer) -> None:
    nested: list[Any] = []
    for _ in range(900):
        nested = [nested]
    text = written({"alg": "RS256"}, {})
    deep = "W1tb" * 50_000  # [[[[…

    assert is_refused(oidc, f"{deep}.{text.split('.')[1]}.x") and is_refused(oidc, written({"alg": nested}, {}, b"x"))


def test_a_key_that_is_too_short_signs_nothing(clock: Clock) -> None:
    short = Key("short", size=1024)
    with serving(short) as issuer:
        oidc = Oidc(Claims(issuer.url, AUDIENCE, "roles", ROLES), IssuerKeys(issuer.url, clock))

        with pytest.warns(match="bits"):
            token = issuer.token(short)
        assert is_refused(oidc, token)


# Keys


def test_keys_are_fetched_once_and_kept(oidc: Oidc, issuer: Issuer, clock: Clock) -> None:
    for _ in range(3):
        oidc.identify(issuer.token(RSA))
        clock.now += FRESH_SECONDS / 4

    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]


def test_a_new_key_is_fetched_when_it_is_first_seen(oidc: Oidc, issuer: Issuer, clock: Clock) -> None:
    oidc.identify(issuer.token(RSA))
    new = Key("rsa-2")
    issuer.shown = {"keys": [new.public, EC.public]}
    clock.now += PAUSE_SECONDS

    assert oidc.identify(issuer.token(new)).name == "oidc:ann" and is_refused(oidc, issuer.token(RSA))


def test_a_key_that_was_taken_back_ends_when_the_keys_are_no_longer_fresh(
    oidc: Oidc, issuer: Issuer, clock: Clock
) -> None:
    oidc.identify(issuer.token(RSA))
    issuer.shown = {"keys": [EC.public]}
    clock.now += FRESH_SECONDS + 1

    assert is_refused(oidc, issuer.token(RSA))


def test_unknown_keys_make_nobody_ask_the_issuer_all_the_time(oidc: Oidc, issuer: Issuer, clock: Clock) -> None:
    oidc.identify(issuer.token(RSA))
    clock.now += PAUSE_SECONDS
    for number in range(20):
        assert is_refused(oidc, issuer.token(STRANGER, {"kid": f"made-up-{number}"}))

    assert len(issuer.asked) == 4


def test_a_token_without_a_key_id_needs_a_single_key_of_its_kind(oidc: Oidc, issuer: Issuer, clock: Clock) -> None:
    assert oidc.identify(issuer.token(RSA, {"kid": None})).name == "oidc:ann"
    issuer.shown = {"keys": [RSA.public, STRANGER.public | {"kid": "rsa-2"}]}
    clock.now += FRESH_SECONDS + 1
    assert is_refused(oidc, issuer.token(RSA, {"kid": None}))


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"},
        {"key_ops": ["encrypt"]},
        {"key_ops": 7},
        {"alg": "PS256"},
        {"kty": "oct"},
        {"n": "!"},
        {"n": None},
    ],
    ids=str,
)
def test_a_key_that_is_for_something_else_signs_nothing(oidc: Oidc, issuer: Issuer, change: dict[str, Any]) -> None:
    issuer.shown = {"keys": [RSA.public | change, 7, None, {}]}

    assert is_refused(oidc, issuer.token(RSA))


def test_while_the_issuer_is_away_its_keys_are_good_for_a_day(oidc: Oidc, issuer: Issuer, clock: Clock) -> None:
    oidc.identify(issuer.token(RSA))
    issuer.status = 503
    clock.now += STALE_SECONDS - 1
    with capture_logs() as logged:
        assert oidc.identify(issuer.token(RSA)).name == "oidc:ann"
    assert [entry["event"] for entry in logged] == ["issuer_away"]

    clock.now += 2
    with pytest.raises(IssuerAway, match="cannot be fetched"):
        oidc.identify(issuer.token(RSA))

    issuer.status = 200
    clock.now += PAUSE_SECONDS
    assert oidc.identify(issuer.token(RSA)).name == "oidc:ann"


def away(issuer: Issuer) -> None:
    issuer.status = 500


def redirecting(issuer: Issuer) -> None:
    issuer.status = 302


def another(issuer: Issuer) -> None:
    issuer.described["issuer"] = issuer.url + "/"


def without_tls(issuer: Issuer) -> None:
    issuer.described["jwks_uri"] = "http://192.0.2.1/keys"


def a_file(issuer: Issuer) -> None:
    issuer.described["jwks_uri"] = "file:///etc/passwd"


def nowhere(issuer: Issuer) -> None:
    del issuer.described["jwks_uri"]


def a_list(issuer: Issuer) -> None:
    issuer.shown = [RSA.public]


def no_keys(issuer: Issuer) -> None:
    issuer.shown = {"keys": RSA.public}


def too_large(issuer: Issuer) -> None:
    issuer.shown = {"keys": [RSA.public], "more": "x" * issuer_http.MOST_BYTES}


@pytest.mark.parametrize(
    "spoil", [away, redirecting, another, without_tls, a_file, nowhere, a_list, no_keys, too_large]
)
def test_an_issuer_that_does_not_show_its_keys_properly_vouches_for_nobody(
    oidc: Oidc, issuer: Issuer, spoil: Any
) -> None:
    spoil(issuer)

    with pytest.raises(IssuerAway):
        oidc.identify(issuer.token(RSA))
    assert "/elsewhere" not in issuer.asked


def test_an_issuer_that_is_not_there_is_away() -> None:
    keys = IssuerKeys("http://127.0.0.1:1")

    with pytest.raises(IssuerAway):
        keys.find("rsa-1", "RS256")
