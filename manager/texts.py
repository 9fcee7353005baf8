"""Texts that people give things: names, labels, patterns. Anything that can be shown and stored is taken."""

import re
import unicodedata
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Session

from manager.errors import Invalid
from manager.tables import NAME_LENGTH

# Characters that Unicode has among letters, marks and symbols, and that show nothing: fillers, a blank, variations.
_BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufe00-\ufe0f"
# Those that it has among formats and separators.
_FORMATS = (
    "\u0020\u00a0\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680\u180e\u2000-\u200f\u2028-\u202f"
    "\u205f-\u2064\u2066-\u206f\u3000\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
)
_CONTROLS = "\u0000-\u001f\u007f-\u009f"
_SPACES = "\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# What the description of the API says of texts and names; the same rules as below.
TEXT_PATTERN = f"^[^{_CONTROLS}]*$"
NAME_PATTERN = f"^[^{_CONTROLS}]*[^{_CONTROLS}{_FORMATS}{_BLANK}][^{_CONTROLS}]*$"
PLAIN_PATTERN = f"^[^{_CONTROLS}{_SPACES}]([^{_CONTROLS}]*[^{_CONTROLS}{_SPACES}])?$"
_VISIBLE = re.compile(f"[^{_CONTROLS}{_FORMATS}{_BLANK}]")


def check_name(text: str, field: str) -> str:
    """Return a name without surrounding space. Raises Invalid if it is empty, too long, not printable or invisible."""
    if not 1 <= len(text) <= NAME_LENGTH:
        raise Invalid(field, f"Must have 1 to {NAME_LENGTH} characters.")
    check_text(text, field)
    if not _VISIBLE.search(text):
        raise Invalid(field, "Must have a character that can be seen.")
    return text.strip()


def check_label(text: str) -> str:
    """Return a label, which may be empty. Raises Invalid if it is too long or not printable text."""
    if len(text) > NAME_LENGTH:
        raise Invalid("label", f"Must have at most {NAME_LENGTH} characters.")
    return check_text(text, "label")


def check_plain(text: str, field: str, length: int) -> str:
    """Return a text of 1 to `length` characters, without space around it. Raises Invalid."""
    if not 1 <= len(text) <= length or text != text.strip():
        raise Invalid(field, f"Must have 1 to {length} characters, without space around them.")
    return check_text(text, field)


def check_text(text: str, field: str) -> str:
    """Return a text. Raises Invalid for control characters and lone surrogates, which databases do not take."""
    if not is_text(text):
        raise Invalid(field, "Must not contain control characters.")
    return text


def is_text(text: str) -> bool:
    """Tell whether there are neither control characters nor lone surrogates in a text."""
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


def is_body(text: str) -> bool:
    """Tell whether a text of any length and lines can be sent: it has no lone surrogates, and no NUL."""
    return not any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text)


def is_visible(character: str) -> bool:
    """Tell whether a character shows something."""
    return _VISIBLE.search(character) is not None


def matching[Row](
    session: Session,
    query: sa.Select[Row],
    column: "InstrumentedAttribute[Any]",
    part: str | None,
    beginning: str | None,
) -> sa.Select[Row]:
    """Return those rows of a query whose text has a part, and a beginning, unless None: by exact letters.

    LIKE knows no capitals on SQLite and does on PostgreSQL. Raises Invalid for what no database takes.
    """
    place = sa.func.instr if session.get_bind().dialect.name == "sqlite" else sa.func.strpos
    if part is not None:
        query = query.where(place(column, _check_part(part, f"{column.key}_contains")) > 0)
    if beginning is not None:
        text = _check_part(beginning, f"{column.key}_prefix")
        query = query.where(sa.func.substr(column, 1, len(text)) == text)
    return query


def _check_part(text: str, field: str) -> str:
    if len(text) > NAME_LENGTH:
        raise Invalid(field, f"Must have at most {NAME_LENGTH} characters.")
    return check_text(text, field)
