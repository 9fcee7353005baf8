"""Recorded flows: looked at, and taken away as evidence."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import click

from manager.cli import shown
from manager.cli.options import remote_options, watch_option
from manager.cli.remote import connect
from manager.cli.replay import replay, serve
from manager.cli.resource import project_id

_COLUMNS = ("request_id", "phase", "project_name", "token_label", "model", "status", "outcome", "error_code", "tags")


@click.group()
def flows() -> None:
    """Look at requests as the inspector's feed has them, redacted, and export them, through the API."""


@flows.command("list")
@click.option("--project", metavar="PROJECT", help="Of this project, by its name or id.")
@click.option("--from", "since", metavar="MOMENT", help="Then or later: 2030-01-31T00:00:00Z.")
@click.option("--until", metavar="MOMENT", help="Before.")
@click.option("--most", type=click.IntRange(1, 1000), default=50, show_default=True, help="So many at most.")
@watch_option
@remote_options
def list_flows(
    project: str | None,
    since: str | None,
    until: str | None,
    most: int,
    watch: float | None,
    url: str | None,
    is_json: bool,
) -> None:
    """List them, those first that were told of last."""
    remote = connect(url)
    query = _wanted("from", project_id(remote, project) if project else None, since, until) | {"limit": most}

    def show() -> None:
        found = remote.ask("GET", "/manage/flows", query)
        if is_json:
            shown.as_json(found["items"])
        else:
            shown.table(found["items"], _COLUMNS, "Nothing is recorded.")

    shown.repeatedly(show, watch)


@flows.command("get")
@click.argument("request_id")
@remote_options
def get_flow(request_id: str, url: str | None, is_json: bool) -> None:
    """Show one with heads and bodies, as far as they are recorded."""
    from urllib.parse import quote

    found = connect(url).ask("GET", f"/manage/flows/{quote(request_id, safe='')}")
    if is_json:
        shown.as_json(found)
        return
    messages = {name: found.pop(name) for name in ("request", "response")}
    shown.details(found)
    for name, message in messages.items():
        if message is not None:
            _show_message(name, message)


@flows.command("export")
@click.option("--output", type=click.Path(dir_okay=False), required=True, help="A file that is not there yet.")
@click.option("--request", "request_ids", multiple=True, metavar="ID", help="This request; several times.")
@click.option("--project", metavar="PROJECT", help="Of this project, by its name or id.")
@click.option("--from", "since", metavar="MOMENT", help="Then or later: 2030-01-31T00:00:00Z.")
@click.option("--until", metavar="MOMENT", help="Before.")
@remote_options
def export(
    output: str,
    request_ids: tuple[str, ...],
    project: str | None,
    since: str | None,
    until: str | None,
    url: str | None,
    is_json: bool,
) -> None:
    """Write a zip with a HAR, a flow file for mitmproxy, and a manifest with checksums; the audit knows of it.

    \b
    llm-proxy flows export --project "search team" --output evidence.zip
    """
    remote = connect(url)
    body = _wanted("since", project_id(remote, project) if project else None, since, until)
    body |= {"request_ids": list(request_ids)} if request_ids else {}
    content = remote.send("POST", "/manage/flows/export", body=body).content
    try:
        with open(os.open(Path(output), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
    except OSError as error:
        raise click.UsageError(f"{output} cannot be written: {error.strerror}") from None
    told = {"file": output, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    shown.as_json(told) if is_json else click.echo(f"{told['sha256']}  {output}")


flows.add_command(replay)
flows.add_command(serve)


def _wanted(since_name: str, project: str | None, since: str | None, until: str | None) -> dict[str, Any]:
    found = {"project_id": project, since_name: since, "until": until}
    return {name: value for name, value in found.items() if value is not None}


def _show_message(name: str, message: dict[str, Any]) -> None:
    click.echo(f"\n{name}")
    for field, value in message["headers"]:
        click.echo(f"  {shown.plain(field, None)}: {shown.plain(value, None)}")
    if message["body"] is not None:
        text = message["body"]
        click.echo("\n" + "".join(c if c in "\n\t" or c.isprintable() else "\ufffd" for c in text))
    if message["is_cut"] or message["body"] is None:
        click.echo(f"  [{message['note'] or 'it goes on'}; {message['size']} bytes]")
