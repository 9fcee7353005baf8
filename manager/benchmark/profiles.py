"""Named settings of a run; whatever is given beside a profile takes the place of its value."""

from __future__ import annotations

from typing import Any

DEFAULTS: dict[str, Any] = {"duration": "10s", "concurrency": "8", "warm_up": "1s"}
PROFILES: dict[str, dict[str, Any]] = {
    # Does it work at all?
    "smoke": {"requests": 20, "concurrency": "2", "fail_if": ("errors>0",)},
    # Usual load, to be compared with.
    "baseline": {"duration": "30s", "concurrency": "16", "warm_up": "5s"},
    # How much does it take?
    "stress": {"duration": "15s", "concurrency": "1,2,4,8,16,32,64,128,256", "warm_up": "5s"},
    # Does it stay as it is?
    "soak": {"duration": "30m", "concurrency": "16", "warm_up": "10s"},
    # Ten times as much all at once, and then as before; what is due waits and is counted from when it was due.
    "spike": {"duration": "20s", "rate": "20,200,20", "concurrency": "256", "warm_up": "2s"},
    # Streams: first chunk, gaps.
    "stream": {"duration": "30s", "concurrency": "32", "warm_up": "5s", "stream": True},
    # Tokens that nobody knows are refused: how fast?
    "reject": {"duration": "15s", "concurrency": "16", "warm_up": "2s", "expect": "401", "is_unknown": True},
}
