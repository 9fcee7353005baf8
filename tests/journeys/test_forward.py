"""An agent whose base URL cannot be set: `HTTPS_PROXY`, our authority and a token are all that it is given."""

import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest
import requests

from manager import programs
from manager.supervisor import Program, Supervisor
from tests.journeys.conftest import ADDONS, Installation, Token, free_port, until
from tests.tls_relay import TlsRelay

pytestmark = pytest.mark.parametrize("runner", ["mitmdump"], indirect=True, scope="session")

# It knows nothing of us: the provider's own address is the SDK's default.
AGENT = """
import json, openai
ask = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
client = openai.OpenAI(max_retries=0, timeout=20)
whole = client.chat.completions.create(**ask).choices[0].message.content
events = list(client.chat.completions.create(**ask, stream=True))
streamed = "".join(event.choices[0].delta.content or "" for event in events if event.choices)
print(json.dumps({"whole": whole, "streamed": streamed, "events": len(events)}))
"""


@dataclass
class ForwardProxy:
    """mitmdump in regular mode, and the installation that it belongs to."""

    installation: Installation
    url: str
    folder: Path
    relay_url: str
    supervisor: Supervisor = field(repr=False)

    @property
    def authority(self) -> str:
        return str(self.folder / "mitmproxy-ca-cert.pem")

    def token(self) -> Token:
        """A token of a new project, whose provider is behind the relay."""
        name = f"agents {len(self.installation.manage('GET', '/manage/projects')['items'])}"
        return self.installation.token(self.installation.project(name, base_url=self.relay_url))

    def environment(self, token: str) -> dict[str, str]:
        """All that an agent is told."""
        return {"HTTPS_PROXY": self.url, "SSL_CERT_FILE": self.authority, "OPENAI_API_KEY": token}

    def send(self, token: str, url: str = "https://api.openai.com/v1/models", **more: Any) -> requests.Response:
        headers = {"authorization": f"Bearer {token}"}
        both = {"https": self.url, "http": self.url}
        return requests.get(url, headers=headers, proxies=both, verify=self.authority, timeout=20, **more)

    def client(self, token: Token) -> openai.OpenAI:
        transport = openai.DefaultHttpxClient(proxy=self.url, verify=ssl.create_default_context(cafile=self.authority))
        return openai.OpenAI(api_key=token.secret, http_client=transport, max_retries=0, timeout=20)

    def asked(self) -> int:
        """How many requests have reached the provider."""
        return int(self.installation.ledger()["requests"])


@pytest.fixture
def forward(installation: Installation, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ForwardProxy]:
    """A forward proxy, which reaches its provider by TLS."""
    relay = TlsRelay(tmp_path)
    relay.start(int(installation.mock_url.rpartition(":")[2]))
    port, metrics = free_port(), free_port()
    command = [str(Path(sys.executable).with_name("mitmdump")), "--mode", "regular", "-s", str(ADDONS / "main.py")]
    command += ["--listen-host", "127.0.0.1", "--listen-port", str(port), "--set", f"confdir={tmp_path}"]
    command += ["--save-stream-file", str(tmp_path / "flows.mitm")]
    own = {"LLM_PROXY_METRICS_PORT": str(metrics), "LLM_PROXY_UPSTREAM_CA_FILE": str(relay.authority)}
    health = f"http://127.0.0.1:{metrics}/healthz"
    program = Program("forward", tuple(command), {**installation.data_plane, **own}, lambda: programs.is_up(health))
    supervisor = Supervisor(tmp_path / "logs")
    try:
        supervisor.start(program)
        where = f"http://127.0.0.1:{port}"
        yield ForwardProxy(installation, where, tmp_path, f"https://127.0.0.1:{relay.port}", supervisor)
    finally:
        supervisor.stop()
        relay.stop()


