"""A provider behind TLS: connections that stay open, and a new client connection for each request."""

from functools import partial

from tests.bench import answers, closed_loop, exchanges
from tests.bench.burst import Burst, spread
from tests.bench.scenario import PROXIES, Scenario
from tests.bench.stage import Stage
from tests.bench.subjects import Variant
from tests.bench.watch import Watch

TLS = Variant(tls=True)
_CONNECTIONS = 16
_BODY = answers.request_body(answers.json_model(answers.SMALL))


def _kept(stage: Stage, subject: str, seconds: float) -> Burst:
    return closed_loop.burst(stage.services.provider, stage.endpoint(subject, TLS), _BODY, _CONNECTIONS, seconds)


def _new(stage: Stage, subject: str, seconds: float) -> Burst:
    """Latencies begin before the connection is made."""
    endpoint = stage.endpoint(subject, TLS)
    watch = Watch(endpoint)
    found = exchanges.run(endpoint, _BODY, _CONNECTIONS, seconds, reconnects=True)
    good = [answer.ms for answer in found if answer.status == 200]
    errors = len(found) - len(good)
    figures = {"rps": len(good) / seconds, **spread("", good), **watch.figures("cpu_us", len(good))}
    return Burst(figures, errors, f"{errors} of {len(found)} were not answered with 200" if errors else "")


_scenario = partial(Scenario, group="Provider behind TLS", subjects=PROXIES, quick_subjects=("engine", "mitmdump-bare"))
PROVIDER_TLS = (_scenario("tls-kept", make=_kept), _scenario("tls-new", make=_new))
