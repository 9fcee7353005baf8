"""What runs the rooms in tests: mitmdump's own master, or the engine. What holds under one holds under the other."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import options
from mitmproxy.addons.script import load_script
from mitmproxy.master import Master
from mitmproxy.tools.dump import DumpMaster

from addons.engine.master import EngineMaster

ADDONS = Path(__file__).parents[2] / "addons"
Runner = Callable[[options.Options, list[str], dict[str, Any]], Master]


def _mitmdump(chosen: options.Options, scripts: list[str], more: dict[str, Any]) -> Master:
    master = DumpMaster(chosen, with_termlog=False, with_dumper=False)
    chosen.update(scripts=scripts, **more)
    return master


def _engine(chosen: options.Options, scripts: list[str], more: dict[str, Any]) -> Master:
    rooms = [load_script(script) for script in scripts]
    master = EngineMaster(chosen, [room for room in rooms if room is not None])
    chosen.update(**more)
    return master


RUNNERS: dict[str, Runner] = {"mitmdump": _mitmdump, "engine": _engine}
_chosen = {"name": "mitmdump"}


@pytest.fixture(params=list(RUNNERS), autouse=True)
def runner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs every test of a module that imports this with each runner; `proxying` uses it."""
    name: str = request.param
    monkeypatch.setitem(_chosen, "name", name)
    return name


@asynccontextmanager
async def proxying(
    port: int, folder: Path, scripts: list[str], make: Runner | None = None, **more: Any
) -> AsyncIterator[Master]:
    """A proxy with our scripts, until the block ends; run by what the test's module or `make` says."""
    chosen = options.Options(
        listen_host="127.0.0.1", listen_port=port, mode=["reverse:http://upstream.invalid"], confdir=str(folder)
    )
    master = (make or RUNNERS[_chosen["name"]])(chosen, scripts, more)
    running = asyncio.create_task(master.run())
    async with asyncio.timeout(10):
        while not await _accepts(port):
            assert not running.done(), running.exception()
            await asyncio.sleep(0.01)
    try:
        yield master
    finally:
        await master.addons.get("proxyserver").servers.update([])
        master.shutdown()
        await running


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
