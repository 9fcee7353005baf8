"""A conversation in a terminal: what is typed, commands, and answers as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import click

from manager.cli.chat.conversation import Attachment, Conversation, NotRead, Turn, attach, load, save
from manager.cli.chat.line import Counted, Line

HELP = """\
/model NAME    Ask another model.          /system TEXT   Tell the model something before all.
/attach FILE   Add an image or a file.     /retry         Ask the last question again.
/save FILE     Keep the conversation.      /load FILE     Go on with one that was kept.
/clear         Begin anew.                 /tokens        Tokens of this conversation.
/cost          What it has cost.           /quit          End; so does Ctrl-D.
A line that ends with \\ goes on in the next one. Ctrl-C stops an answer."""


class Screen(Protocol):
    """Where answers are shown."""

    def answer(self, pieces: Iterable[str]) -> str:
        """Show pieces as they come, and return their text. KeyboardInterrupt ends it with what there is."""

    def say(self, text: str) -> None:
        """Show a line of our own."""


@dataclass
class Talk:
    """What goes on in one session. `cost_of` tells what requests have cost, by their ids."""

    line: Line
    screen: Screen
    model: str
    cost_of: Callable[[list[str]], str]
    conversation: Conversation = field(default_factory=Conversation)
    most_tokens: int | None = None
    is_over: bool = False
    waiting: list[Attachment] = field(default_factory=list)
    _counted: list[Counted] = field(default_factory=list)

    def take(self, typed: str) -> None:
        """Do what was typed: a command, or something to say. Faults are told, and end nothing."""
        text = typed.strip()
        try:
            if text.startswith("/") and not text.startswith("//"):
                self._command(*text[1:].partition(" ")[::2])
            elif text:
                self.ask(text.removeprefix("/") if text.startswith("//") else text)
        except (NotRead, click.ClickException) as error:
            self.screen.say(str(error))

    def ask(self, text: str) -> None:
        """Say something and show the answer. Raises ClickException; what was said is then as if it never was."""
        asked = Turn("user", text, tuple(self.waiting))
        self.conversation.turns.append(asked)
        counted = Counted()
        said: list[str] = []
        try:
            answer = self.screen.answer(
                _kept(self.line.ask(self.conversation, self.model, counted, self.most_tokens), said)
            )
        except KeyboardInterrupt:
            answer = "".join(said)
            self.screen.say("(stopped)")
            self.conversation.turns.append(Turn("assistant", answer or "(nothing)", is_whole=False))
        except click.ClickException:
            self.conversation.turns.remove(asked)
            raise
        else:
            self.conversation.turns.append(Turn("assistant", answer))
        finally:
            self._counted.append(counted)
        self.waiting.clear()

    def report(self) -> dict[str, object]:
        """Return the last answer with its tokens, for programs."""
        last, counted = self.conversation.turns[-1], self._counted[-1]
        return {
            "model": self.model,
            "answer": last.text,
            "is_whole": last.is_whole,
            "prompt_tokens": counted.prompt_tokens,
            "completion_tokens": counted.completion_tokens,
            "request_id": counted.request_id,
        }

    def _command(self, name: str, rest: str) -> None:
        commands: dict[str, Callable[[str], None]] = {
            "help": lambda _: self.screen.say(HELP),
            "model": self._choose,
            "system": self._instruct,
            "attach": self._attach,
            "retry": self._retry,
            "save": self._save,
            "load": self._load,
            "clear": self._clear,
            "tokens": self._tell_tokens,
            "cost": lambda _: self.screen.say(self.cost_of([each.request_id for each in self._counted])),
            "quit": self._quit,
            "exit": self._quit,
        }
        if name not in commands:
            self.screen.say(f"/{name} is not known; /help shows what is.")
        else:
            commands[name](rest.strip())

    def _choose(self, name: str) -> None:
        self.model = name or self.model
        self.screen.say(f"The model is {self.model}.")

    def _instruct(self, text: str) -> None:
        self.conversation.system = text
        self.screen.say("The model is told so before all." if text else "The model is told nothing before.")

    def _attach(self, name: str) -> None:
        attachment = attach(Path(name).expanduser())
        self.waiting.append(attachment)
        self.screen.say(
            f"{attachment.name} ({attachment.kind}, {len(attachment.content):,} bytes) goes with what you say."
        )

    def _retry(self, _: str) -> None:
        asked = self.conversation.withdraw()
        if asked is None:
            self.screen.say("Nothing has been asked yet.")
            return
        self.waiting = [*asked.attachments]
        self.ask(asked.text)

    def _save(self, name: str) -> None:
        if not name:
            raise NotRead("Say in which file: /save FILE.")
        save(self.conversation, Path(name).expanduser())
        self.screen.say(f"Kept in {name}.")

    def _load(self, name: str) -> None:
        if not name:
            raise NotRead("Say which file: /load FILE.")
        self.conversation = load(Path(name).expanduser())
        self.screen.say(f"{len(self.conversation.turns)} turns are there again.")

    def _clear(self, _: str) -> None:
        self.conversation = Conversation(self.conversation.system)
        self.screen.say("Begun anew.")

    def _tell_tokens(self, _: str) -> None:
        prompt = sum(each.prompt_tokens for each in self._counted)
        completion = sum(each.completion_tokens for each in self._counted)
        self.screen.say(f"{prompt:,} tokens read, {completion:,} written, in {len(self._counted)} requests.")

    def _quit(self, _: str) -> None:
        self.is_over = True


def _kept(pieces: Iterable[str], said: list[str]) -> Iterable[str]:
    for piece in pieces:
        said.append(piece)
        yield piece
