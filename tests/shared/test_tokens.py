"""The format of withering tokens: fixed vectors, a checksum that catches typos, a keyed digest, a mask."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared import tokens

RAW = st.binary(min_size=24, max_size=24)
PEPPER = b"pepper-of-the-test-vector-000000"
# Computed by other code than ours: (random bytes, token, digest under PEPPER).
VECTORS = [
    (
        bytes(24),
        "sk-llmp-00000000000000000000000000000000026BYXP",
        "8017650e688c872a4e756ca7f57edeeec47d365fd313c45f6699d1c18b02a1d3",
    ),
    (
        b"\xff" * 24,
        "sk-llmp-2lFA6LboL2xx0ldQH2K1TdSrwuqMMiME31Zs9bW",
        "47ee4a07d90e5a180e7801d40c9870515448f3fa8f0cf332cfbd3f4ff761a470",
    ),
    (
        bytes(range(24)),
        "sk-llmp-000A7dl5PEW67zZCpFU9uKaHnGgOvQKAR2eahrm",
        "2b92dd27e703d073f5418d9d897c05680da4bc4713b86985ff44da6ac8ec99c3",
    ),
]


def number_of(base62: str) -> int:
    value = 0
    for character in base62:
        value = value * 62 + tokens.ALPHABET.index(character)
    return value


@pytest.mark.parametrize(("raw", "token", "digest"), VECTORS)
def test_tokens_and_digests_match_the_known_vectors(raw: bytes, token: str, digest: str) -> None:
    assert tokens.generate(raw) == token
    assert tokens.digest(token, PEPPER) == digest


@given(RAW)
@example(bytes(24))
@example(b"\xff" * 24)
def test_every_token_has_the_published_shape(raw: bytes) -> None:
    token = tokens.generate(raw)

    assert re.fullmatch(r"sk-llmp-[0-9A-Za-z]{39}", token)
    assert tokens.is_well_formed(token)
    assert tokens.PATTERN.fullmatch(token)


@given(RAW)
def test_the_body_carries_all_random_bytes(raw: bytes) -> None:
    body = tokens.generate(raw).removeprefix(tokens.PREFIX)[: tokens.BODY_LENGTH]

    assert number_of(body).to_bytes(24, "big") == raw


def test_new_tokens_are_random() -> None:
    assert len({tokens.generate() for _ in range(100)}) == 100


@pytest.mark.parametrize("length", [0, 23, 25])
def test_a_token_is_made_of_exactly_24_bytes(length: int) -> None:
    with pytest.raises(ValueError, match=f"24 random bytes, not {length}"):
        tokens.generate(bytes(length))


@given(RAW, st.integers(0, 38), st.sampled_from(tokens.ALPHABET))
def test_a_changed_character_is_refused_by_the_checksum(raw: bytes, position: int, character: str) -> None:
    token = tokens.generate(raw)
    place = len(tokens.PREFIX) + position
    typo = token[:place] + character + token[place + 1 :]

    assert tokens.is_well_formed(typo) == (typo == token)


@given(RAW, st.integers(0, 37))
def test_swapped_neighbours_are_refused_by_the_checksum(raw: bytes, position: int) -> None:
    token = tokens.generate(raw)
    place = len(tokens.PREFIX) + position
    typo = token[:place] + token[place + 1] + token[place] + token[place + 2 :]

    assert tokens.is_well_formed(typo) == (typo == token)


TOKEN = VECTORS[2][1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sk-llmp-",
        TOKEN[:-1],
        TOKEN + "0",
        TOKEN + "\n",
        " " + TOKEN,
        TOKEN.upper(),
        TOKEN.replace("sk-llmp-", "sk-proj-"),
        TOKEN.replace("sk-llmp-", ""),
        TOKEN[:20] + "-" + TOKEN[21:],
        TOKEN[:20] + "٣" + TOKEN[21:],
        "sk-proj-abcdefghijklmnopqrstuvwxyz",
    ],
)
def test_anything_but_a_whole_token_is_malformed(text: str) -> None:
    assert not tokens.is_well_formed(text)


@given(RAW)
def test_a_token_of_one_kind_is_none_of_the_other(raw: bytes) -> None:
    token, operators = tokens.generate(raw), tokens.generate(raw, tokens.OPERATOR_PREFIX)

    assert re.fullmatch(r"llmp-op-[0-9A-Za-z]{39}", operators) and tokens.PATTERN.fullmatch(operators)
    assert tokens.is_well_formed(operators, tokens.OPERATOR_PREFIX)
    assert not tokens.is_well_formed(operators) and not tokens.is_well_formed(token, tokens.OPERATOR_PREFIX)
    assert tokens.digest(token, PEPPER) != tokens.digest(operators, PEPPER)


@given(st.text())
def test_no_text_makes_the_check_fail_with_an_error(text: str) -> None:
    assert tokens.is_well_formed(text) in (True, False)


def test_digests_differ_by_token_and_by_pepper() -> None:
    first, second = tokens.generate(), tokens.generate()

    digests = {tokens.digest(token, pepper) for token in (first, second) for pepper in (b"a" * 32, b"b" * 32)}

    assert len(digests) == 4


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        (TOKEN, "sk-llmp-****ahrm"),
        ("sk-proj-abcdefghijklmnop", "sk-p****mnop"),
        ("sk-ant-api03-0123456789abcdef", "sk-a****cdef"),
        ("sk-llmp-", "sk-llmp-****"),
        (TOKEN.replace("sk-llmp-", "llmp-op-"), "llmp-op-****ahrm"),
        ("llmp-op-12345678901", "llmp-op-****"),
        ("sk-llmp-12345678901", "sk-llmp-****"),
        ("sk-llmp-123456789012", "sk-llmp-****9012"),
        ("0123456789abcde", "****"),
        ("0123456789abcdef", "0123****cdef"),
        ("short", "****"),
        ("", "****"),
    ],
)
def test_the_mask_shows_head_and_last_four_of_long_secrets_only(secret: str, shown: str) -> None:
    assert tokens.mask(secret) == shown


@given(st.text(st.characters(exclude_characters="*"), min_size=1))
def test_the_mask_hides_at_least_half_of_any_secret(secret: str) -> None:
    head, _, tail = tokens.mask(secret).partition("****")

    assert len(head.removeprefix(tokens.PREFIX)) + len(tail) <= len(secret.removeprefix(tokens.PREFIX)) / 2
