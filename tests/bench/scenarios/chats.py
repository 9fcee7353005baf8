"""Small JSON and larger bodies, from a number of connections that stay open."""

from functools import partial

from tests.bench import answers, closed_loop
from tests.bench.burst import Burst
from tests.bench.scenario import SUBJECTS, Scenario
from tests.bench.stage import Stage

SMALL_JSON = "Small JSON and refusals"
_CONNECTIONS = (1, 16, 64, 256)
_SIZES = {"64k": 64_000, "1m": 1_000_000}


def _chats(size: int, connections: int, stage: Stage, subject: str, seconds: float) -> Burst:
    """A body of about `size` bytes there and back."""
    body = answers.request_body(answers.json_model(size), size)
    return closed_loop.burst(stage.services.provider, stage.endpoint(subject), body, connections, seconds)


SMALL = tuple(
    Scenario(f"small-{connections}", SMALL_JSON, SUBJECTS, partial(_chats, answers.SMALL, connections))
    for connections in _CONNECTIONS
)
BODIES = tuple(
    Scenario(f"body-{name}", "Bodies", SUBJECTS, partial(_chats, size, 16), rounds=3, quick_rounds=2)
    for name, size in _SIZES.items()
)
