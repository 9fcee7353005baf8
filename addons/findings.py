"""Where in a text something stands that is to be hidden: keys and tokens always, personal data as a project wants it.

Every finder takes time in proportion to the text: patterns that people write are those of RE2, and ours begin only
where a word does, so that no run of characters is looked at over and over.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, Protocol

import re2

from shared import logs, tokens
from shared.inspection import Hidden, Inspection


class Found(NamedTuple):
    """A part of a text, and what it is: `key`, `email`, `card`, `phone`, `iban`, or `hidden` for a pattern."""

    start: int
    stop: int
    kind: str


@dataclass(frozen=True, slots=True)
class Wanted(Inspection):
    """A project's choice for one request, whose own `secrets` are hidden as those of this process are."""

    secrets: tuple[str, ...] = field(default=(), repr=False)


type Finder = Callable[[str], Iterable[Found]]


class Put(Protocol):
    """Gives the word that stands in the place of what is hidden. `is_raw`: the original is JSON, and no string."""

    def __call__(self, kind: str, original: str, is_raw: bool = False) -> str:
        """Return such a word."""


# A character as JSON may write it, in strings within strings, too.
_ESCAPED = re.compile(r"\\+u([0-9a-fA-F]{4})")

# In prose `basic` and `bearer` are words like others; what follows is a credential if it is not just small letters.
_CREDENTIAL = re.compile(r"(?i:bearer|basic)(?:\s|\\[nrt])+((?=[a-z._~+/-]*[A-Z0-9=])[A-Za-z0-9._~+/=-]{8,})")
_SCHEMES = ("bearer", "basic")
_KEY_HINTS = ("sk-", tokens.OPERATOR_PREFIX)
_EMAIL = re.compile(r"(?<![\w.%+'-])[\w.%+'-]++@[\w-]++(?:\.[\w-]++)++")
# As URLs and HTML write them.
_CODED_EMAIL = re.compile(r"(?<![\w.+'-])[\w.+'-]++(?:%40|&#64;|&#x40;|&commat;)[\w-]++(?:\.[\w-]++)++", re.IGNORECASE)
_CODED_HINTS = ("%40", "&#", "&commat;")
_BETWEEN = r"[ \u00a0\u2010-\u2015-]"
_DIGITS = re.compile(rf"\d(?:{_BETWEEN}{{0,3}}\d)*+")
_GROUP = re.compile(r"\d+")
_PHONE = re.compile(
    r"(?<![\w.-])(?:\+\d(?:[ ().\u00a0/-]{0,2}\d){6,14}|00[1-9](?:[ ()./-]{0,2}\d){7,14}"
    r"|\(\d{2,5}\)[ -]?\d{2,4}(?:[ .-]?\d{2,4}){1,3}|\d{3}[ .-]\d{3}[ .-]\d{4}"
    r"|0\d{1,4}[ /-]\d{2,4}(?:[ -]?\d{2,4}){1,3})(?![\d:])"
)
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}+")
# How long IBANs are in each country (ISO 13616 registry).
_IBAN_LENGTHS = {
    entry[:2]: int(entry[2:])
    for entry in (
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 "
        "ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 "
        "LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 "
        "PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 "
        "YE30"
    ).split()
}


def keys(text: str) -> list[Found]:
    """Find keys, tokens, passwords in addresses, and the secrets of this process."""
    found = [Found(start, stop, "secret") for start, stop in logs.secrets_in(text)]
    for hint in _KEY_HINTS:
        if hint in text:
            found += [Found(*each.span(), "key") for each in _at(hint, logs.KEY_SHAPES, text, text)]
    for hint in logs.OTHER_KEY_HINTS:
        if hint in text:
            found += [Found(*each.span(), "key") for each in _at(hint, logs.OTHER_KEYS, text, text)]
    folded = text.lower()
    if len(folded) != len(text):  # As of a few letters of a few languages.
        found += [Found(*each.span(1), "key") for each in _CREDENTIAL.finditer(text)]
    else:
        for hint in _SCHEMES:
            if hint in folded:
                found += [Found(*each.span(1), "key") for each in _at(hint, _CREDENTIAL, text, folded)]
    if "://" in text:
        found += [Found(each.end(1) + 1, each.end() - 1, "key") for each in logs.URL_PASSWORD.finditer(text)]
    return found


def _at(hint: str, pattern: re.Pattern[str], text: str, hinted: str) -> list[re.Match[str]]:
    """Return what fits a pattern where a hint stands: much quicker than to try it everywhere."""
    every, at = [], hinted.find(hint)
    while at >= 0:
        found = pattern.match(text, at)
        if found is not None:
            every.append(found)
        at = hinted.find(hint, at + 1 if found is None else found.end())
    return every


def emails(text: str) -> Iterator[Found]:
    """Find e-mail addresses."""
    if "@" in text:
        yield from (Found(*found.span(), "email") for found in _EMAIL.finditer(text))
    if any(hint in text for hint in _CODED_HINTS):
        yield from (Found(*found.span(), "email") for found in _CODED_EMAIL.finditer(text))


