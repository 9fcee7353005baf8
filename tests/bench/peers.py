"""Two other gateways, each in an environment of its own, in the version named here. `--peers` installs them."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.bench.answers import PROVIDER_KEY
from tests.bench.endpoint import Endpoint, bearer
from tests.bench.provider import ROOT, plain_environment
from tests.bench.services import Services
from tests.bench.subjects import Launch, Launcher, Variant, pinned_program
from tests.ports import free_port

FOLDER = ROOT / ".bench"
LITELLM, PORTKEY = "1.108.7", "1.15.2"
# With later ones, which npm would take, this Portkey answers every stream with 500.
_PORTKEY_SERVES_WITH = {"@hono/node-server": "1.13.8"}
_MASTER_KEY = "sk-bench-master-key"
_PORTKEY_SERVER = Path("node_modules", "@portkey-ai", "gateway", "build", "start-server.js")


class PeerError(Exception):
    """A peer cannot be installed; the message says why."""


def install() -> None:
    """Install what is missing. Raises PeerError."""
    if not shutil.which("node") or not shutil.which("npm"):
        raise PeerError("portkey needs `node` and `npm`")
    FOLDER.mkdir(exist_ok=True)
    if not _litellm_folder().exists():
        _into(_litellm_folder(), _litellm_steps)
    if not _portkey_folder().exists():
        _into(_portkey_folder(), _portkey_steps)


def _litellm_folder() -> Path:
    return FOLDER / f"litellm-{LITELLM}"


def _portkey_folder() -> Path:
    return FOLDER / f"portkey-{PORTKEY}"


def _litellm_steps(folder: str) -> list[list[str]]:
    pip = [f"{folder}/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return [[sys.executable, "-m", "venv", folder], [*pip, f"litellm[proxy]=={LITELLM}"]]


def _portkey_steps(folder: str) -> list[list[str]]:
    wanted = {"private": True, "dependencies": {"@portkey-ai/gateway": PORTKEY}, "overrides": _PORTKEY_SERVES_WITH}
    Path(folder).mkdir()
    Path(folder, "package.json").write_text(json.dumps(wanted))
    return [
        ["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error"]
    ]


def _into(folder: Path, steps: Callable[[str], list[list[str]]]) -> None:
    """What fails half way leaves no folder that looks whole. (An environment of Python cannot be moved.)"""
    print(f"# installing {folder.name}", file=sys.stderr, flush=True)
    try:
        for command in steps(str(folder)):
            made = subprocess.run(command, capture_output=True, text=True, check=False)
            if made.returncode:
                raise PeerError(f"{folder.name} cannot be installed: {made.stderr.strip()[-400:]}")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def litellm(services: Services, variant: Variant) -> Launch:
    """LiteLLM's proxy with one worker and a master key, without a database."""
    port = free_port()
    provider = {"model": "openai/*", "api_base": f"{services.provider.url(variant.tls)}/v1", "api_key": PROVIDER_KEY}
    settings = {
        "model_list": [{"model_name": "*", "litellm_params": provider}],
        "general_settings": {"master_key": _MASTER_KEY},
        "litellm_settings": {"telemetry": False},
    }
    configuration = services.folder / f"litellm-{port}.yaml"
    configuration.write_text(json.dumps(settings))  # YAML takes JSON.
    command = [str(_litellm_folder() / "bin" / "litellm"), "--config", str(configuration), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--num_workers", "1", "--telemetry", "False"]
    own = {
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "SSL_CERT_FILE": str(services.provider.ca_file),
    }
    program = pinned_program(services, "litellm", command, plain_environment(**own), port)
    return Launch(program, Endpoint(port, bearer(_MASTER_KEY)))


def portkey(services: Services, variant: Variant) -> Launch:
    """Portkey's gateway, told by headers where the provider is; it takes the provider's key from the caller."""
    port = free_port()
    command = ["node", str(_portkey_folder() / _PORTKEY_SERVER), f"--port={port}", "--headless"]
    own = {
        "NODE_EXTRA_CA_CERTS": str(services.provider.ca_file),
        "NODE_ENV": "production",
        "TRUSTED_CUSTOM_HOSTS": "127.0.0.1",
    }
    program = pinned_program(services, "portkey", command, plain_environment(**own), port)
    where = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"{services.provider.url(variant.tls)}/v1"}
    return Launch(program, Endpoint(port, {**bearer(PROVIDER_KEY), **where}))


LAUNCHERS: dict[str, Launcher] = {"portkey": portkey, "litellm": litellm}
