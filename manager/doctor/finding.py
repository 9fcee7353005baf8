"""What the doctor finds."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True)
class Finding:
    """One line about one thing; `fix` says what to do unless it is well."""

    subject: str
    level: Level
    told: str
    fix: str = ""


def well(subject: str, told: str) -> Finding:
    """Nothing to do."""
    return Finding(subject, Level.OK, told)


def warning(subject: str, told: str, fix: str) -> Finding:
    """It works, for now."""
    return Finding(subject, Level.WARNING, told, fix)


def fault(subject: str, told: str, fix: str) -> Finding:
    """It does not work like this."""
    return Finding(subject, Level.FAULT, told, fix)
