"""Every scenario, in the order in which they run and are shown. A new one is a module here and a line below."""

from tests.bench.scenario import Scenario
from tests.bench.scenarios import admissions, chats, inspection, memory, outages, rejects, soak, streams, tls, workers

ALL: tuple[Scenario, ...] = (
    *chats.SMALL,
    *rejects.REJECTS,
    *tls.PROVIDER_TLS,
    *streams.STREAMS,
    *chats.BODIES,
    *workers.WORKERS,
    *memory.MEMORY,
    *outages.OUTAGES,
    *admissions.ADMISSIONS,
    *inspection.INSPECTION,
    *soak.SOAK,
)
