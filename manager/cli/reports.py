"""What the API tells that is no list: usage, limits, what is in flight, providers, its state."""

from __future__ import annotations

from typing import Any

import click

from manager.cli import shown
from manager.cli.options import Json, confirm, remote_options, watch_option, yes_option
from manager.cli.remote import connect
from manager.cli.resource import project_id

_GROUPS = ("hour", "day", "month", "project", "token", "route", "model", "status_class", "provider")
_SUMS = ("requests", "prompt_tokens", "completion_tokens", "total_tokens", "cost")


@click.command()
@click.option("--project", metavar="PROJECT", help="Of this project, by its name or id.")
@click.option("--token", "token_id", metavar="ID", help="Of this token.")
@click.option("--model", help="Of this model.")
@click.option("--provider", help="Of this provider.")
@click.option("--from", "since", metavar="MOMENT", help="Then or later: 2030-01-31T00:00:00Z.")
@click.option("--until", metavar="MOMENT", help="Before.")
@click.option("--by", multiple=True, type=click.Choice(_GROUPS), help="A sum for each; several times.")
@click.option("--most", type=click.IntRange(1, 10_000), default=1000, show_default=True, help="So many sums at most.")
@watch_option
@remote_options
def usage(
    project: str | None,
    since: str | None,
    by: tuple[str, ...],
    most: int,
    watch: float | None,
    url: str | None,
    is_json: bool,
    **wanted: str | None,
) -> None:
    """Sum up requests, tokens and money.

    \b
    llm-proxy usage --by day --by model --from 2030-01-01T00:00:00Z
    """
    remote = connect(url)
    query: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None} | {"limit": most}
    query |= {"project_id": project_id(remote, project)} if project else {}
    query |= {"from": since} if since else {}
    query |= {"group_by": ",".join(by)} if by else {}

    def show() -> None:
        found = remote.ask("GET", "/manage/usage", query)
        if is_json:
            shown.as_json(found)
            return
        shown.table(found["items"], [*by, *_SUMS], "No usage.")
        if found["is_cut"]:
            click.echo("There are more: say --most, or fewer --by.", err=True)

    shown.repeatedly(show, watch)


@click.group()
def limits() -> None:
    """Look after the limits of everything together, through the API."""


@limits.command("get")
@remote_options
def get_limits(url: str | None, is_json: bool) -> None:
    """Show them."""
    _show_limits(connect(url).ask("GET", "/manage/limits"), is_json)


@limits.command("update")
@click.argument("wanted", type=Json(), metavar="JSON|@FILE")
@yes_option
@remote_options
def set_limits(wanted: Any, yes: bool, url: str | None, is_json: bool) -> None:
    """Replace them, all at once.

    \b
    llm-proxy limits update '[{"measure": "cost", "window": "day", "amount": "50.00"}]'
    """
    confirm("Replace the limits of everything?", yes)
    _show_limits(connect(url).ask("PUT", "/manage/limits", body={"limits": wanted}), is_json)


def _show_limits(found: dict[str, Any], is_json: bool) -> None:
    if is_json:
        shown.as_json(found)
    else:
        shown.table(found["limits"], ("measure", "window", "amount", "burst", "on_outage"), "No limits.")


@click.group()
def provider() -> None:
    """Look at the providers that the manager knows, through the API."""


@provider.command("list")
@remote_options
def list_providers(url: str | None, is_json: bool) -> None:
    """List them."""
    found = connect(url).ask("GET", "/manage/providers")["items"]
    if is_json:
        shown.as_json(found)
    else:
        shown.table(found, ("name", "base_url", "dialect"))


@provider.command("get")
@click.argument("name")
@remote_options
def get_provider(name: str, url: str | None, is_json: bool) -> None:
    """Show one with its routes."""
    from urllib.parse import quote

    found = connect(url).ask("GET", f"/manage/providers/{quote(name, safe='')}")
    if is_json:
        shown.as_json(found)
    else:
        shown.details({name: value for name, value in found.items() if name != "routes"})
        shown.table(found["routes"], ("name", "methods", "path"))


@click.group()
def live() -> None:
    """Look at requests in flight, and end them, through the API."""


@live.command("list")
@click.option("--project", metavar="PROJECT", help="Of this project, by its name or id.")
@watch_option
@remote_options
def list_live(project: str | None, watch: float | None, url: str | None, is_json: bool) -> None:
    """List them, the oldest first."""
    remote = connect(url)
    query = {"project_id": project_id(remote, project)} if project else {}

    def show() -> None:
        found = remote.ask("GET", "/manage/live", query)
        if is_json:
            shown.as_json(found)
        else:
            columns = ("request_id", "token_label", "model", "route", "state", "chunks", "started_at", "worker")
            shown.table(found["items"], columns, "Nothing is in flight.")

    shown.repeatedly(show, watch)


@live.command("cut")
@click.argument("request_id")
@click.option("--reason", default="", help="Why, for the audit.")
@remote_options
def cut(request_id: str, reason: str, url: str | None, is_json: bool) -> None:
    """End one at once."""
    from urllib.parse import quote

    connect(url).ask("POST", f"/manage/live/{quote(request_id, safe='')}/cut", body={"reason": reason})
    shown.as_json({"done": [request_id]}) if is_json else click.echo(f"{request_id}: is being cut")


@click.command()
@watch_option
@remote_options
def status(watch: float | None, url: str | None, is_json: bool) -> None:
    """Show how both planes are, and the proxies of this machine; exit code 1 if something is not ready."""
    from manager.cli.running import here

    remote = connect(url)
    ready = True

    def show() -> None:
        nonlocal ready
        found = remote.ask("GET", "/manage/status")
        ready = bool(found["is_ready"])
        if is_json:
            shown.as_json({**found, "here": here()})
            return
        shown.details({"version": found["version"], "is_ready": found["is_ready"], **found["checks"]})
        for plane in ("data_plane", "control_plane"):
            click.echo(f"\n{plane.replace('_', ' ')}")
            shown.details(found[plane])
        if proxies := here():
            click.echo("\non this machine")
            shown.table(proxies, ("pid", "port", "workers", "phase", "failure"))

    shown.repeatedly(show, watch)
    if not ready:
        raise SystemExit(1)
