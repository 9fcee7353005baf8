"""Tables as CSV (RFC 4180) that spreadsheets show and do not carry out."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_text(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a header and a line for each row; what would be a formula gets a quote first."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([harmless(row.get(name)) for name in columns] for row in rows)
    return text.getvalue()


def harmless(value: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula.

    >>> harmless("=1+1"), harmless("1+1"), harmless(-1), harmless(None)
    ("'=1+1", '1+1', -1, '')
    """
    if isinstance(value, str) and value.startswith(_FORMULAS):
        return f"'{value}"
    return "" if value is None else value
