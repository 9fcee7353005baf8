"""Canaries: a provider key and a token are driven through everything, then every sink is searched for them."""

import json
import subprocess
import sys
from pathlib import Path

import openai
import pytest

from tests.journeys.conftest import Installation, until


def written(folder: Path) -> dict[str, bytes]:
    """Return every file of an installation: database, append-only file of Redis, logs, saved flows."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_neither_key_nor_token_is_written_anywhere(fresh_installation: Installation, runner: str) -> None:
    canary_key = fresh_installation.provider_key
    token = fresh_installation.token(fresh_installation.project("canary"), label="canary", max_requests=7)
    client, answers = fresh_installation.client(token), []
    ask = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    list(client.models.list())
    list(client.chat.completions.create(**ask, stream=True))
    for behaviour in ({"error_rate": 1}, {"abort_rate": 1}):
        with pytest.raises(openai.APIError):
            headers = {"x-mock-behaviour": json.dumps(behaviour)}
            list(client.chat.completions.create(**ask, stream=True, extra_headers=headers))
    for path in ("/v1/nothing", f"/v1/models/{token.secret}", f"/v1/{canary_key}", "/v1/models?key=" + token.secret):
        answers.append(fresh_installation.send(token.secret, path=path))
    answers.append(fresh_installation.send(canary_key))
    answers.append(fresh_installation.send(token.secret, "POST", "/v1/chat/completions", data=b"{"))
    for _ in range(4):
        answers.append(fresh_installation.send(token.secret))
    fresh_installation.manage("DELETE", f"/manage/tokens/{token.id}")
    answers.append(fresh_installation.send(token.secret))
    until(lambda: fresh_installation.manage("GET", f"/manage/tokens/{token.id}")["request_count"] == 7)
    api = [
        json.dumps(fresh_installation.manage("GET", path))
        for path in ("/manage/projects", "/manage/tokens", "/manage/requests", "/manage/openapi.json")
    ]

    fresh_installation.supervisor.stop()
    sinks = written(fresh_installation.folder)
    sinks |= {f"answer {at}": answer.content for at, answer in enumerate(answers)}
    sinks |= {f"api {at}": text.encode() for at, text in enumerate(api)}

    assert any("appendonly" in name for name in sinks) and any(name.endswith(".db") for name in sinks)
    assert runner == "engine" or any(name.startswith("flows-") and content for name, content in sinks.items())
    canaries = (canary_key.encode(), token.secret.encode())
    assert [name for name, content in sinks.items() if any(canary in content for canary in canaries)] == []
    assert 200 in {answer.status_code for answer in answers}


def test_no_crash_leaves_a_core_dump(installation: Installation) -> None:
    pids = installation.supervisor.pids()
    ours = {name: pid for name, pid in pids.items() if name.startswith(("proxy", "manager", "jobs"))}
    limits = {name: Path(f"/proc/{pid}/limits").read_text() for name, pid in ours.items()}
    sizes = {name: text.partition("Max core file size")[2].split()[:2] for name, text in limits.items()}

    assert len(sizes) >= 4 and set(map(tuple, sizes.values())) == {("0", "0")}


@pytest.mark.parametrize("runner", ["mitmdump"], indirect=True, scope="session")
def test_saved_flows_show_the_mask_and_can_be_read(fresh_installation: Installation) -> None:
    token = fresh_installation.token(fresh_installation.project("flows"))
    list(fresh_installation.client(token).models.list())
    fresh_installation.supervisor.stop()

    command = [
        str(Path(sys.executable).with_name("mitmdump")),
        "-nr",
        str(fresh_installation.folder / "flows-0.mitm"),
        "--flow-detail",
        "2",
    ]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout

    assert "/v1/models" in shown and "200" in shown
    assert token.secret not in shown and fresh_installation.provider_key not in shown
