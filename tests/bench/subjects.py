"""What is measured: how each subject is started, and with which headers it takes chats."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from manager.supervisor import Program
from tests.bench import answers, processes
from tests.bench.endpoint import Endpoint, bearer
from tests.bench.machine import pinned
from tests.bench.provider import ROOT, plain_environment
from tests.bench.services import Services
from tests.ports import accepts, free_port


class Feed(StrEnum):
    """How the inspector is told of requests, through a relay to Redis; DIRECT: as by default, and without one."""

    DIRECT = "direct"
    OFF = "off"
    METADATA = "metadata"
    STALLED = "stalled"


@dataclass(frozen=True)
class Variant:
    """What a scenario needs of a subject: a provider behind TLS, streaming, a number of workers, a feed."""

    tls: bool = False
    streams: bool = False
    workers: int = 1
    feed: Feed = Feed.DIRECT


def itself(pid: int) -> tuple[int, ...]:
    """Most subjects are one process."""
    return (pid,)


@dataclass(frozen=True)
class Launch:
    """A subject that can be started: a program, its endpoint, and which processes of it are workers."""

    program: Program | None
    endpoint: Endpoint = field(repr=False)
    workers: Callable[[int], Iterable[int]] = itself


type Launcher = Callable[[Services, Variant], Launch]


def direct(services: Services, variant: Variant) -> Launch:
    """The provider itself."""
    return Launch(None, Endpoint(services.provider.port, bearer(answers.PROVIDER_KEY)))


def engine(services: Services, variant: Variant) -> Launch:
    """The product's worker with everything on."""
    if variant.workers > 1:
        return _several_workers(services, variant)
    port = free_port()
    command = [sys.executable, "-O", "-m", "addons.engine.worker", "--listen-host", "127.0.0.1"]
    command += ["--listen-port", str(port), "--confdir", str(_confdir(services, port))]
    return _with_everything(services, variant, "engine", command, port)


def mitmdump_addons(services: Services, variant: Variant) -> Launch:
    """Stock mitmdump with the same addons."""
    port = free_port()
    command = [*_mitmdump(services, port), "-s", str(ROOT / "addons" / "main.py")]
    command += ["--mode", "reverse:http://upstream.invalid"]
    return _with_everything(services, variant, "mitmdump-addons", command, port)


def mitmdump_bare(services: Services, variant: Variant) -> Launch:
    """Stock mitmdump with no addon, told not to print flows; it streams only where streams are measured."""
    port = free_port()
    command = [*_mitmdump(services, port), "--mode", f"reverse:{services.provider.url(variant.tls)}"]
    command += ["--set", "flow_detail=0", "--set", f"ssl_verify_upstream_trusted_ca={services.provider.ca_file}"]
    if variant.streams:
        command += ["--set", "stream_large_bodies=1"]
    return _of_provider(services, "mitmdump-bare", command, port)


def engine_no_redis(services: Services, variant: Variant) -> Launch:
    """The engine with one small addon, which swaps the key and streams: no Redis and none of the product's rooms."""
    port = free_port()
    command = [sys.executable, "-O", "-m", "tests.bench.plain_engine", "--port", str(port)]
    command += ["--provider", services.provider.url(variant.tls), "--confdir", str(_confdir(services, port))]
    command += ["--ca-file", str(services.provider.ca_file)]
    return _of_provider(services, "engine-no-redis", command, port)


def pinned_program(
    services: Services, name: str, command: Iterable[str], environment: dict[str, str], port: int
) -> Program:
    """Return a program on the worker's core, ready when it listens."""
    whole = services.cores.worker_command(tuple(command))
    return Program(f"{name}-{port}", whole, environment, lambda: accepts(port))


def _with_everything(services: Services, variant: Variant, name: str, command: list[str], port: int) -> Launch:
    own = {"LLM_PROXY_METRICS_PORT": str(free_port()), "PROMETHEUS_MULTIPROC_DIR": str(_metrics(services, port))}
    own |= _feed(services, variant.feed)
    program = pinned_program(services, name, command, {**services.data_plane, **own}, port)
    return Launch(program, Endpoint(port, bearer(services.token(variant.tls))))


def _feed(services: Services, feed: Feed) -> dict[str, str]:
    if feed is Feed.DIRECT:
        return {}
    is_on = "false" if feed is Feed.OFF else "true"
    return {"REDIS_URL": services.relay.url(feed is Feed.STALLED), "LLM_PROXY_INSPECTION": is_on}


def _of_provider(services: Services, name: str, command: list[str], port: int) -> Launch:
    program = pinned_program(services, name, command, plain_environment(), port)
    return Launch(program, Endpoint(port, bearer(answers.PROVIDER_KEY)))


def _several_workers(services: Services, variant: Variant) -> Launch:
    """`llm-proxy proxy --workers N` on both cores."""
    port = services.configuration.proxy_port
    cores = services.cores.worker | services.cores.rest
    command = (*pinned(cores), sys.executable, "-m", "manager.cli", "proxy", "--workers", str(variant.workers))
    program = Program(f"engine-{variant.workers}-workers", command, services.data_plane, lambda: accepts(port))
    return Launch(program, Endpoint(port, bearer(services.token(variant.tls))), processes.children)


def _mitmdump(services: Services, port: int) -> list[str]:
    command = [str(Path(sys.executable).with_name("mitmdump")), "-q", "--listen-host", "127.0.0.1"]
    return [*command, "--listen-port", str(port), "--set", f"confdir={_confdir(services, port)}"]


def _confdir(services: Services, port: int) -> Path:
    return services.folder / "mitmproxy" / str(port)


def _metrics(services: Services, port: int) -> Path:
    return services.folder / "metrics" / str(port)


OURS: dict[str, Launcher] = {
    "direct": direct,
    "engine": engine,
    "engine-no-redis": engine_no_redis,
    "mitmdump-addons": mitmdump_addons,
    "mitmdump-bare": mitmdump_bare,
}
