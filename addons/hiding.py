"""What a text may show: everything but keys, tokens and what its project wants hidden. One rule for all that shows.

There are two ways to hide. Views get a word for what was there, such as `[email]`, or the mask of a key. What people
edit gets numbered words, such as `[email 2]`, by which the original comes back afterwards; see `hide` and `reveal`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from addons.findings import Put, covered, unescaped
from addons.json_hiding import is_json_like, leaf_without_hidden, put_back, without_hidden
from addons.secret_names import is_secret_name
from shared import tokens
from shared.inspection import Inspection

_NUMBERED = re.compile(r"\[(?:key|email|card|phone|iban|hidden|value) (\d{1,9})\]")


def _word(kind: str, original: str, is_raw: bool = False) -> str:
    """Return what views show: the mask of a key, for all else its kind."""
    if kind == "secret":
        return "****"
    return tokens.mask(original) if kind == "key" else f"[{kind}]"


class Numbered:
    """For what people edit: the same word for the same original, and none that stands in the text already."""

    def __init__(self, text: str) -> None:
        plain = unescaped(text)
        self._last = max((int(found[1]) for found in _NUMBERED.finditer(plain)), default=0)
        self._words: dict[tuple[str, str], str] = {}

    def put(self, kind: str, original: str, is_raw: bool = False) -> str:
        """Return a numbered word."""
        kind = "value" if is_raw else "key" if kind == "secret" else kind
        word = self._words.get((kind, original))
        if word is None:
            self._last += 1
            word = self._words[kind, original] = f"[{kind} {self._last}]"
        return word

    @property
    def originals(self) -> dict[str, str]:
        """What stood where the words are."""
        return {word: original for (_, original), word in self._words.items()}


@dataclass(frozen=True, slots=True)
class Hiding:
    """A text that can be shown and edited; `originals` says by their words what stood there."""

    text: str
    originals: dict[str, str]


def shown(text: str, inspection: Inspection) -> str:
    """Return what may be shown of a text, such as a name, or a string in JSON. Raises UnreadablePattern."""
    return leaf_without_hidden(text, inspection, _word)


def shown_document(text: str, inspection: Inspection) -> str:
    """Return what may be shown of a whole body, or the start of one. JSON stays JSON. Raises UnreadablePattern."""
    return _veiled(text, inspection, _word)


def hide(text: str, inspection: Inspection) -> Hiding:
    """Return a text without what is to be hidden, and how to put that back. Raises UnreadablePattern."""
    numbered = Numbered(text)
    return Hiding(_veiled(text, inspection, numbered.put), numbered.originals)


def reveal(text: str, originals: Mapping[str, str]) -> str:
    """Put back what was hidden into a text that may have been edited; words that are not known stay as they are."""
    if not originals:
        return text
    words = re.compile("|".join(re.escape(word) for word in originals))
    if is_json_like(text):
        return put_back(text, words, originals)
    return words.sub(lambda found: originals[found[0]], text)


def shown_path(path: str, inspection: Inspection) -> str:
    """Return what may be shown of a path; what is written in percents is read before.

    >>> shown_path("/v1/users/bob%40example.com", Inspection(hidden=(Hidden.EMAILS,)))
    '/v1/users/[email]'
    """
    if "%" not in path:
        return shown(path, inspection)
    parts = path.split("/")
    return "/".join(_recoded(part, inspection, unquote, lambda plain: quote(plain, safe="[]*")) for part in parts)


def shown_form(form: str, inspection: Inspection) -> str:
    """Return what may be shown of a query or of a form (application/x-www-form-urlencoded)."""
    return "&".join(_pair(pair, inspection) for pair in form.split("&"))


def _pair(pair: str, inspection: Inspection) -> str:
    name, *values = pair.split("=")
    told = [_form_part(name, inspection)]
    if values and is_secret_name(unquote_plus(name)) and any(values):
        told += ["****"]
    else:
        told += [_form_part(value, inspection) for value in values]
    return "=".join(told)


def _form_part(part: str, inspection: Inspection) -> str:
    return _recoded(part, inspection, unquote_plus, lambda plain: quote_plus(plain, safe="[]*"))


def _recoded(part: str, inspection: Inspection, read: Callable[[str], str], write: Callable[[str], str]) -> str:
    plain = read(part)
    veiled = shown(plain, inspection)
    return part if veiled == plain else write(veiled)


def _veiled(text: str, inspection: Inspection, put: Put) -> str:
    return without_hidden(text, inspection, put) if is_json_like(text) else covered(text, inspection, put)
