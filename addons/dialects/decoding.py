"""Undoes content codings of a streamed body, chunk by chunk, for reading only: what is passed on stays as it came.

A few bytes can be the coding of gigabytes, so a chunk that becomes too long is an error like any other: nobody has to
read what a provider sends, and the client gets it all the same.
"""

import zlib
from collections.abc import Callable

import brotli
import zstandard

Decode = Callable[[bytes], bytes]

# What one chunk may become. Chunks are what was read from the network at once, at most 64 KiB.
MAX_PLAIN_BYTES = 8 << 20


class TooLong(ValueError):
    """A chunk becomes longer than anybody wants to read."""


def decoder(content_encoding: str) -> Decode | None:
    """Return a function from coded chunks to plain ones; None for a coding that is not known or stacked.

    The function raises one of DECODING_ERRORS for what it cannot read.
    """
    coding = content_encoding.strip().lower()
    if coding in ("", "identity"):
        return bytes
    if coding in ("gzip", "x-gzip"):
        return _inflating(zlib.decompressobj(wbits=31))
    if coding == "deflate":
        return _inflating(zlib.decompressobj())
    if coding == "br":
        return _brotli()
    if coding == "zstd":
        return _zstd()
    return None


def _inflating(state: "zlib._Decompress") -> Decode:
    def decode(chunk: bytes) -> bytes:
        plain = state.decompress(chunk, MAX_PLAIN_BYTES)
        if state.unconsumed_tail:
            raise TooLong
        return plain

    return decode


def _brotli() -> Decode:
    state = brotli.Decompressor()

    def decode(chunk: bytes) -> bytes:
        plain: bytes = state.process(chunk, output_buffer_limit=MAX_PLAIN_BYTES)
        if not state.can_accept_more_data():
            raise TooLong
        return plain

    return decode


class _Bounded(bytearray):
    def write(self, piece: bytes) -> int:
        """Take a piece of a chunk."""
        if len(self) + len(piece) > MAX_PLAIN_BYTES:
            raise TooLong
        self += piece
        return len(piece)

    def take(self) -> bytes:
        """Give everything that was taken."""
        plain = bytes(self)
        self.clear()
        return plain


def _zstd() -> Decode:
    sink = _Bounded()
    writer = zstandard.ZstdDecompressor().stream_writer(sink, closefd=False)  # type: ignore[arg-type]

    def decode(chunk: bytes) -> bytes:
        writer.write(chunk)
        return sink.take()

    return decode


# What a coded body raises that is broken or too long.
DECODING_ERRORS = (zlib.error, brotli.error, zstandard.ZstdError, TooLong)
