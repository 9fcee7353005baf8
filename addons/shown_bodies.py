"""What a body may show: as far as a project captures it, without its content coding, and without what is hidden."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from addons.dialects import merging
from addons.dialects.decoding import DECODING_ERRORS, decoder
from addons.findings import UnreadablePattern, finders
from addons.hiding import shown, shown_document, shown_form
from shared.inspection import Inspection

# What is found within so many characters can still be the beginning of something that is to be hidden.
_LONGEST = 64
# So many where patterns say what is hidden: nobody knows how long that is.
_LONGEST_OF_PATTERNS = 1024
_PAUSES = re.compile(r"[\s。，、！？]")
_DECODED_AT_ONCE = 4096
_MOST_PARTS = 200
_NOT_TEXT = ("image/", "audio/", "video/", "font/", "application/octet-stream", "application/zip", "application/pdf")
_UTF_8 = frozenset({"", "utf-8", "utf8", "us-ascii", "ascii"})
_LATIN = frozenset({"iso-8859-1", "latin-1", "latin1", "windows-1252", "cp1252"})
_DECLARED = re.compile(rb"(?i)(?:charset|encoding)\s*=\s*[\"']?\s*([\w-]+)")
_STREAM = "text/event-stream"
_FORM_DATA = "multipart/form-data"


class UnknownCoding(ValueError):
    """Nobody here can undo this content coding."""


@dataclass(frozen=True, slots=True)
class Tapped:
    """What has been seen of a body: its first bytes, as they were sent, and how many there were in all."""

    start: bytes
    size: int
    content_type: str = ""
    content_encoding: str = ""
    is_over: bool = True


@dataclass(frozen=True, slots=True)
class ShownBody:
    """What may be shown. None: nothing, for the reason in `note`."""

    body: bytes | None
    is_cut: bool = False
    note: str = ""


def grows(content_type: str, dialect: str, inspection: Inspection) -> bool:
    """Tell whether a body can be shown before it is over: streams whose events are known, with known things to hide."""
    return kind_of(content_type) == _STREAM and dialect in ("openai", "anthropic") and not inspection.patterns


def kind_of(content_type: str) -> str:
    """Return the media type alone."""
    return content_type.partition(";")[0].strip().lower()


def shown_body(tapped: Tapped, inspection: Inspection) -> ShownBody:
    """Return what may be shown of a body, at most `max_body_bytes` of it."""
    kind = kind_of(tapped.content_type)
    about = f"{tapped.size} bytes of {kind or 'unknown type'}"
    if kind.startswith(_NOT_TEXT):
        return ShownBody(None, note=about)
    try:
        finders(inspection)
        plain, is_cut = _decoded(tapped, inspection.max_body_bytes)
        coding = coding_of(tapped.content_type, kind, plain)
        if coding is None or (b"\0" in plain and kind != _FORM_DATA):
            return ShownBody(None, note=f"{about}, not text")
        veiled = _veiled(plain.decode(coding, errors="replace"), kind, tapped, inspection, is_cut)
    except UnreadablePattern:
        return ShownBody(None, note=f"{about}; what is to be hidden cannot be read")
    except RecursionError:
        return ShownBody(None, note=f"{about}, nested too deep")
    except (UnknownCoding, *DECODING_ERRORS):
        return ShownBody(None, note=f"{about}, whose content coding cannot be undone")
    return ShownBody(veiled.encode(coding, errors="replace"), is_cut)


def _decoded(tapped: Tapped, most: int) -> tuple[bytes, bool]:
    """Return a body without its content coding, and whether there is more of it.

    Raises UnknownCoding, or one of DECODING_ERRORS.
    """
    decode = decoder(tapped.content_encoding)
    if decode is None:
        raise UnknownCoding(tapped.content_encoding)
    is_cut = tapped.size > len(tapped.start)
    if tapped.content_encoding.strip().lower() in ("", "identity"):
        return tapped.start[:most], is_cut or len(tapped.start) > most
    plain = bytearray()
    for at in range(0, len(tapped.start), _DECODED_AT_ONCE):
        plain += decode(tapped.start[at : at + _DECODED_AT_ONCE])
        if len(plain) > most:
            return bytes(plain[:most]), True
    return bytes(plain), is_cut


def coding_of(content_type: str, kind: str, plain: bytes) -> str | None:
    """Return how text is coded; None for codings in which something else than it seems could be written."""
    parameters = [parameter.partition("=") for parameter in content_type.lower().split(";")[1:]]
    named = [value.strip("\"' ") for name, _, value in parameters if name.strip() == "charset"]
    if kind.endswith(("html", "xml", "css")):
        named += [found[1].decode().lower() for found in _DECLARED.finditer(plain[:2048])]
    if all(name in _UTF_8 for name in named):
        return "utf-8"
    return "latin-1" if all(name in _LATIN for name in named) else None


def _veiled(text: str, kind: str, tapped: Tapped, inspection: Inspection, is_cut: bool) -> str:
    if kind == _STREAM:
        return _stream(text, inspection, is_whole=tapped.is_over and not is_cut)
    if kind == _FORM_DATA:
        veiled = _form_data(text, tapped.content_type, inspection)
    elif kind == "application/x-www-form-urlencoded":
        veiled = shown_form(text, inspection)
    else:
        veiled = shown_document(text, inspection)
    return _held_back(veiled, inspection) if is_cut else veiled


def _held_back(text: str, inspection: Inspection) -> str:
    """Return a text without its end, which could be the beginning of something that is to be hidden."""
    stop = len(text) - (_LONGEST_OF_PATTERNS if inspection.patterns else _LONGEST)
    while stop > 0 and not _PAUSES.match(text[stop - 1]):
        stop -= 1
    return text[: max(stop, 0)]


def _stream(text: str, inspection: Inspection, is_whole: bool) -> str:
    events, rest = merging.events_of(text)
    if is_whole and rest.strip():
        events += merging.events_of(rest + "\n\n")[0]
    events = merging.merged(events)
    _look_across([event for event in events if not event.is_changed], lambda each: shown(each, inspection))

    def finish(said: str) -> str:
        veiled = shown(said, inspection)
        return veiled if is_whole else _held_back(veiled, inspection)

    return "".join(_written(event, merging.joined(event, finish), inspection) for event in events)


def _written(event: merging.Event, text: str, inspection: Inspection) -> str:
    event.lines = [shown(line, inspection) for line in event.lines]
    return merging.written(event, shown_document(text, inspection))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a text stands in an event; without `holder` it is all of its data."""

    event: merging.Event
    text: str
    holder: Any = None
    key: Any = None

    def put(self, text: str) -> None:
        """Let another text stand there."""
        if self.holder is None:
            self.event.text = text
        else:
            self.holder[self.key] = text
            self.event.is_changed = True


