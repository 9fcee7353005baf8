"""The ports of this machine's services."""

from collections.abc import Iterator

from manager import ports as free_ports
from manager import programs
from manager.doctor.finding import Finding, fault, warning, well
from manager.running import Phase, proxies
from manager.single_machine import FolderTaken, Urls, own_folder
from shared.settings import Settings


def ports(settings: Settings) -> Iterator[Finding]:
    """Tell whether they are free, or whether those who listen there are ours and well."""
    if _is_running(settings):
        urls = Urls.of(settings)
        is_drained = _is_drained(settings)
        for name, url in {"manager": f"{urls.manager}/readyz", "proxy": f"{urls.health}/readyz"}.items():
            if programs.is_up(url):
                yield well(name, f"is running and ready at {url}")
            elif name == "proxy" and is_drained:
                yield warning(name, "is drained, and takes nobody", "`llm-proxy reload` puts it back into service")
            else:
                yield fault(name, f"is running and not ready at {url}", f"see the logs in {settings.data_dir}/logs")
        return
    try:
        free_ports.check(settings)
    except free_ports.PortTaken as error:
        yield fault("ports", str(error), "see who listens with `ss -ltnp`")
    else:
        yield well("ports", "are free")


def _is_running(settings: Settings) -> bool:
    if not settings.data_dir.is_dir():
        return False
    try:
        with own_folder(settings.data_dir):
            return False
    except FolderTaken:
        return True
    except OSError:
        return False


def _is_drained(settings: Settings) -> bool:
    try:
        states = [each.state() for each in proxies(settings.data_dir)]
    except PermissionError:
        return False
    return bool(states) and all(state is None or state.phase in (Phase.DRAINING, Phase.DRAINED) for state in states)
