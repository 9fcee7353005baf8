"""Pictures of a run: `python -m tests.bench.plots FILE.json FOLDER` writes requests.png, streams.png and memory.png."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import FuncFormatter  # noqa: E402

type Rows = Sequence[Mapping[str, Any]]

# The same colour for the same subject in every picture; they can be told apart by people who see few colours.
COLOURS = {
    "engine": "#0072B2",
    "engine-no-redis": "#56B4E9",
    "mitmdump-bare": "#E69F00",
    "mitmdump-addons": "#D55E00",
    "portkey": "#009E73",
    "litellm": "#CC79A7",
    "direct": "#666666",
}
_SMALL = ("small-1", "small-16", "small-64", "small-256")
_STREAMS = ("sse-128", "sse-256", "sse-512")
_OFFERED_PER_STREAM = 50


def value(rows: Rows, scenario: str, subject: str, figure: str) -> float | None:
    """Return a figure of a row, None if there is no such row or it did not prove anything."""
    for row in rows:
        if (row["scenario"], row["subject"]) == (scenario, subject) and not row["complaints"]:
            found: float | None = row.get(figure)
            return found
    return None


def subjects_of(rows: Rows, scenarios: Sequence[str]) -> list[str]:
    """Return the subjects that took part in any of these scenarios, in the order of the colours."""
    present = {row["subject"] for row in rows if row["scenario"] in scenarios}
    return [subject for subject in COLOURS if subject in present]


def requests(rows: Rows) -> Figure:
    """Requests and latency of small JSON, by connections."""
    figure, (left, right) = _figure(2)
    proxies = [subject for subject in subjects_of(rows, _SMALL) if subject != "direct"]
    _bars(left, rows, _SMALL, proxies, "rps")
    left.set(title="Small JSON: throughput", ylabel="requests/s", xlabel="connections")
    _bars(right, rows, _SMALL, proxies, "p50_ms")
    right.set(title="Small JSON: latency", ylabel="p50, ms (logarithmic)", xlabel="connections")
    _logarithmic(right)
    return _with_legend(figure, left)


def streams(rows: Rows) -> Figure:
    """Delay of chunks and what comes through, by streams."""
    figure, (left, right) = _figure(2)
    offered = [int(name.rpartition("-")[2]) * _OFFERED_PER_STREAM for name in _STREAMS]
    for subject in subjects_of(rows, _STREAMS):
        _line(left, rows, subject, offered, "delay_p50_ms")
        _line(right, rows, subject, offered, "chunks_per_s")
    labels = [f"{sent // _OFFERED_PER_STREAM}\n{sent:,}/s" for sent in offered]
    for axes in (left, right):
        axes.set_xticks(offered, labels)
        axes.set_xlabel("streams, and chunks/s that the provider sends in them")
    left.set(title="Streams: delay of a chunk", ylabel="p50, ms (logarithmic)")
    _logarithmic(left)
    right.set(title="Streams: chunks that arrive", ylabel="chunks/s")
    right.set_ylim(bottom=0)
    return _with_legend(figure, right)


def memory(rows: Rows) -> Figure:
    """What a worker holds by itself, for a stream and for an idle connection."""
    figure, axes = _figure(3)
    plans = (
        ("memory-streams", "idle_rss_mb", "Idle worker", "MB"),
        ("memory-streams", "kb_per_stream", "Open stream", "kB"),
        ("idle-10000", "kb_per_connection", "Idle connection", "kB"),
    )
    for each, (scenario, name, title, unit) in zip(axes, plans, strict=True):
        subjects = [subject for subject in subjects_of(rows, [scenario]) if value(rows, scenario, subject, name)]
        heights = [value(rows, scenario, subject, name) or 0 for subject in subjects]
        bars = each.barh(subjects, heights, color=[COLOURS[subject] for subject in subjects])
        each.bar_label(bars, fmt="%.0f", padding=2, fontsize=8)
        each.set(title=title, xlabel=unit)
        each.invert_yaxis()
        each.margins(x=0.15)
        each.set_visible(bool(subjects))
    return figure


def _figure(panels: int) -> tuple[Figure, Sequence[Axes]]:
    figure, axes = pyplot.subplots(1, panels, figsize=(10, 4), layout="constrained", facecolor="white")
    for each in axes:
        each.grid(axis="both", color="#dddddd", linewidth=0.6)
        each.set_axisbelow(True)
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _logarithmic(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda height, _: f"{height:g}"))


def _with_legend(figure: Figure, axes: Axes) -> Figure:
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(COLOURS), fontsize=8)
    return figure


def _bars(axes: Axes, rows: Rows, scenarios: Sequence[str], subjects: Sequence[str], figure: str) -> None:
    width = 0.8 / max(1, len(subjects))
    for at, subject in enumerate(subjects):
        places = [number + (at - (len(subjects) - 1) / 2) * width for number in range(len(scenarios))]
        heights = [value(rows, scenario, subject, figure) or 0 for scenario in scenarios]
        axes.bar(places, heights, width * 0.9, label=subject, color=COLOURS[subject])
    axes.set_xticks(range(len(scenarios)), [name.rpartition("-")[2] for name in scenarios])


def _line(axes: Axes, rows: Rows, subject: str, offered: Sequence[int], figure: str) -> None:
    found = [(sent, value(rows, name, subject, figure)) for name, sent in zip(_STREAMS, offered, strict=True)]
    points = [(sent, measured) for sent, measured in found if measured is not None]
    style = "--" if subject == "direct" else "-"
    if points:
        axes.plot(*zip(*points, strict=True), style, marker="o", label=subject, color=COLOURS[subject])


PICTURES = {"requests": requests, "streams": streams, "memory": memory}


def write(content: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write the pictures of a run into a folder and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, draw in PICTURES.items():
        figure = draw(content["rows"])
        paths.append(folder / f"{name}.png")
        # Without the version and the date: the same figures make the same file.
        figure.savefig(paths[-1], dpi=100, metadata={"Software": None})
        pyplot.close(figure)
    return paths


def main() -> None:
    """Read the file, write the pictures."""
    parser = argparse.ArgumentParser(prog="tests.bench.plots", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("folder", type=Path)
    chosen = parser.parse_args()
    for path in write(json.loads(chosen.file.read_text()), chosen.folder):
        print(path)


if __name__ == "__main__":
    main()
