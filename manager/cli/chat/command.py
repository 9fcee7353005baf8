"""`llm-proxy chat`, and `llm-proxy openai chat`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from manager.cli.endings import hinted
from shared import settings as environment
from shared.settings import Plane, Settings, SettingsError

_DEFAULT_MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-3-5-haiku-latest"}


@click.command()
@click.argument("text", required=False)
@click.option("--model", help="Ask this model.")
@click.option("--system", default="", help="Tell the model this before all.")
@click.option("--attach", "files", multiple=True, type=click.Path(), help="An image or a file; several times.")
@click.option("--load", "kept", type=click.Path(), help="Go on with a conversation that was kept.")
@click.option("--max-tokens", type=click.IntRange(1), help="So many tokens of answer at most.")
@click.option("--dialect", type=click.Choice(list(_DEFAULT_MODELS)), default="openai", show_default=True)
@click.option("--proxy", "url", metavar="URL", help="The proxy; else LLM_PROXY_PUBLIC_URL, else that of this machine.")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object: answer, tokens, id of the request.")
def chat(
    text: str | None,
    model: str | None,
    system: str,
    files: tuple[str, ...],
    kept: str | None,
    max_tokens: int | None,
    dialect: str,
    url: str | None,
    is_json: bool,
) -> None:
    """Talk with a model through the proxy, with the withering token in LLM_PROXY_TOKEN.

    With TEXT, or with text on standard input, it is asked once and the answer printed.

    \b
    llm-proxy chat "Why is the sky blue?"
    llm-proxy chat --attach report.pdf "Sum it up." > summary.md
    """
    from manager import local_http
    from manager.cli import shown
    from manager.cli.chat import screens
    from manager.cli.chat.conversation import NotRead, attach, load
    from manager.cli.chat.dialects import DIALECTS
    from manager.cli.chat.line import Line
    from manager.cli.chat.talk import Talk

    is_once = text is not None or not sys.stdin.isatty()
    is_drawn = sys.stdout.isatty() and not environment.wants_no_colour()
    screen = screens.Quiet() if is_json else screens.Rendered() if is_drawn else screens.Plain()
    settings = _settings()
    where = url or settings.public_url
    line = Line(where, _token(settings, is_once), DIALECTS[dialect], local_http.session())
    talk = Talk(line, screen, model or _DEFAULT_MODELS[dialect], _cost_of, most_tokens=max_tokens)
    try:
        if kept:
            talk.conversation = load(Path(kept).expanduser())
        talk.conversation.system = system or talk.conversation.system
        talk.waiting = [attach(Path(name).expanduser()) for name in files]
    except NotRead as error:
        raise click.UsageError(str(error)) from None
    if is_once:
        asked = "\n\n".join(filter(None, [text, _from_input()]))
        if not asked.strip():
            raise click.UsageError("There is nothing to ask.")
        talk.ask(asked)
        if is_json:
            shown.as_json(talk.report())
        if not talk.conversation.turns[-1].is_whole:
            raise KeyboardInterrupt
        return
    screen.say(f"{talk.model} at {where}. /help shows what can be done.")
    for typed in screens.typed():
        talk.take(typed)
        if talk.is_over:
            return


@click.group()
def openai() -> None:
    """Use OpenAI's API through the proxy."""


openai.add_command(chat)


def _settings() -> Settings:
    try:
        return environment.load(Plane.CLIENT)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None


def _token(settings: Settings, is_once: bool) -> str:
    if settings.client_token:
        return settings.client_token
    if is_once or not sys.stdin.isatty():
        raise click.UsageError(hinted("No token is given.", "set LLM_PROXY_TOKEN, or LLM_PROXY_TOKEN_FILE to its file"))
    return str(click.prompt("Withering token", hide_input=True)).strip()


def _from_input() -> str:
    return "" if sys.stdin.isatty() else sys.stdin.read()


def _cost_of(request_ids: list[str]) -> str:
    """Tell what requests have cost, as the management API knows it."""
    from decimal import Decimal

    from manager.cli.remote import connect

    try:
        remote = connect()
        found = [
            each for name in request_ids if name for each in remote.pages("/manage/requests", {"request_id": name}, 1)
        ]
    except click.ClickException as error:
        return f"Only the management API knows: {error.message.splitlines()[0]}"
    known = [Decimal(each["cost"]) for each in found if each.get("cost") is not None]
    missing = len(request_ids) - len(known)
    return f"{sum(known, Decimal(0))} USD" + (f"; of {missing} requests it is not known (yet)" if missing else "")
