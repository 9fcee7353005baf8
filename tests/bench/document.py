"""Puts tables that are made from a JSON file between the markers of docs/performance.md."""

from collections.abc import Mapping
from typing import Any

from tests.bench import inspection, management, plots, report
from tests.bench.provider import ROOT

DOCUMENT = ROOT / "docs" / "performance.md"
_MARK = "<!-- bench: {name} -->"
_END = "<!-- end -->"


class DocumentError(Exception):
    """The document has no place for a table; the message names it."""


def update(text: str, content: Mapping[str, Any], groups: Mapping[str, str]) -> str:
    """Return the document with the tables of this content. Raises DocumentError."""
    for name, table in tables(content, groups).items():
        text = _filled(text, _MARK.format(name=name), table)
    return text


def _filled(text: str, begin: str, table: str) -> str:
    before, found, after = text.partition(begin)
    _, ended, rest = after.partition(_END)
    if not found or not ended:
        raise DocumentError(f"{DOCUMENT.name} has no place from {begin} to {_END}")
    return f"{before}{begin}\n\n{table}\n\n{_END}{rest}"


def tables(content: Mapping[str, Any], groups: Mapping[str, str]) -> dict[str, str]:
    """Return the Markdown of each marked place."""
    if "rolled_up" in content.get("size", {}):
        return {"management": management.as_markdown(content)}
    if "inspector" in content:
        return {"inspector": inspection.as_markdown(content)}
    figures = "\n\n".join(
        f"### {group}\n\n{report.as_markdown(report.figure_table(members))}"
        for group, members in report.by_group(content["rows"], groups).items()
    )
    return {
        "machine": _machine(content["machine"]),
        "ratios": report.as_markdown(report.ratio_table(content["ratios"])),
        "cpu-ratios": report.as_markdown(report.ratio_table(content["cpu_ratios"], report.CPU_TITLE)),
        "targets": report.as_markdown(report.target_table(content["targets"])),
        "figures": figures,
    }


def _machine(machine: Mapping[str, Any]) -> str:
    return report.as_markdown([["machine", ""], *([name.replace("_", " "), str(machine[name])] for name in machine)])


def write(content: Mapping[str, Any], groups: Mapping[str, str]) -> None:
    """Bring document and pictures to the state of this content. Raises DocumentError."""
    DOCUMENT.write_text(update(DOCUMENT.read_text(), content, groups))
    if "targets" in content:
        plots.write(content, DOCUMENT.with_suffix(""))