def cards(text: str) -> Iterator[Found]:
    """Find numbers of payment cards: 13 to 19 digits in groups, with their check digit (ISO/IEC 7812-1)."""
    for run in _DIGITS.finditer(text):
        if run.end() - run.start() >= 13:
            yield from _cards_in(text, [group.span() for group in _GROUP.finditer(text, *run.span())])


def _cards_in(text: str, groups: list[tuple[int, int]]) -> Iterator[Found]:
    at = 0
    while at < len(groups):
        taken = next((n for n in _longest_first(groups, at) if _is_card(text[groups[at][0] : groups[n - 1][1]])), 0)
        if taken:
            yield Found(groups[at][0], groups[taken - 1][1], "card")
        at = taken or at + 1


def _longest_first(groups: list[tuple[int, int]], at: int) -> list[int]:
    """Return where a card that begins with a group could end."""
    ends, count = [], 0
    for number in range(at, len(groups)):
        count += groups[number][1] - groups[number][0]
        if count > 19:
            break
        if count >= 13:
            ends.append(number + 1)
    return ends[::-1]


def _is_card(text: str) -> bool:
    digits = [int(character) for character in text if character.isdecimal()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return 2 <= digits[0] <= 6 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def ibans(text: str) -> Iterator[Found]:
    """Find account numbers with their check digits (ISO 13616), in groups or not."""
    for found in _IBAN.finditer(text):
        length = _IBAN_LENGTHS.get(found[0][:2].upper())
        places = [at for at, character in enumerate(found[0]) if character.isalnum()]
        if length is not None and length <= len(places):
            stop = places[length - 1] + 1
            if _is_iban("".join(filter(str.isalnum, found[0][:stop])).upper()):
                yield Found(found.start(), found.start() + stop, "iban")


def _is_iban(text: str) -> bool:
    return int("".join(str(int(character, 36)) for character in text[4:] + text[:4])) % 97 == 1


def phones(text: str) -> Iterator[Found]:
    """Find phone numbers as people write them; a bare run of digits is none."""
    yield from (Found(*found.span(), "phone") for found in _PHONE.finditer(text))


_FINDERS: dict[Hidden, Finder] = {
    Hidden.EMAILS: emails,
    Hidden.IBANS: ibans,
    Hidden.CARDS: cards,
    Hidden.PHONES: phones,
}


class UnreadablePattern(ValueError):
    """A pattern is none that RE2 takes: nothing can be shown, since nobody knows what was to be hidden."""


@lru_cache(maxsize=256)
def finders(inspection: Inspection) -> tuple[Finder, ...]:
    """Return what finds in a text what a project wants hidden, keys first. Raises UnreadablePattern."""
    own = [_secrets(inspection.secrets)] if isinstance(inspection, Wanted) else []
    chosen = [finder for kind, finder in _FINDERS.items() if kind in inspection.hidden]
    return (keys, *own, *chosen, *(_pattern(pattern) for pattern in inspection.patterns))


def _secrets(secrets: tuple[str, ...]) -> Finder:
    known = logs.Redactor(secrets)
    return lambda text: [Found(start, stop, "secret") for start, stop in known.known_in(text)]


def _pattern(pattern: str) -> Finder:
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        raise UnreadablePattern(pattern) from error

    def find(text: str) -> Iterator[Found]:
        for found in compiled.finditer(text):
            if found.end() > found.start():
                yield Found(found.start(), found.end(), "hidden")

    return find


def find(text: str, inspection: Inspection) -> list[Found]:
    """Return what is to be hidden in a text, in order; what overlaps has become one. Raises UnreadablePattern."""
    return find_with(finders(inspection), text)


def find_with(chosen: tuple[Finder, ...], text: str) -> list[Found]:
    """Do the same, for whoever has the finders."""
    every = list(chosen[0](text))
    for finder in chosen[1:]:
        every += finder(text)
    if not every:
        return every
    every.sort()
    apart: list[Found] = []
    for found in every:
        if apart and found.start < apart[-1].stop:
            last = apart.pop()
            is_within = found.stop <= last.stop
            found = last if is_within else Found(last.start, found.stop, "hidden")
        apart.append(found)
    return apart


def unescaped(text: str) -> str:
    """Return a text with the characters in it that JSON might have hidden."""
    if "\\u" not in text:
        return text
    return _ESCAPED.sub(lambda found: _plain(found[0], chr(int(found[1], 16))), text)


def _plain(escape: str, character: str) -> str:
    is_text = character.isprintable() and character not in '"\\'
    return character if is_text else escape


def covered(text: str, inspection: Inspection, put: Put) -> str:
    """Return a text with other words for what is to be hidden in it. Raises UnreadablePattern."""
    found = find(text, inspection)
    plain = unescaped(text)
    if plain != text and len(in_plain := find(plain, inspection)) > len(found):
        text, found = plain, in_plain
    parts, at = [], 0
    for start, stop, kind in found:
        parts += [text[at:start], put(kind, text[start:stop])]
        at = stop
    return "".join([*parts, text[at:]]) if parts else text
