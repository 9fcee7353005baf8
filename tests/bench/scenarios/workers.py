"""One worker beside two of them: the first has a core, the second one shares its core with all that makes the load."""

from functools import partial

from tests.bench import answers, closed_loop
from tests.bench.burst import Burst
from tests.bench.scenario import Scenario
from tests.bench.stage import Stage
from tests.bench.subjects import Variant

_CONNECTIONS = 64
_BODY = answers.request_body(answers.json_model(answers.SMALL))


def _workers(count: int, stage: Stage, subject: str, seconds: float) -> Burst:
    """Besides the usual, rps_per_core: requests for each second of processor time that all workers got."""
    endpoint = stage.endpoint(subject, Variant(workers=count))
    made = closed_loop.burst(stage.services.provider, endpoint, _BODY, _CONNECTIONS, seconds)
    share = made.figures.get("cpu_share", 0.0)
    more = {"rps_per_core": made.figures["rps"] / share} if share else {}
    where = "load, provider, Valkey, manager and jobs ran on the second worker's core" if count > 1 else ""
    return Burst({**made.figures, **more}, made.errors, made.complaint, {"also ran": where} if where else {})


WORKERS = tuple(Scenario(f"workers-{count}", "Workers", ("engine",), partial(_workers, count)) for count in (1, 2))
