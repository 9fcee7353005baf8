"""Undoes content codings of a streamed body, chunk by chunk, for reading only: what is passed on stays as it came."""

import zlib
from collections.abc import Callable

import brotli
import zstandard

Decode = Callable[[bytes], bytes]


def decoder(content_encoding: str) -> Decode | None:
    """Return a function from coded chunks to plain ones; None for a coding that is not known or stacked."""
    coding = content_encoding.strip().lower()
    if coding in ("", "identity"):
        return bytes
    if coding in ("gzip", "x-gzip"):
        return zlib.decompressobj(wbits=31).decompress
    if coding == "deflate":
        return zlib.decompressobj().decompress
    if coding == "br":
        return brotli.Decompressor().process  # type: ignore[no-any-return]
    if coding == "zstd":
        return zstandard.ZstdDecompressor().decompressobj().decompress
    return None


# What a broken coded body raises while it is read.
DECODING_ERRORS = (zlib.error, brotli.error, zstandard.ZstdError)
