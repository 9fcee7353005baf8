"""Estimates tokens where no provider has counted them (yet): one for each four bytes of text, which is rough."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from addons.dialects.answer import BYTES_PER_TOKEN

# An image or a file inside a body; what providers make of one depends on its size, model and detail.
ATTACHMENT_TOKENS = 1000
# The fields of a body that `asked_completion` reads.
COMPLETION_FIELDS = ("max_completion_tokens", "max_output_tokens", "max_tokens", "n", "best_of")

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


def asked_completion(fields: Mapping[str, Any]) -> int | None:
    """Return how many tokens a request lets its answer have in all, by its body's fields; None if it sets no limit.

    Where several limits are set the largest counts, and each of `n` answers (or of `best_of` tries) has it anew.
    """
    limits = [_whole(fields.get(name)) for name in ("max_completion_tokens", "max_output_tokens", "max_tokens")]
    most = max((limit for limit in limits if limit), default=None)
    if most is None:
        return None
    return most * max(_whole(fields.get("n")) or 1, _whole(fields.get("best_of")) or 1)


def _whole(value: Any) -> int | None:
    """Return a positive whole number, None for anything else: the provider will refuse it."""
    return value if type(value) is int and 0 < value <= 1 << 40 else None
