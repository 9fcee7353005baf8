"""The examples in docs/cli.md and in the help of commands are run as they stand, on a running installation."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from manager.cli import main
from manager.cli.reference import examples
from manager.cli.tree import walk
from shared import settings
from tests.journeys.conftest import free_port
from tests.terminal import CTRL_C, Terminal

LLM_PROXY = str(Path(sys.executable).with_name("llm-proxy"))
GUIDE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
_FENCED = re.findall(r"^```sh\n(.*?)^```", GUIDE, re.S | re.M)
BLOCKS = {f"docs/cli.md, block {at}": text for at, text in enumerate(_FENCED)}
HELP = {
    f"{entry.path} --help, example {at}": text
    for entry in walk(main, "llm-proxy")
    for at, text in enumerate(examples(entry.command))
}
# What cannot be run here as it stands, and what is run in its place.
IN_PLACE_OF = {
    # There is no such host; this installation is asked, with the token of a file as well.
    "https://llm.example.org": "$MANAGER_URL",
    "~/.llm-proxy-token": "operator-token.txt",
    # They would go on for good.
    " --watch 1": "",
    " --follow": "",
    # Nobody is there to be asked.
    "llm-proxy setup\n": "llm-proxy setup --non-interactive\n",
    '"amount": "50.00"}]\'': '"amount": "50.00"}]\' --yes',
    # There is no repository.
    "git diff |": "echo '+ a line' |",
    # A token belongs to a project of one provider.
    "llm-proxy chat --dialect anthropic": 'LLM_PROXY_TOKEN="$ANTHROPIC_TOKEN" llm-proxy chat --dialect anthropic',
    # What comes afterwards needs the proxy.
    "llm-proxy drain --wait": "llm-proxy drain --wait && llm-proxy reload",
    # A second tells whether it works, and this machine may be slow.
    "--profile baseline": "--profile baseline --duration 1s --warm-up 0s",
    "--duration 5m": "--duration 1s",
    "--duration 1m": "--duration 1s",
    "'p99>250ms'": "'p99>60s'",
    "'error_rate>1%'": "'error_rate>99%'",
    "--target direct=http://127.0.0.1:9000": "--duration 1s --token-file direct=key.txt --target direct=$MOCK_URL",
    "proxy=http://127.0.0.1:8080": "proxy=http://127.0.0.1:$LLM_PROXY_PROXY_PORT",
    "--compare": "--duration 1s --save-baseline before.json\ncp before.json after.json\nllm-proxy benchmark --compare",
}


@dataclass(frozen=True)
class Shell:
    """Where examples are typed."""

    folder: Path
    variables: dict[str, str]

    def run(self, text: str) -> "subprocess.CompletedProcess[str]":
        command = ["bash", "-euo", "pipefail", "-c", text]
        return subprocess.run(
            command,
            env=self.variables,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def say(self, text: str) -> str:
        done = self.run(text)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def shell() -> Iterator[Shell]:
    """A shell beside an installation that `setup` made and `up` runs, with the files that examples name."""
    ports = {f"LLM_PROXY_{name}_PORT": str(free_port()) for name in ("PROXY", "MANAGER", "INSPECTOR", "METRICS")}
    with tempfile.TemporaryDirectory(prefix="examples-") as made:
        folder = Path(made)
        own = {
            "LLM_PROXY_DATA_DIR": f"{made}/data",
            "MANAGER_URL": f"http://127.0.0.1:{ports['LLM_PROXY_MANAGER_PORT']}",
        }
        variables = settings.child_environment(None, {}) | ports | own
        variables["PATH"] = f"{Path(LLM_PROXY).parent}:{variables['PATH']}"
        beside = Shell(folder, variables)
        exports = re.search(r"LLM_PROXY_TOKEN=(\S+)", beside.say("llm-proxy setup --non-interactive"))
        assert exports is not None
        variables["LLM_PROXY_TOKEN"] = exports[1]
        with Terminal([LLM_PROXY, "up"], variables) as running:
            running.expect("Running until Ctrl-C.", 120)
            _prepare(beside)
            yield beside
            running.type(CTRL_C)
            assert running.ended() == 0


def _prepare(shell: Shell) -> None:
    key = "sk-of-a-provider-0123456789"
    (shell.folder / "key.txt").write_text(f"{key}\n")
    (shell.folder / "report.pdf").write_bytes(b"%PDF-1.4 a report")
    shell.say(". data/secrets.env; echo $MANAGEMENT_TOKEN > operator-token.txt")
    take = "python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])'"
    url = shell.say(f"llm-proxy project get 'demo (mock provider)' --json | {take} base_url")
    shell.say(f"llm-proxy project create --name claude --provider anthropic --base-url {url} --api-key-file key.txt")
    variables = shell.variables
    variables["MOCK_URL"] = url
    token = f"llm-proxy token create --project claude --expires-in PT1H --json | {take} token"
    variables["ANTHROPIC_TOKEN"] = shell.say(token)
    # Else the provider takes no key but the demo's.
    requests.put(f"{url}/__mock__/keys", json={"key": key}, timeout=10).raise_for_status()


@pytest.mark.parametrize("name", [*BLOCKS, *HELP])
def test_an_example_does_what_it_says(shell: Shell, name: str) -> None:
    text = (BLOCKS | HELP)[name]
    for written, instead in IN_PLACE_OF.items():
        text = text.replace(written, instead)

    done = shell.run(text)

    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"


def test_each_replacement_is_needed() -> None:
    every = "\n".join([*BLOCKS.values(), *HELP.values()])

    assert [written for written in IN_PLACE_OF if written not in every] == []
