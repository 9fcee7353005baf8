"""Files that only the keyring opens: AES-256-GCM in chunks, written and read without holding them in memory.

A file begins with a magic line and a line of JSON: the id of the key and a random salt. From both of them comes the
file's own key (HKDF-SHA-256), so that no chunk of two files shares key and nonce. Each chunk of a mebibyte is sealed
with its number; the last one is marked as such, so that no chunk can be left out, moved, or cut off at the end.
"""

import io
import json
import secrets
from collections.abc import Buffer
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.sealing import KEY_BYTES, TAG_BYTES, Keyring

MAGIC = b"llm-proxy encrypted 1\n"
CHUNK = 1 << 20
_SALT_BYTES = 32
_NUMBER_BYTES = 11
_LONGEST_HEADER = 512


class EncryptionError(Exception):
    """A file was changed or cut short, or its key is not in the keyring."""


def is_encrypted(file: BinaryIO) -> bool:
    """Tell whether a file is one of these, and go to its beginning."""
    file.seek(0)
    begins = file.read(len(MAGIC)) == MAGIC
    file.seek(0)
    return begins


class Writer(io.RawIOBase):
    """Encrypts what is written to it; `close` ends the file, but does not close what lies below."""

    def __init__(self, file: BinaryIO, keyring: Keyring) -> None:
        self._file = file
        header = MAGIC + json.dumps({"key": keyring.primary, "salt": secrets.token_hex(_SALT_BYTES)}).encode() + b"\n"
        self._cipher = _cipher(header, keyring.keys[keyring.primary])
        self._pending = bytearray()
        self._number = 0
        file.write(header)

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: Buffer) -> int:
        """Take bytes."""
        piece = memoryview(data)
        self._pending += piece
        while len(self._pending) > CHUNK:  # The last chunk may be full, so one is kept back.
            self._seal(bytes(self._pending[:CHUNK]), is_last=False)
            del self._pending[:CHUNK]
        return piece.nbytes

    def close(self) -> None:
        """Write the last chunk."""
        if self.closed:
            return
        try:
            self._seal(bytes(self._pending), is_last=True)
        finally:
            super().close()

    def _seal(self, chunk: bytes, is_last: bool) -> None:
        self._file.write(self._cipher.encrypt(_nonce(self._number, is_last), chunk, None))
        self._number += 1


class Reader(io.RawIOBase):
    """Reads such a file, from anywhere in it. Raises EncryptionError, also on reading."""

    def __init__(self, file: BinaryIO, keyring: Keyring) -> None:
        self._file = file
        key_id, header = _header(file)
        if key_id not in keyring.keys:
            raise EncryptionError(f"it is encrypted with key id {key_id!r}, which ENCRYPTION_KEYS does not hold")
        self._cipher = _cipher(header, keyring.keys[key_id])
        self._start = len(header)
        body = file.seek(0, io.SEEK_END) - self._start
        self._chunks = -(-body // (CHUNK + TAG_BYTES))
        self._size = body - self._chunks * TAG_BYTES
        if self._chunks == 0 or self._size < 0:
            raise EncryptionError("it is cut short")
        self._position = 0
        self._known = (-1, b"")

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Return where the next byte is read."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go somewhere."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Buffer) -> int:
        """Read up to the end of a chunk."""
        into = memoryview(buffer).cast("B")
        number, offset = divmod(self._position, CHUNK)
        if self._position >= self._size:
            return 0
        piece = self._chunk(number)[offset : offset + len(into)]
        into[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _chunk(self, number: int) -> bytes:
        if self._known[0] != number:
            self._file.seek(self._start + number * (CHUNK + TAG_BYTES))
            sealed = self._file.read(CHUNK + TAG_BYTES)
            try:
                nonce = _nonce(number, number == self._chunks - 1)
                self._known = (number, self._cipher.decrypt(nonce, sealed, None))
            except InvalidTag:
                raise EncryptionError("it does not open with its key: changed, or cut short") from None
        return self._known[1]


def _header(file: BinaryIO) -> tuple[str, bytes]:
    file.seek(len(MAGIC))
    line = file.readline(_LONGEST_HEADER)
    try:
        return str(json.loads(line)["key"]), MAGIC + line
    except (ValueError, KeyError, TypeError):
        raise EncryptionError("its header is damaged") from None


def _cipher(header: bytes, key: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), KEY_BYTES, salt=None, info=header).derive(key))


def _nonce(number: int, is_last: bool) -> bytes:
    return number.to_bytes(_NUMBER_BYTES, "big") + bytes([is_last])
