"""The addons under stock mitmweb: it works, and its page shows masks only."""

import sys
from pathlib import Path

import requests

from manager import programs
from manager.supervisor import Program, Supervisor
from tests.journeys.conftest import ADDONS, Installation, free_port, until

PASSWORD = "a password of this test"


def test_mitmweb_proxies_and_never_shows_a_secret(installation: Installation, tmp_path: Path) -> None:
    token = installation.token(installation.project("watched"))
    proxy_port, page_port, metrics_port = free_port(), free_port(), free_port()
    own = {"LLM_PROXY_INSPECTOR_PORT": str(page_port), "LLM_PROXY_METRICS_PORT": str(metrics_port)}
    command = [str(Path(sys.executable).with_name("mitmweb")), "-s", str(ADDONS / "main.py")]
    command += ["--mode", "reverse:http://upstream.invalid", "--listen-host", "127.0.0.1"]
    command += ["--listen-port", str(proxy_port), "--set", f"web_password={PASSWORD}", "--set", f"confdir={tmp_path}"]
    environment = {**installation.data_plane, **own}
    health = f"http://127.0.0.1:{metrics_port}/healthz"
    supervisor = Supervisor(tmp_path)
    page, body = requests.Session(), {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    try:
        supervisor.start(Program("mitmweb", tuple(command), environment, lambda: programs.is_up(health)))
        headers = {"authorization": f"Bearer {token.secret}"}
        chat = f"http://127.0.0.1:{proxy_port}/v1/chat/completions"

        answer = requests.post(chat, json=body, headers=headers, timeout=20)
        flows = page.get(f"http://127.0.0.1:{page_port}/flows", params={"token": PASSWORD}, timeout=20)
        events = page.get(f"http://127.0.0.1:{page_port}/events", params={"token": PASSWORD}, timeout=20)

        assert answer.status_code == 200 and answer.text.rstrip().endswith("[DONE]")
        assert "/v1/chat/completions" in flows.text and events.ok
        for shown in (flows.text, events.text, (tmp_path / "mitmweb.log").read_text()):
            assert token.secret not in shown and installation.provider_key not in shown
        until(lambda: installation.usage_of(token, 1))
        assert requests.get(f"http://127.0.0.1:{page_port}/flows", timeout=20).status_code == 403
    finally:
        supervisor.stop()
