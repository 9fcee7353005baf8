"""Rules of encrypted files: what was written comes back, from anywhere in it; whatever was done to it is noticed."""

import io
import os

import pytest

from manager.encrypted_file import CHUNK, MAGIC, EncryptionError, Reader, Writer, is_encrypted
from shared import sealing
from shared.sealing import TAG_BYTES, Keyring

RING = Keyring.parse(f"k1:{sealing.generate_key()}")
SEALED = CHUNK + TAG_BYTES


def encrypted(content: bytes, ring: Keyring = RING, piece: int = 300_000) -> bytes:
    file = io.BytesIO()
    writer = Writer(file, ring)
    for start in range(0, len(content), piece):
        writer.write(content[start : start + piece])
    writer.close()
    return file.getvalue()


def decrypted(sealed: bytes, ring: Keyring = RING) -> bytes:
    return io.BufferedReader(Reader(io.BytesIO(sealed), ring)).read()


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5])
def test_what_was_written_comes_back(size: int) -> None:
    content = os.urandom(size)

    assert decrypted(encrypted(content)) == content


def test_nothing_of_it_can_be_read_without_the_key() -> None:
    sealed = encrypted(b"the words " * 1000)

    assert b"the words" not in sealed and sealed.startswith(MAGIC)
    assert sealed != encrypted(b"the words " * 1000)


@pytest.mark.parametrize("position", [0, 5, CHUNK - 3, CHUNK, 2 * CHUNK + 1])
def test_it_can_be_read_from_anywhere(position: int) -> None:
    content = os.urandom(3 * CHUNK)
    reader = io.BufferedReader(Reader(io.BytesIO(encrypted(content)), RING))

    reader.seek(position)

    assert reader.read(10) == content[position : position + 10] and reader.seek(0, io.SEEK_END) == 3 * CHUNK
    assert reader.read(1) == b""


def header_of(sealed: bytes) -> int:
    return sealed.index(b"\n", len(MAGIC)) + 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s, h: s[:-1],
        lambda s, h: s[: h + SEALED],
        lambda s, h: s[:h],
        lambda s, h: s + b"x",
        lambda s, h: s[: h + 7] + bytes([s[h + 7] ^ 1]) + s[h + 8 :],
        lambda s, h: s[:h] + s[h + SEALED : h + 2 * SEALED] + s[h : h + SEALED] + s[h + 2 * SEALED :],
        lambda s, h: s[:h] + s[h + SEALED :],
        lambda s, h: s[: h - 4] + b"0" + s[h - 3 :] if s[h - 4 : h - 3] != b"0" else s[: h - 4] + b"1" + s[h - 3 :],
        lambda s, h: s[: len(MAGIC)] + b"nonsense\n" + s[h:],
    ],
    ids=["a byte less", "a chunk less", "no chunk", "a byte more", "a bit", "swapped", "left out", "salt", "header"],
)
def test_whatever_was_done_to_it_is_noticed(spoil: object) -> None:
    sealed = encrypted(os.urandom(2 * CHUNK + 9))

    with pytest.raises(EncryptionError):
        decrypted(spoil(sealed, header_of(sealed)))


def test_a_missing_key_is_named() -> None:
    with pytest.raises(EncryptionError, match="'k1'"):
        decrypted(encrypted(b"x"), Keyring.parse(f"k2:{sealing.generate_key()}"))


def test_another_key_of_the_same_id_does_not_open_it() -> None:
    with pytest.raises(EncryptionError, match="does not open"):
        decrypted(encrypted(b"x"), Keyring.parse(f"k1:{sealing.generate_key()}"))


@pytest.mark.parametrize(("content", "expected"), [(b"", False), (b"PK\3\4", False), (MAGIC + b"{}", True)])
def test_it_is_known_by_its_beginning(content: bytes, expected: bool) -> None:
    file = io.BytesIO(content)

    assert (is_encrypted(file), file.tell()) == (expected, 0)
