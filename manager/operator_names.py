"""Names of operators: the audit tells by them who it was, so none may look like another one, or like one of ours."""

import unicodedata

from manager import audit, texts
from manager.errors import Invalid

# People who come with a token of an issuer act under this prefix; see manager/oidc.py.
PERSON_PREFIX = "oidc:"
OURS = {audit.DATA_PLANE, audit.MANAGEMENT, audit.JOBS, audit.COMMAND, audit.NOBODY}
# Alphabets with letters that look like Latin ones.
_ALIKE = {"CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU"}


def check(text: str) -> str:
    """Return a name in its canonical form (NFKC). Raises Invalid."""
    name = texts.check_name(unicodedata.normalize("NFKC", text), "name")
    if not all(map(_is_shown, name)):
        raise Invalid("name", "Must not contain characters that cannot be seen.")
    alphabets = {unicodedata.name(character, "").partition(" ")[0] for character in name if character.isalpha()}
    if "LATIN" in alphabets and alphabets & _ALIKE:
        raise Invalid("name", "Must not mix letters of alphabets that look alike.")
    bare = _bare(name)
    if bare in map(_bare, OURS) or bare.startswith((_bare(audit.MANAGEMENT), _bare(PERSON_PREFIX))):
        raise Invalid("name", "This name is reserved: others act under it.")
    return name


def is_alike(one: str, other: str) -> bool:
    """Tell whether two checked names differ by nothing but capitals."""
    return one.casefold() == other.casefold()


def _is_shown(character: str) -> bool:
    category = unicodedata.category(character)
    return character == " " or (category not in ("Cf", "Co", "Cn", "Zl", "Zp", "Zs") and texts.is_visible(character))


def _bare(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))
