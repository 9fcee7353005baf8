"""Estimates tokens where no provider has counted them (yet): one for each four bytes of text, which is rough."""

import re
from collections.abc import Iterator

from addons.dialects.answer import BYTES_PER_TOKEN

# An image or a file inside a body; what providers make of one depends on its size, model and detail.
ATTACHMENT_TOKENS = 1000

# Beyond so many quotes a body is taken as one text, so that the worst body of 8 MB takes some milliseconds, too.
_MAX_PARTS = 50_000
# Long, and of one word in base64: an attachment.
_ATTACHMENT = re.compile(rb"(?:data:[^,]{0,200},)?(?:[A-Za-z0-9+/_-]|\\/){1024}")
# Shorter spaces between strings are punctuation, longer ones may be lists of numbers, such as tokens.
_LONGEST_GAP = 64


def estimate_prompt(body: bytes) -> int:
    """Return about how many tokens the text in a JSON body has, at least 1.

    Text is what stands in strings, but for the names of members. An array of numbers is taken for one of tokens, and a
    long word in base64 for an attachment. It need not be whole, nor JSON: quotes are all that is looked at.
    """
    size = tokens = 0
    for part, is_text in _parts(body):
        if not is_text:
            tokens += part.count(b",") if len(part) > _LONGEST_GAP else 0
        elif len(part) >= 1024 and _ATTACHMENT.match(part):
            tokens += ATTACHMENT_TOKENS
        else:
            # An escape is one character in two bytes, or in six, of which three remain.
            size += (
                len(part) - part.count(b"\\") + part.count(b"\\\\") - 2 * part.count(b"\\u")
                if b"\\" in part
                else len(part)
            )
    return max(1, tokens - (-size // BYTES_PER_TOKEN))


def _parts(body: bytes) -> Iterator[tuple[bytes, bool]]:
    """Give what stands between quotes, telling text from the rest; names of members are left out."""
    text: list[bytes] = []
    is_inside = False
    for part in body.split(b'"', _MAX_PARTS):
        if is_inside:
            is_inside = _ends_in_escape(part)
            text.append(part[:-1] + b"'" if is_inside else part)  # A quote in the text is no end of it.
        else:
            if text and not part.lstrip()[:1] == b":":
                yield from ((piece, True) for piece in text)
            text = []
            yield part, part.count(b'"') > 0
            is_inside = True
    yield from ((piece, True) for piece in text)


def _ends_in_escape(part: bytes) -> bool:
    return part.endswith(b"\\") and (len(part) - len(part.rstrip(b"\\"))) % 2 == 1
