"""Hides in JSON: each string is read as a reader would and written anew if something in it is hidden, all else stays.

It need not be whole: of a body that was cut, what there is reads the same. What stands outside of strings and is no
JSON is looked through as text. Strings that are JSON themselves, as the arguments of tools are, are read likewise.

Paths name members, from the outside in: `user.email`, with `*` for any one name and `**` for any number of them, as in
`**.password`. Arrays are passed through, so `messages.content` and `messages[*].content` are the same.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache

import re2

from addons.findings import Put, covered, find
from shared.inspection import Inspection

# Strings in strings are read so deep; what lies deeper is looked through as text.
_DEEPEST = 3
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{},:]|[^"\[\]{},:]++|"', re.DOTALL)
_BEGIN = re.compile(r'[\s\ufeff]*[{\["]')
_LITERAL = re.compile(r"\s*(?:-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)?\s*")
_CUT_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_SHORT_ESCAPE = re.compile(r'\\+[nrtbf"]?')
# Answers may tell each of their tokens apart; then these say what the text says.
_LOGPROBS = re.compile(r'"(?:top_)?logprobs\\*"\s*:\s*[\[{]')
_ALWAYS = ("logprobs", "top_logprobs")
# Nobody reads what is nested deeper, or has longer names.
_MOST_OPEN = 100
_LONGEST_NAME = 256
# What becomes of a member's value.
_STAYS, _GOES, _GOES_IF_LARGE = "", "goes", "goes if large"


def is_json_like(text: str) -> bool:
    """Tell whether a reader would take a text for JSON, or for the start of some."""
    return _BEGIN.match(text) is not None


def without_hidden(text: str, inspection: Inspection, put: Put) -> str:
    """Return JSON without what is to be hidden. Raises UnreadablePattern."""
    return text if _is_clean(text, inspection) else _Hiding(inspection, put).veil(text)


def leaf_without_hidden(text: str, inspection: Inspection, put: Put) -> str:
    """Return a text as it may stand in JSON, without what is to be hidden; it may be JSON itself, but need not."""
    return _Hiding(inspection, put).veiled(text)


def put_back(text: str, words: re.Pattern[str], originals: Mapping[str, str]) -> str:
    """Return JSON with the originals in the place of their words; one that was no string is none again."""
    parts = []
    for token in _TOKEN.findall(text):
        if token[0] == '"' and words.search(token):
            plain = _decoded(token)
            if plain is not None:
                is_raw = plain.startswith("[value ") and plain in originals
                token = originals[plain] if is_raw else _literal(_put_back_in(plain, words, originals), token)
        parts.append(token)
    return "".join(parts)


def _put_back_in(plain: str, words: re.Pattern[str], originals: Mapping[str, str]) -> str:
    if _is_json(plain):
        return put_back(plain, words, originals)
    return words.sub(lambda found: originals[found[0]], plain)


def _is_clean(text: str, inspection: Inspection) -> bool:
    """Tell quickly that nothing is to be hidden, if that is so."""
    if inspection.json_paths or inspection.patterns or "\\u" in text or _LOGPROBS.search(text):
        return False
    plain = _SHORT_ESCAPE.sub(" ", text.replace("\\/", "/")) if "\\" in text else text
    return not find(plain, inspection)


def _is_json(text: str) -> bool:
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return False
    return True


def _decoded(literal: str) -> str | None:
    """Return what a string says, which may be cut; None if it is none."""
    is_whole = len(literal) > 1 and literal.endswith('"') and _is_closed(literal)
    inner = literal[1:-1] if is_whole else literal[1:]
    if "\\" not in inner:
        return inner
    for candidate in (inner, _CUT_ESCAPE.sub("", inner)):
        try:
            return str(json.loads(f'"{candidate}"', strict=False))
        except ValueError:
            continue
    return None


def _is_closed(literal: str) -> bool:
    """Tell whether the quote at the end is none that is escaped."""
    return (len(literal) - 1 - len(literal[:-1].rstrip("\\"))) % 2 == 0


def _literal(plain: str, like: str) -> str:
    written = json.dumps(plain, ensure_ascii=False)
    return written if len(like) > 1 and like.endswith('"') and _is_closed(like) else written[:-1]


@lru_cache(maxsize=256)
def _fitting(json_paths: tuple[str, ...]) -> Callable[[str], object]:
    """Return what tells whether a path fits one of these; it is written as names that NUL ends."""
    return re2.compile("|".join(_pattern(path) for path in json_paths)).fullmatch  # type: ignore[no-any-return]


def _pattern(path: str) -> str:
    steps = [step.partition("[")[0] for step in path.removeprefix("$").split(".")]
    return "".join(_step(step) for step in steps if step)


def _step(name: str) -> str:
    if name == "**":
        return "(?:[^\0]*\0)*"
    return "[^\0]*\0" if name == "*" else f"{re2.escape(name)}\0"


class _Hiding:
    """Goes through one document. `_names` has the member that each open object is at, None for arrays."""

    def __init__(self, inspection: Inspection, put: Put, above: tuple[str, ...] = (), depth: int = 0) -> None:
        self._inspection = inspection
        self._put = put
        self._above = above
        self._depth = depth
        self._fits = _fitting(inspection.json_paths) if inspection.json_paths else lambda path: None
        self._names: list[str | None] = []
        self._awaits_name = False
        self._goes = _STAYS
        self._skipped: list[str] = []
        self._open = 0
        self._is_odd = False

    def veil(self, text: str) -> str:
        """Return what may be shown."""
        veiled = "".join([self._take(piece) for piece in _TOKEN.findall(text)])
        if self._skipped:
            veiled += self._hidden("".join(self._skipped))
        return covered(veiled, self._inspection, self._put) if self._is_odd else veiled

    def _take(self, piece: str) -> str:
        if self._skipped:
            return self._skip(piece)
        if piece[0] == '"':
            return self._take_string(piece)
        if piece in "{[":
            return self._open_up(piece)
        if piece in "]},:":
            return self._note(piece)
        return self._take_literal(piece)

    def _take_string(self, piece: str) -> str:
        plain = _decoded(piece)
        if plain is None:
            self._is_odd = True
            return piece
        if self._awaits_name and self._names:
            self._names[-1] = plain
        elif self._goes:
            self._goes = _STAYS
            return _literal(self._put("hidden", plain), piece)
        veiled = self.veiled(plain)
        return piece if veiled == plain else _literal(veiled, piece)

    def veiled(self, plain: str) -> str:
        """Return what may be shown of a string."""
        is_nested = self._depth < _DEEPEST and (
            _is_json(plain) or (bool(self._inspection.json_paths) and plain.lstrip()[:1] in ("{", "["))
        )
        if not is_nested:
            return covered(plain, self._inspection, self._put)
        if _is_clean(plain, self._inspection):
            return plain
        return _Hiding(self._inspection, self._put, self._path(), self._depth + 1).veil(plain)

    def _path(self) -> tuple[str, ...]:
        return (*self._above, *[name for name in self._names if name is not None])

    def _open_up(self, piece: str) -> str:
        if self._goes or len(self._names) >= _MOST_OPEN:
            self._goes, self._skipped, self._open = _STAYS, [piece], 1
            return ""
        self._names.append(None)
        self._awaits_name = piece == "{"
        return piece

    def _note(self, piece: str) -> str:
        if piece == ":":
            self._goes = self._fate() if self._awaits_name else _STAYS
            self._awaits_name = False
        elif piece == ",":
            self._goes = _STAYS
            self._awaits_name = bool(self._names) and self._names[-1] is not None
        else:
            self._goes, self._awaits_name = _STAYS, False
            if self._names:
                self._names.pop()
        return piece

    def _fate(self) -> str:
        path = self._path()
        if self._fits("".join(name[:_LONGEST_NAME].replace("\0", "\ufffd") + "\0" for name in path)) is not None:
            return _GOES
        return _GOES_IF_LARGE if path[-1] in _ALWAYS else _STAYS

    def _skip(self, piece: str) -> str:
        self._skipped.append(piece)
        self._open += (piece in "{[") - (piece in "]}")
        if self._open:
            return ""
        skipped, self._skipped = "".join(self._skipped), []
        return self._hidden(skipped)

    def _hidden(self, raw: str) -> str:
        return json.dumps(self._put("hidden", raw, is_raw=True), ensure_ascii=False)

    def _take_literal(self, piece: str) -> str:
        plain = piece.strip()
        if _LITERAL.fullmatch(piece) is None:
            self._is_odd = True
            return piece
        if not plain or plain == "null":
            return piece
        found = find(plain, self._inspection)
        goes, self._goes = self._goes, _STAYS
        if not (found or goes == _GOES):
            return piece
        kind = found[0].kind if found else "hidden"
        word = json.dumps(self._put(kind, plain, is_raw=True), ensure_ascii=False)
        start = len(piece) - len(piece.lstrip())
        return piece[:start] + word + piece[start + len(plain) :]
