"""What has been said: turns of text, images and files, which can be kept in a file."""

from __future__ import annotations

import base64
import json
import mimetypes
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LARGEST_FILE = 20 << 20


class NotRead(Exception):
    """A file cannot be taken in; the message says why, in one line."""


@dataclass(frozen=True)
class Attachment:
    """A file that goes with what is said. `kind` is its media type."""

    name: str
    kind: str
    content: bytes = field(repr=False)

    @property
    def is_image(self) -> bool:
        """Whether it is seen rather than read."""
        return self.kind.startswith("image/")

    @property
    def base64(self) -> str:
        """Its content as JSON can carry it."""
        return base64.b64encode(self.content).decode()


@dataclass(frozen=True)
class Turn:
    """What one side said. `role` is `user` or `assistant`; an answer that was stopped is not `is_whole`."""

    role: str
    text: str
    attachments: tuple[Attachment, ...] = ()
    is_whole: bool = True


@dataclass
class Conversation:
    """All turns, and what the model was told before."""

    system: str = ""
    turns: list[Turn] = field(default_factory=list)

    def withdraw(self) -> Turn | None:
        """Take back the last question and its answer, if any; returns the question."""
        while self.turns:
            turn = self.turns.pop()
            if turn.role == "user":
                return turn
        return None


def attach(path: Path) -> Attachment:
    """Take in a file. Raises NotRead."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise NotRead(f"{path} is larger than {LARGEST_FILE >> 20} MB.")
        content = path.read_bytes()
    except OSError as error:
        raise NotRead(f"{path} cannot be read: {error.strerror}.") from None
    kind = mimetypes.guess_type(path.name)[0] or ("text/plain" if _is_text(content) else "application/octet-stream")
    return Attachment(path.name, kind, content)


def save(conversation: Conversation, path: Path) -> None:
    """Keep a conversation in a file that only this user can read. Raises NotRead if it cannot be written."""
    turns = [
        {
            "role": turn.role,
            "text": turn.text,
            "is_whole": turn.is_whole,
            "attachments": [{"name": a.name, "kind": a.kind, "base64": a.base64} for a in turn.attachments],
        }
        for turn in conversation.turns
    ]
    text = json.dumps({"system": conversation.system, "turns": turns}, ensure_ascii=False, indent=2)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as error:
        raise NotRead(f"{path} cannot be written: {error.strerror}.") from None


def load(path: Path) -> Conversation:
    """Read a conversation that was kept. Raises NotRead."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        turns = [_turn(turn) for turn in kept["turns"]]
        return Conversation(str(kept["system"]), turns)
    except OSError as error:
        raise NotRead(f"{path} cannot be read: {error.strerror}.") from None
    except (KeyError, TypeError, ValueError):
        raise NotRead(f"{path} holds no conversation.") from None


def _turn(kept: dict[str, Any]) -> Turn:
    if kept["role"] not in ("user", "assistant"):
        raise ValueError(kept["role"])
    attachments = tuple(Attachment(a["name"], a["kind"], base64.b64decode(a["base64"])) for a in kept["attachments"])
    return Turn(kept["role"], str(kept["text"]), attachments, bool(kept["is_whole"]))


def _is_text(content: bytes) -> bool:
    try:
        return "\0" not in content.decode()
    except UnicodeDecodeError:
        return False
