"""`python -m addons.inspection`, which `llm-proxy inspect` runs. Ends with exit code 1 if it cannot listen."""

import asyncio
import logging
import signal

from addons.inspection.master import InspectorMaster
from shared import logs
from shared.settings import Plane, Settings, SettingsError, load

# They talk about every connection.
_TALKATIVE = ("tornado", "asyncio", "mitmproxy")


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    try:
        settings = load(Plane.INSPECTOR)
    except SettingsError as error:
        raise SystemExit(str(error)) from None
    logs.configure(settings.log_level, settings.secrets())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        asyncio.run(_serve(settings))
    except OSError as error:
        address = f"{settings.inspector_host}:{settings.inspector_port}"
        raise SystemExit(f"llm-proxy inspect cannot listen on {address}: {error.strerror or error}") from None


async def _serve(settings: Settings) -> None:
    master = InspectorMaster(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, master.shutdown)
    await master.run()


if __name__ == "__main__":
    main()
