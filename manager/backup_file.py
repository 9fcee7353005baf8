"""The file of a backup: a zip of a compressed file of JSON lines for each table, and a manifest that vouches for them.

Each line is a row in the portable form (see manager/portable.py). The manifest is sealed with the keyring: a backup
that was changed, or made by somebody else, is not taken. All of it may be encrypted.
"""

import contextlib
import hashlib
import hmac
import io
import struct
import zipfile
from collections.abc import Buffer, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import batched
from pathlib import Path
from typing import IO, BinaryIO, cast

import msgspec
import orjson
import zstandard

from manager import encrypted_file
from manager.encrypted_file import EncryptionError
from manager.portable import BATCH, Row, encode
from shared.sealing import Keyring, SealingError

FORMAT = 1
_MANIFEST, _SEAL, _PLACE = "manifest.json", "manifest.seal", "backups:manifest"
_LONGEST_MANIFEST = 1 << 20
_PIECE = 1 << 16
# What the readers of zips, zstandard and JSON say to bytes that make no sense. A zip may claim to be encrypted, or of a
# later version (RuntimeError, NotImplementedError).
_DAMAGED: tuple[type[Exception], ...] = (zipfile.BadZipFile, zstandard.ZstdError, struct.error, msgspec.MsgspecError)
_DAMAGED += (LookupError, EOFError, ValueError, TypeError, OverflowError, RuntimeError)


class BackupError(Exception):
    """A backup cannot be made, or is not one that may be restored here; says why."""


class Part(msgspec.Struct, frozen=True):
    """The file of one table: its name, columns in the order of each line, number of rows, and SHA-256 as it lies."""

    table: str
    file: str
    columns: list[str]
    rows: int
    sha256: str


class ChainHead(msgspec.Struct, frozen=True):
    """The end of the audit's chain."""

    position: int
    mac: str


class Manifest(msgspec.Struct, frozen=True):
    """What a backup is: of which release and schema, of when, with what in it, and which keys it takes to use it.

    `key_ids` counts the values that each key seals; `pepper` tells one TOKEN_PEPPER from another, and no more.
    """

    product: str
    schema: str
    created_at: datetime
    database: str
    key_ids: dict[str, int]
    pepper: str
    audit_chain: ChainHead | None
    parts: list[Part]
    format: int = FORMAT


def pepper_mark(pepper: bytes) -> str:
    """Return what tells one pepper from another."""
    return hmac.digest(pepper, b"llm-proxy backup", "sha256").hex()[:32]


