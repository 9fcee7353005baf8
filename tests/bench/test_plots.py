"""Pictures are made from whatever was measured."""

import json
from pathlib import Path

import pytest

from tests.bench import plots, rows
from tests.bench.burst import Burst
from tests.bench.rounds import Results


def content(scenarios: tuple[str, ...]) -> dict[str, object]:
    """A run of the engine and a peer."""
    results = Results()
    figures = {"rps": 1000.0, "p50_ms": 1.0, "delay_p50_ms": 0.3, "chunks_per_s": 6400.0, "idle_rss_mb": 100.0}
    for scenario in scenarios:
        for subject in ("engine", "direct"):
            results.add(scenario, subject, Burst({**figures, "kb_per_stream": 30.0, "kb_per_connection": 20.0}))
    return dict(json.loads(json.dumps({"rows": rows.rows(results)})))


@pytest.mark.parametrize(
    "scenarios", [(), ("small-16",), ("small-1", "small-16", "sse-128", "sse-512", "memory-streams", "idle-10000")]
)
def test_each_picture_is_a_small_png(scenarios: tuple[str, ...], tmp_path: Path) -> None:
    paths = plots.write(content(scenarios), tmp_path / "pictures")

    assert [path.name for path in paths] == ["requests.png", "streams.png", "memory.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size <= 100_000 for path in paths)


def test_what_proves_nothing_is_not_shown() -> None:
    row = {"scenario": "small-1", "subject": "engine", "rps": 5.0, "complaints": ["wrong answers"]}

    assert plots.value([row], "small-1", "engine", "rps") is None
    assert plots.value([{**row, "complaints": []}], "small-1", "engine", "rps") == 5.0


def test_what_was_not_measured_has_no_panel() -> None:
    row = {"scenario": "memory-streams", "subject": "engine", "idle_rss_mb": 95.0, "kb_per_stream": 46.0}

    shown = [panel.get_visible() for panel in plots.memory([{**row, "complaints": []}]).axes]

    assert shown == [True, True, False]
