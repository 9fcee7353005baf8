"""Replies as they go over the wire: status, headers and body pieces, padded, compressed or cut."""

import gzip
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from manager.mock_provider.answers.files import PIECE, Content
from manager.mock_provider.behaviour import Behaviour

type Headers = tuple[tuple[bytes, bytes], ...]

_PADDING = b',"padding":"'
_JSON = (b"content-type", b"application/json")
_BINARY = (b"content-type", b"application/octet-stream")
_EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")
_GZIP = ((b"content-encoding", b"gzip"), (b"vary", b"accept-encoding"))


class Reply(NamedTuple):
    """What to send: of a stream one piece per SSE event; if ``cut``, the connection breaks after them."""

    status: int
    headers: Headers
    pieces: Sequence[bytes]
    stream: bool = False
    cut: bool = False


def json_reply(status: int, body: bytes, headers: Headers = ()) -> Reply:
    """A small JSON document as it is."""
    return Reply(status, (_JSON, (b"content-length", b"%d" % len(body)), *headers), (body,))


def plain_reply(body: bytes, behaviour: Behaviour, *, squeeze: bool, cut: bool) -> Reply:
    """A JSON answer, padded, then compressed if ``squeeze``, then cut after half of its bytes if ``cut``."""
    body = padded(body, behaviour.response_bytes)
    encoded = gzip.compress(body, compresslevel=1, mtime=0) if squeeze else body
    headers = (_JSON, (b"content-length", b"%d" % len(encoded)), *(_GZIP if squeeze else ()))
    kept = encoded[: len(encoded) // 2] if cut else encoded
    return Reply(200, headers, _in_pieces(kept), cut=cut)


def stream_reply(events: Sequence[bytes], *, squeeze: bool, cut: bool) -> Reply:
    """An SSE answer, every event flushed by itself; cut after half of its events if ``cut``."""
    pieces = squeezed(events) if squeeze else events
    kept = pieces[: max(1, len(pieces) // 2)] if cut else pieces
    return Reply(200, (_EVENTS, *(_GZIP if squeeze else ())), kept, stream=True, cut=cut)


def download_reply(content: Content, *, cut: bool) -> Reply:
    """A file of any size, made as it is sent; with its length unless ``chunked``; cut after half if ``cut``."""
    length = () if content.chunked else ((b"content-length", b"%d" % content.size),)
    return Reply(200, (_BINARY, *length), content.half() if cut else content, cut=cut)


def bare_reply(status: int) -> Reply:
    """An answer that may have no body, such as 204 and 304 (RFC 9110, 15.3.5 and 15.4.5)."""
    return Reply(status, (), (b"",))


def without_body(reply: Reply) -> Reply:
    """The reply to HEAD: the headers of the reply to GET, and nothing else (RFC 9110, 9.3.2)."""
    return Reply(reply.status, reply.headers, (b"",))


def padded(body: bytes, size: int | None) -> bytes:
    """A JSON object filled up to ``size`` bytes, by a ``padding`` member or, if tight, by spaces."""
    lacking = (size or 0) - len(body) - len(_PADDING) - 1
    if lacking < 0:
        return body.ljust(size or 0)
    return b"".join((body[:-1], _PADDING, b"x" * lacking, b'"}'))


def _in_pieces(body: bytes) -> Sequence[bytes]:
    """Pieces of 64 KiB, so that a client which leaves in the middle of a long body is noticed."""
    if len(body) <= PIECE:
        return (body,)
    return [body[start : start + PIECE] for start in range(0, len(body), PIECE)]


def squeezed(events: Sequence[bytes]) -> list[bytes]:
    """One gzip stream in as many pieces as there are events, each decodable as soon as it arrives."""
    squeezer = zlib.compressobj(level=1, wbits=zlib.MAX_WBITS | 16)
    pieces = [squeezer.compress(event) + squeezer.flush(zlib.Z_SYNC_FLUSH) for event in events]
    return [*pieces[:-1], pieces[-1] + squeezer.flush()]


def accepts_gzip(accept_encoding: bytes) -> bool:
    """Whether an Accept-Encoding value allows gzip (RFC 9110, 12.5.3: ``q=0`` means not acceptable)."""
    offers = dict(_offer(part) for part in accept_encoding.lower().split(b","))
    return offers.get(b"gzip", offers.get(b"*", False))


def _offer(part: bytes) -> tuple[bytes, bool]:
    coding, _, weight = part.partition(b";")
    return coding.strip(), weight.replace(b" ", b"").rstrip(b".0") != b"q="