class Writer:
    """Writes the parts of a backup, then its manifest."""

    def __init__(self, file: BinaryIO, keyring: Keyring, is_encrypted: bool) -> None:
        self._keyring = keyring
        self._below = encrypted_file.Writer(file, keyring) if is_encrypted else None
        self._zip = zipfile.ZipFile(cast(BinaryIO, self._below or file), "w", zipfile.ZIP_STORED)

    def add(self, table: str, columns: Sequence[str], batches: Iterable[Sequence[Row]]) -> Part:
        """Write a table's rows."""
        name, rows = f"{table}.jsonl.zst", 0
        with self._zip.open(_entry(name), "w", force_zip64=True) as entry:
            hashing = _Hashing(cast(BinaryIO, entry))
            with zstandard.ZstdCompressor().stream_writer(cast(BinaryIO, hashing), closefd=False) as lines:
                for batch in batches:
                    lines.write(b"".join(encode(row) + b"\n" for row in batch))
                    rows += len(batch)
        return Part(table, name, list(columns), rows, hashing.hexdigest())

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, sealed, and end the file."""
        written = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        self._zip.writestr(_entry(_MANIFEST), written)
        self._zip.writestr(_entry(_SEAL), self._keyring.seal(hashlib.sha256(written).hexdigest(), _PLACE))
        self._zip.close()
        if self._below:
            self._below.close()

    def abandon(self) -> None:
        """End a file that is not going to be whole, whatever is wrong with it."""
        for layer in (self._zip, self._below):
            with contextlib.suppress(OSError, ValueError):
                if layer:
                    layer.close()


class Reader:
    """An open backup whose manifest is vouched for; whatever is wrong with the file is a BackupError."""

    def __init__(self, file: BinaryIO, keyring: Keyring, name: str) -> None:
        self._name = name
        with self._reading():
            self.is_encrypted = encrypted_file.is_encrypted(file)
            below: IO[bytes] = io.BufferedReader(encrypted_file.Reader(file, keyring)) if self.is_encrypted else file
            self._zip = zipfile.ZipFile(below)
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in self._zip.infolist()):
                raise ValueError("it is packed in another way")
            self.manifest = self._read_manifest(keyring)

    def check(self, part: Part) -> None:
        """Raise BackupError unless a part's file is the one that was written."""
        with self._reading(), self._zip.open(part.file) as entry:
            _Hashed(entry).demand(part)

    def rows(self, part: Part, batch: int = BATCH) -> Iterator[list[Row]]:
        """Return a part's rows in batches. Raises BackupError if they are not those that were written."""
        count = 0
        # What whoever takes the rows does with them is not done in here.
        with self._reading(), self._zip.open(part.file) as entry:
            hashed = _Hashed(entry)
            with zstandard.ZstdDecompressor().stream_reader(cast(BinaryIO, hashed)) as stream:
                lines = io.BufferedReader(cast(io.RawIOBase, stream), _PIECE)
                for some in batched(lines, batch):
                    count += len(some)
                    yield [tuple(orjson.loads(line)) for line in some]
            hashed.demand(part)
        if count != part.rows:
            raise BackupError(f"{part.file} holds {count} rows in the place of {part.rows}")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except EncryptionError as error:
            raise BackupError(f"{self._name} cannot be read: {error}") from None
        except _DAMAGED as error:
            raise BackupError(f"{self._name} is damaged, or no backup: {error}") from None

    def _read_manifest(self, keyring: Keyring) -> Manifest:
        written = self._small(_MANIFEST)
        try:
            vouched = keyring.open(self._small(_SEAL).decode(), _PLACE)
        except SealingError as error:
            raise BackupError(f"it was not made with these ENCRYPTION_KEYS: {error}") from None
        if not hmac.compare_digest(vouched, hashlib.sha256(written).hexdigest()):
            raise BackupError("its manifest has been changed")
        if (found := msgspec.json.decode(written).get("format")) != FORMAT:
            raise BackupError(f"its format is {found}; this release reads {FORMAT}")
        return msgspec.json.decode(written, type=Manifest)

    def _small(self, name: str) -> bytes:
        with self._zip.open(name) as entry:
            return entry.read(_LONGEST_MANIFEST)


@contextmanager
def opened(path: Path, keyring: Keyring) -> Iterator[Reader]:
    """Open a backup. Raises BackupError, also while it is read; OSError."""
    with path.open("rb") as file:
        yield Reader(file, keyring, path.name)


class _Hashed:
    """Reads a file, and hashes what is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def read(self, size: int) -> bytes:
        """Return up to so many bytes."""
        piece = self._file.read(size)
        self._hash.update(piece)
        return piece

    def demand(self, part: Part) -> None:
        """Read on to the end. Raises BackupError unless all of it is what was written."""
        while self.read(_PIECE):
            pass
        if self._hash.hexdigest() != part.sha256:
            raise BackupError(f"{part.file} is damaged: its checksum is another one")


class _Hashing(io.RawIOBase):
    """Passes on what is written, and hashes it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        self._hash.update(data)
        return self._file.write(data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


def _entry(name: str) -> zipfile.ZipInfo:
    # Without the moment: the manifest has it, and zip knows no zone.
    made = zipfile.ZipInfo(name)
    made.external_attr = 0o600 << 16
    return made
