"""The files that a run leaves: what they hold is told by their suffix."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from manager.benchmark import report_csv, report_html
from manager.benchmark.results import Document


class NoPlace(Exception):
    """A file cannot be written; the message says which and why."""


def _json(document: Document) -> str:
    return json.dumps(document.as_dict(), ensure_ascii=False) + "\n"


_KINDS: dict[str, Callable[[Document], str]] = {".json": _json, ".csv": report_csv.text, ".html": report_html.text}


@dataclass(frozen=True)
class Places:
    """Where reports go, and where a run is kept as a baseline."""

    reports: Sequence[Path]
    baseline: Path | None

    def check(self) -> None:
        """Find out before a long run what could not be written after it. Raises NoPlace."""
        for path in self.reports:
            if path.suffix not in _KINDS:
                raise NoPlace(f"Nobody knows what {path} is to be.\nHint: end it with {', '.join(_KINDS)}")
        for path in (*self.reports, *([self.baseline] if self.baseline else [])):
            if path.is_dir() or not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
                raise NoPlace(f"{path} cannot be written: its folder is none of yours, or it is one.")

    def write(self, document: Document) -> None:
        """Write all of them; a run that was ended before its end is no baseline. Raises NoPlace."""
        for path in self.reports:
            _write(path, _KINDS[path.suffix](document))
        if self.baseline is not None and document.is_whole:
            _write(self.baseline, _json(document))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NoPlace(f"{path} cannot be written: {error.strerror}") from None
