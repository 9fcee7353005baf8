"""Texts that people give things: names, labels, patterns. Anything that can be shown and stored is taken."""

import unicodedata

from manager.errors import Invalid
from manager.tables import NAME_LENGTH

# Characters that Unicode has among letters, marks and symbols, and that show nothing: fillers, a blank, variations.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {chr(0xFE00 + n) for n in range(16)}


def check_name(text: str, field: str) -> str:
    """Return a name without surrounding space. Raises Invalid if it is empty, too long, not printable or invisible."""
    name = text.strip()
    if not 1 <= len(name) <= NAME_LENGTH:
        raise Invalid(field, f"Must have 1 to {NAME_LENGTH} characters.")
    if all(map(_is_invisible, name)):
        raise Invalid(field, "Must have a character that can be seen.")
    return check_text(name, field)


def check_label(text: str) -> str:
    """Return a label, which may be empty. Raises Invalid if it is too long or not printable text."""
    if len(text) > NAME_LENGTH:
        raise Invalid("label", f"Must have at most {NAME_LENGTH} characters.")
    return check_text(text, "label")


def check_text(text: str, field: str) -> str:
    """Return a text. Raises Invalid for control characters and lone surrogates, which databases do not take."""
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise Invalid(field, "Must not contain control characters.")
    return text


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in ("Cf", "Zl", "Zp", "Zs") or character in _BLANK
