"""Samples are given to the stage that they belong to."""

from collections import Counter

import pytest

from tests.bench import profile

LOOP = "main (addons/engine/worker.py:55);run (addons/engine/loop.py:35);Runner.run (asyncio/runners.py:118)"
LAYER = "HttpStream.send (mitmproxy/proxy/layers/http/__init__.py:90)"
ROOM = "Headers.requestheaders (addons/headers.py:20)"


@pytest.mark.parametrize(
    ("stack", "stage"),
    [
        (LOOP, "event loop: sockets, timers, callbacks"),
        (f"{LOOP};{LAYER}", "mitmproxy: HTTP layers"),
        (f"{LOOP};{LAYER};{ROOM}", "addons/headers.py"),
        (
            f"{LOOP};{LAYER};{ROOM};get (mitmproxy/coretypes/multidict.py:30);lower (re/__init__.py:1)",
            "addons/headers.py",
        ),
        (f"{LOOP};configure (/venv/lib/mitmproxy/addons/tlsconfig.py:9)", "mitmproxy: its own addons"),
        (f"{LOOP};EngineHandler._work (addons/engine/handler.py:5)", "addons/engine/handler.py"),
        ("<module> (<string>)", "event loop: sockets, timers, callbacks"),
    ],
)
def test_the_innermost_stage_takes_the_sample(stack: str, stage: str) -> None:
    assert profile.by_stage([f"{stack} 3"]) == {stage: 3}


def test_shares_become_microseconds_of_a_request() -> None:
    table = profile.table(400.0, Counter({"addons/meter.py": 750, "rare": 1, "addons/cors.py": 249}))

    assert table == [
        ["stage", "µs/request", "share"],
        ["addons/meter.py", "300", "75.0%"],
        ["addons/cors.py", "99.6", "24.9%"],
        ["everything else", "0.4", "0.1%"],
        ["sum", "400", "100.0%"],
    ]