def test_an_agent_that_only_knows_its_proxy_chats_and_streams(forward: ForwardProxy) -> None:
    token = forward.token()

    command = [sys.executable, "-c", AGENT]
    agent = subprocess.run(command, env=forward.environment(token.secret), capture_output=True, text=True, timeout=60)

    assert agent.returncode == 0, agent.stderr
    said = json.loads(agent.stdout)
    assert said["whole"] and said["streamed"] and said["events"] > 2
    rows = forward.installation.usage_of(token, 2)
    assert {(row["outcome"], row["status"], row["is_stream"]) for row in rows} == {
        ("finished", 200, False),
        ("finished", 200, True),
    }
    assert all(row["total_tokens"] for row in rows)


def test_who_may_not_is_refused_and_nothing_is_asked_of_the_provider(forward: ForwardProxy) -> None:
    token, asked = forward.token(), forward.asked()
    gone = forward.token()
    forward.installation.manage("DELETE", f"/manage/tokens/{gone.id}")

    refused = [
        forward.send(gone.secret),
        forward.send("sk-not-a-token"),
        forward.send(forward.installation.provider_key),
    ]
    elsewhere = forward.send(token.secret, "https://api.anthropic.com/v1/models")
    plain = forward.send(token.secret, "http://api.openai.com/v1/models")

    assert [answer.status_code for answer in refused] == [401] * 3
    assert {answer.json()["error"]["code"] for answer in refused} == {"token_inactive", "invalid_token"}
    assert (elsewhere.status_code, elsewhere.json()["error"]["code"]) == (403, "host_not_allowed")
    assert (plain.status_code, plain.json()["error"]["code"]) == (400, "invalid_request")
    for url in ("https://github.com/", forward.relay_url, forward.installation.mock_url.replace("http:", "https:")):
        with pytest.raises(requests.exceptions.ProxyError, match="403"):
            forward.send(token.secret, url)
    assert forward.asked() == asked
    assert forward.installation.manage("GET", f"/manage/tokens/{token.id}")["request_count"] == 0


def test_a_stream_through_a_tunnel_ends_when_its_token_is_revoked(forward: ForwardProxy) -> None:
    token = forward.token()
    headers = {"x-mock-behaviour": json.dumps({"chunks": 100_000, "chunk_interval_ms": 20})}
    ask: dict[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    with forward.client(token) as client:
        stream = client.chat.completions.create(**ask, extra_headers=headers)
        ended = threading.Timer(20, stream.close)  # Else a stream that goes on would never fail.
        ended.start()

        next(iter(stream))
        forward.installation.manage("DELETE", f"/manage/tokens/{token.id}")
        with pytest.raises(openai.APIError) as raised:
            for _ in stream:
                pass
        ended.cancel()

    assert raised.value.code == "token_inactive"
    [row] = forward.installation.usage_of(token, 1)
    assert (row["outcome"], row["error_code"]) == ("cut", "token_inactive")


def test_neither_key_nor_token_is_in_saved_flows_and_logs(forward: ForwardProxy) -> None:
    token = forward.token()
    with forward.client(token) as client:
        list(client.models.list())
    forward.send(token.secret, f"https://api.openai.com/v1/models/{token.secret}")
    forward.send(token.secret, "http://api.openai.com/v1/models")
    with pytest.raises(requests.exceptions.ProxyError):
        forward.send(token.secret, f"https://github.com/{token.secret}")
    until(lambda: forward.installation.usage_of(token, 1))

    forward.supervisor.stop()
    written = {path: path.read_bytes() for path in forward.folder.rglob("*") if path.is_file()}
    show = [str(Path(sys.executable).with_name("mitmdump")), "-nr", str(forward.folder / "flows.mitm")]
    shown = subprocess.run([*show, "--flow-detail", "3"], capture_output=True, text=True, timeout=60).stdout

    assert "GET https://127.0.0.1" in shown
    assert "github.com" not in shown
    assert any(path.suffix == ".log" and content for path, content in written.items())
    canaries = (token.secret.encode(), forward.installation.provider_key.encode())
    assert [path for path, content in written.items() if any(canary in content for canary in canaries)] == []
    assert not any(canary.decode() in shown for canary in canaries)
