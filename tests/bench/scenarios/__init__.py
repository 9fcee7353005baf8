"""Every scenario, in the order in which they run and are shown. A new one is a module here and a line below."""

from tests.bench.scenario import Scenario
from tests.bench.scenarios import chats

ALL: tuple[Scenario, ...] = (*chats.SMALL, *chats.BODIES)
