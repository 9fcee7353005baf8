"""What may be seen of a project's requests: which choices are taken, and how they are shown."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import re2

from manager import texts
from manager.errors import Invalid
from shared.inspection import MOST_BODY_BYTES, Capture, Hidden, Inspection

MOST_ENTRIES = 50
PATH_LENGTH = 200
PATTERN_LENGTH = 500
# Names between dots, each with as many places in lists behind it as there are: `messages[*].content`, `input[0]`; `**`
# stands for any depth.
_STEP = r"(\*\*|[A-Za-z0-9_-]+(\[([0-9]{1,6}|\*)\])*)"
PATH_PATTERN = rf"^{_STEP}(\.{_STEP})*$"
_PATH = re.compile(rf"{_STEP}(\.{_STEP})*")
# What a pattern may need while it is compiled and while it is looked for, in bytes.
_MOST_MEMORY = 1 << 20
# Of instructions in a compiled pattern: how long each byte of a body takes grows with them.
_MOST_STEPS = 1000


def check(wanted: Mapping[str, Any]) -> Inspection:
    """Return a choice of the fields of shared.inspection.Inspection; what is left out is as usual. Raises Invalid."""
    usual = Inspection()
    return Inspection(
        capture=Capture(wanted.get("capture", usual.capture)),
        share=_share(wanted.get("share", usual.share)),
        max_body_bytes=_size(wanted.get("max_body_bytes", usual.max_body_bytes)),
        hidden=tuple(kind for kind in Hidden if kind in wanted.get("hidden", ())),
        json_paths=tuple(_path(path) for path in _entries(wanted, "json_paths")),
        patterns=tuple(_pattern(pattern) for pattern in _entries(wanted, "patterns")),
    )


def shown(inspection: Inspection) -> dict[str, Any]:
    """Return a choice as it is asked for."""
    return {
        "capture": inspection.capture.value,
        "share": inspection.share,
        "max_body_bytes": inspection.max_body_bytes,
        "hidden": [kind.value for kind in inspection.hidden],
        "json_paths": list(inspection.json_paths),
        "patterns": list(inspection.patterns),
    }


def _share(share: float) -> float:
    if not math.isfinite(share) or not 0 <= share <= 1:
        raise _fault("share", "must be a number from 0 to 1.")
    return float(share)


def _size(size: int) -> int:
    if not 0 <= size <= MOST_BODY_BYTES:
        raise _fault("max_body_bytes", f"must be a whole number from 0 to {MOST_BODY_BYTES}.")
    return size


def _entries(wanted: Mapping[str, Any], part: str) -> Sequence[str]:
    entries: Sequence[str] = wanted.get(part, ())
    if len(entries) > MOST_ENTRIES:
        raise _fault(part, f"there must be at most {MOST_ENTRIES} entries.")
    return list(dict.fromkeys(entries))


def _path(path: str) -> str:
    if len(path) > PATH_LENGTH or not _PATH.fullmatch(path):
        raise _fault(
            "json_paths",
            "each entry must be names with dots between them and places in lists such as messages[*].content,"
            f" of at most {PATH_LENGTH} characters.",
        )
    return path


def _pattern(pattern: str) -> str:
    if not 1 <= len(pattern) <= PATTERN_LENGTH or not texts.is_text(pattern):
        raise _fault("patterns", f"each entry must have 1 to {PATTERN_LENGTH} characters, and no control characters.")
    options = re2.Options()
    options.max_mem, options.log_errors = _MOST_MEMORY, False
    try:
        found = re2.compile(pattern, options)
    except re2.error as error:
        raise _fault("patterns", f"{pattern[:50]} is no regular expression of RE2: {_reason(error)}.") from error
    if found.programsize > _MOST_STEPS:
        raise _fault("patterns", f"{pattern[:50]} is too large; make its repetitions shorter.")
    if found.search(""):
        raise _fault("patterns", f"{pattern[:50]} fits where there is nothing; it would hide no text.")
    return pattern


def _reason(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)


def _fault(part: str, reason: str) -> Invalid:
    return Invalid("inspection", f"{part}: {reason}")
