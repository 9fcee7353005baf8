"""The ways in which a text may be read: what stands there, and what is meant where something in it is escaped.

A filter that looks for `@` is not to be evaded by `\\u0040` in JSON, nor by `%40` in a URL or a form. Strings in JSON
may be JSON themselves, as the arguments of tools are, and have strings in turn.
"""

from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

# As deep as what is shown is read, see addons/json_hiding.py.
_DEEPEST = 4
# RFC 8259 section 7, without \uXXXX.
_ESCAPES = (
    *((b'\\"', b'"'), (b"\\/", b"/"), (b"\\n", b"\n"), (b"\\r", b"\r")),
    *((b"\\t", b"\t"), (b"\\b", b"\b"), (b"\\f", b"\f")),
)
# Stands for a backslash that has been read. JSON has no control characters as they are.
_BACKSLASH = b"\x00"


def of_url(url: str) -> tuple[bytes, ...]:
    """Return a URL as it stands, and with its %XX decoded.

    >>> of_url("https://api.example/v1/%63hat")
    (b'https://api.example/v1/%63hat', b'https://api.example/v1/chat')
    """
    plain = url.encode("utf-8", "surrogateescape")
    return (plain, unquote_to_bytes(plain)) if b"%" in plain else (plain,)


def of_body(body: bytes, content_type: str) -> tuple[bytes, ...]:
    """Return a body as it stands, and with the escapes of JSON, or of a form of this content type, undone.

    >>> of_body(rb'{"arguments":"{\\"a\\":\\"\\\\u0040\\"}"}', "application/json")[1:]
    (b'{"arguments":"{"a":"\\\\u0040"}"}', b'{"arguments":"{"a":"@"}"}')
    """
    if content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
        plain = unquote_to_bytes(body.replace(b"+", b" "))
        return body, plain, *_inner(plain)
    return body, *_inner(body)


def _inner(body: bytes) -> Iterator[bytes]:
    """Give what a body says with one more level of escapes undone each time, as long as there are any."""
    if b"\\" not in body or not _is_text(body):
        return
    for _ in range(_DEEPEST):
        outer, body = body, unescaped(body)
        if body == outer:
            return
        yield body
        if b"\\" not in body:
            return


def unescaped(body: bytes) -> bytes:
    r"""Return a text in UTF-8 with JSON's escapes undone, wherever they stand; half a surrogate pair becomes U+FFFD.

    >>> unescaped(rb'{"a":"x\u0040y\n\\u0041"}')
    b'{"a":"x@y\n\\u0041"}'
    """
    body = body.replace(b"\\\\", _BACKSLASH)
    for escape, meant in _ESCAPES:
        body = body.replace(escape, meant)
    if b"\\u" in body:
        # Characters beyond Latin-1 are written as \uXXXX, too, so that all of them are read back together.
        text = body.decode().encode("raw_unicode_escape").decode("raw_unicode_escape", "replace")
        body = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
    return body.replace(_BACKSLASH, b"\\")


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
