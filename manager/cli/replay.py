"""Recorded flows used again: asked once more through the proxy, or as an offline provider."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import click

from manager.cli import shown
from manager.cli.endings import Refused, Unreachable, hinted
from manager.cli.options import json_option, url_option
from manager.cli.remote import connect
from shared import settings as environment
from shared.settings import Plane, SettingsError

SECONDS = 300.0
# What stands where something was hidden; see addons/hiding.py.
_HIDDEN = re.compile(r"\[(?:key|email|card|phone|iban|hidden|value)(?: \d+)?\]|\*{4}")
_FLOW_FILE = "flows.mitm"


@click.command("replay")
@click.argument("request_id")
@click.option("--model", help="Ask another model.")
@click.option(
    "--proxy", "proxy_url", metavar="URL", help="The proxy; else LLM_PROXY_PUBLIC_URL, else that of this machine."
)
@click.option(
    "--as-shown", is_flag=True, help="Send it though something in it is hidden: with the words that stand there."
)
@url_option
@json_option
def replay(
    request_id: str, model: str | None, proxy_url: str | None, as_shown: bool, url: str | None, is_json: bool
) -> None:
    """Send a recorded request once more, through the proxy, with the withering token in LLM_PROXY_TOKEN.

    It is admitted, counted and charged like any other. The token's project says which provider and key it goes to.
    """
    from urllib.parse import quote

    import requests

    from manager import local_http

    try:
        settings = environment.load(Plane.CLIENT)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    if not settings.client_token:
        raise click.UsageError(hinted("No token is given.", "set LLM_PROXY_TOKEN, or LLM_PROXY_TOKEN_FILE to its file"))
    record = connect(url).ask("GET", f"/manage/flows/{quote(request_id, safe='')}")
    body = _body(record, model, as_shown)
    where = (proxy_url or settings.public_url).rstrip("/").removesuffix("/v1")
    headers = {"authorization": f"Bearer {settings.client_token}", "content-type": "application/json"}
    try:
        with local_http.session() as session:
            answer = session.request(
                record["method"], where + path_of(record["url"]), data=body, headers=headers, timeout=SECONDS
            )
    except requests.RequestException:
        raise Unreachable(hinted(f"{where} cannot be reached.", "is it running? see `llm-proxy doctor`")) from None
    told = {
        "status": answer.status_code,
        "request_id": answer.headers.get("x-llm-proxy-request-id", ""),
        "before": {"status": record["status"], "model": record["model"]},
        "answer": answer.text,
    }
    if is_json:
        shown.as_json(told)
    else:
        click.echo(f"{answer.status_code} (before: {record['status']}), request {told['request_id']}", err=True)
        click.echo(answer.text)
    if answer.status_code >= 400:
        raise Refused(f"The answer is {answer.status_code}.")


def path_of(url: str) -> str:
    """Return the path that a client asks the proxy for: of where a request went, what is before /v1 is the provider's.

    >>> path_of("https://eu.example.org/v1/acct/openai/v1/models?limit=3")
    '/v1/models?limit=3'
    """
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    start = max(parts.path.rfind("/v1/"), 0)
    return parts.path[start:] + (f"?{parts.query}" if parts.query else "")


def _body(record: dict[str, Any], model: str | None, as_shown: bool) -> bytes:
    request = record["request"]
    if request["is_cut"] or (request["body"] is None and request["size"]):
        reason = "Its body is not recorded whole."
        raise click.UsageError(
            hinted(reason, "a project that captures `full` has whole bodies, up to its max_body_bytes")
        )
    text = str(request["body"] or "")
    if _HIDDEN.search(text + record["url"]) and not as_shown:
        raise click.UsageError(
            hinted("Something in it is hidden.", "--as-shown sends the words that stand there instead")
        )
    if model is None:
        return text.encode()
    try:
        document = json.loads(text)
        document["model"] = model
    except (ValueError, TypeError):
        raise click.UsageError("Its body is no JSON object, so no other model can be put in.") from None
    return json.dumps(document, ensure_ascii=False).encode()


@click.command("serve")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--port", default=8090, show_default=True, type=click.IntRange(1, 65535))
@click.option("--any-body", is_flag=True, help="Answer by method and path alone, whatever is asked.")
def serve(file: str, port: int, any_body: bool) -> None:
    """Play the provider from an export, offline: each recorded request gets its recorded answer, all others 404.

    FILE is what `flows export` wrote, or the flow file in it. Point a project's base URL here. It listens on loopback.
    """
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="llm-proxy-replay-"))
    flows, scheme = _flow_file(Path(file), folder)
    command = [str(Path(sys.executable).with_name("mitmdump")), "--quiet", "--listen-host", "127.0.0.1"]
    command += [
        "--listen-port",
        str(port),
        "--mode",
        f"reverse:{scheme}://offline.invalid",
        "--set",
        f"confdir={folder}",
    ]
    options = {
        "connection_strategy": "lazy",
        "server_replay": str(flows),
        "server_replay_reuse": "true",
        "server_replay_extra": "404",
        "server_replay_refresh": "false",
        "server_replay_ignore_host": "true",
        "server_replay_ignore_port": "true",
        "server_replay_ignore_content": str(any_body).lower(),
    }
    for name, value in options.items():
        command += ["--set", f"{name}={value}"]
    click.echo(f"Answers of {file} at http://127.0.0.1:{port}. Running until Ctrl-C.", err=True)
    _run(command, folder)


def _run(command: list[str], folder: Path) -> None:
    import shutil
    import signal
    import subprocess

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    process = subprocess.Popen(command)  # noqa: S603 - our own command
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        code = 0
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if code:
        raise SystemExit(1)


def _flow_file(file: Path, folder: Path) -> tuple[Path, str]:
    """Return the flow file, taken out of the export if it is in one, and the scheme of its URLs. Raises UsageError."""
    import zipfile

    if not zipfile.is_zipfile(file):
        return file, "https"
    try:
        with zipfile.ZipFile(file) as opened:
            entries = json.loads(opened.read("flows.har"))["log"]["entries"]
            scheme = entries[0]["request"]["url"].partition(":")[0] if entries else "https"
            return Path(opened.extract(_FLOW_FILE, folder)), "http" if scheme == "http" else "https"
    except (KeyError, ValueError, zipfile.BadZipFile):
        raise click.UsageError(f"{file} is no export: there is no {_FLOW_FILE} in it.") from None