def _look_across(events: list[merging.Event], veil: Callable[[str], str]) -> None:
    """Where texts in the same place of several events hide something together, put it into the first one, hidden."""
    places: dict[tuple[str, ...], list[_Place]] = {}
    for event in events:
        if event.document is None:
            places.setdefault((), []).append(_Place(event, event.text))
        else:
            for path, holder, key in merging.leaves(event.document):
                places.setdefault(path, []).append(_Place(event, holder[key], holder, key))
    for found in places.values():
        texts = [place.text for place in found]
        whole = veil("".join(texts)) if len(texts) > 1 else ""
        if len(texts) > 1 and whole != "".join(map(veil, texts)):
            found[0].put(whole)
            for place in found[1:]:
                place.put("")


def _form_data(text: str, content_type: str, inspection: Inspection) -> str:
    found = re.search(r"boundary=(?:\"([^\"]+)\"|([^\s;]+))", content_type, re.IGNORECASE)
    mark = "--" + (found[1] or found[2]) if found else ""
    if not found or text.count(mark) > _MOST_PARTS:
        return f"[{len(text)} characters in parts]"
    before, *parts = text.split(mark)
    return mark.join([shown(before, inspection), *(_part(part, inspection) for part in parts)])


def _head_line(line: str, inspection: Inspection) -> str:
    plain = unquote(line)
    veiled = shown(plain, inspection)
    return line if veiled == plain else veiled


def _part(part: str, inspection: Inspection) -> str:
    head, gap, content = part.partition("\r\n\r\n")
    lines = "\r\n".join(_head_line(line, inspection) for line in head.split("\r\n"))
    said = head.lower()
    is_file = "filename" in said or "content-transfer-encoding" in said
    hides = bool(inspection.hidden or inspection.json_paths or inspection.patterns)
    if is_file and (hides or "\ufffd" in content or "\0" in content):
        return f"{lines}{gap}[{len(content)} characters]\r\n"
    return lines + gap + shown_document(content, inspection)
