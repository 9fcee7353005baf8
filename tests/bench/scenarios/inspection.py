"""What it costs to tell the inspector of every request: not at all, as it is by default, and while nobody takes it.

All reach Redis through the same relay; in the last one it lets everything through but the feed.
"""

from functools import partial

from tests.bench import answers, closed_loop
from tests.bench.burst import Burst
from tests.bench.scenario import Scenario
from tests.bench.stage import Stage
from tests.bench.subjects import Feed, Variant

_CONNECTIONS = 16
_BODY = answers.request_body(answers.json_model(answers.SMALL))


def _told(feed: Feed, stage: Stage, subject: str, seconds: float) -> Burst:
    endpoint = stage.endpoint(subject, Variant(feed=feed))
    return closed_loop.burst(stage.services.provider, endpoint, _BODY, _CONNECTIONS, seconds)


INSPECTION = tuple(
    Scenario(f"inspection-{feed}", "Inspection", ("engine",), partial(_told, feed))
    for feed in (Feed.OFF, Feed.METADATA, Feed.STALLED)
)
