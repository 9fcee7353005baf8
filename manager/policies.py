"""Policies of projects and tokens: which limits on models and parameters are taken."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from manager import texts
from manager.errors import Invalid
from shared.models import Policy

MOST_ENTRIES = 100
GLOB_LENGTH = 200
PARAMETER_LENGTH = 100


def check(wanted: Mapping[str, Any]) -> Policy:
    """Return a policy of the fields of shared.models.Policy; one that is left out limits nothing. Raises Invalid."""
    return Policy(
        allowed_models=_texts(wanted, "allowed_models", GLOB_LENGTH),
        denied_models=_texts(wanted, "denied_models", GLOB_LENGTH),
        denied_parameters=_texts(wanted, "denied_parameters", PARAMETER_LENGTH),
        max_values=_caps(wanted.get("max_values", {})),
    )


def _texts(wanted: Mapping[str, Any], part: str, length: int) -> tuple[str, ...]:
    entries: Sequence[str] = wanted.get(part, ())
    _check_number(entries, part)
    return tuple(_text(entry, part, length) for entry in entries)


def _caps(caps: Mapping[str, float]) -> dict[str, float]:
    _check_number(caps, "max_values")
    for name, cap in caps.items():
        _text(name, "max_values", PARAMETER_LENGTH)
        if not math.isfinite(cap) or cap < 0:
            raise _fault("max_values", "each value must be a finite number from 0 on.")
    return {name: float(cap) for name, cap in caps.items()}


def _text(text: str, part: str, length: int) -> str:
    if not 1 <= len(text) <= length:
        raise _fault(part, f"each entry must have 1 to {length} characters.")
    # What is compared with these texts has no space around it, so an entry with some would never fit.
    if text != text.strip() or not texts.is_text(text):
        raise _fault(part, "each entry must be without control characters, and without space around it.")
    return text


def _check_number(entries: Sequence[str] | Mapping[str, float], part: str) -> None:
    if len(entries) > MOST_ENTRIES:
        raise _fault(part, f"there must be at most {MOST_ENTRIES} entries.")


def _fault(part: str, reason: str) -> Invalid:
    return Invalid("policy", f"{part}: {reason}")
