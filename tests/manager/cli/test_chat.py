"""Rules of talking with a model: answers as they come, commands, files, and refusals in plain words."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import pytest
import requests
from click.testing import CliRunner, Result

from manager.cli import main
from manager.cli.chat.conversation import Attachment, Conversation, NotRead, Turn, attach, load, save
from manager.cli.chat.dialects import DIALECTS
from manager.cli.chat.line import Counted, Line, refusal_of
from manager.cli.chat.talk import Talk
from manager.cli.endings import Refused, Unreachable
from manager.mock_provider import serving
from shared import settings

TOKEN = "sk-stands-for-a-token-0123"
PICTURE = b"\x89PNG\r\n\x1a\n"

type Run = Callable[..., Result]


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """The URL of a provider that answers whatever is asked."""
    with serving(accepted_keys=[TOKEN]) as url:
        yield url


@pytest.fixture
def run(provider: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the command, without a terminal, in an environment with a token and nothing else of ours."""
    for variable in settings.variables():
        monkeypatch.delenv(variable.name, raising=False)
    monkeypatch.setenv("LLM_PROXY_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("LLM_PROXY_TOKEN", TOKEN)
    monkeypatch.setenv("LLM_PROXY_PUBLIC_URL", provider)

    def run(*arguments: str, **more: Any) -> Result:
        return CliRunner().invoke(main, list(arguments), **more)

    return run


@dataclass
class Paper:
    """A screen that keeps what it shows. Before piece number `stop_at` somebody presses Ctrl-C."""

    stop_at: int | None = None
    said: list[str] = field(default_factory=list)

    def answer(self, pieces: Iterable[str]) -> str:
        text = ""
        for number, piece in enumerate(pieces):
            if number == self.stop_at:
                raise KeyboardInterrupt
            text += piece
        self.said.append(text)
        return text

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def paper() -> Paper:
    return Paper()


@pytest.fixture
def talk(provider: str, paper: Paper) -> Iterator[Talk]:
    with requests.Session() as session:
        line = Line(provider, TOKEN, DIALECTS["openai"], session)
        yield Talk(line, paper, "m", lambda ids: f"{len(ids)} cost nothing")


# Once


def test_a_question_is_answered(run: Run) -> None:
    result = run("chat", "good morning")

    assert (result.exit_code, result.stdout) == (0, "You said: good morning\n")


def test_text_on_standard_input_is_asked(run: Run) -> None:
    assert run("openai", "chat", input="good evening").stdout == "You said: good evening\n"


def test_another_dialect_is_spoken(run: Run) -> None:
    assert run("chat", "--dialect", "anthropic", "good night").stdout == "You said: good night\n"


def test_an_answer_is_told_to_programs(run: Run) -> None:
    told = json.loads(run("chat", "--json", "--model", "gpt-4o", "good morning").stdout)

    assert (told["answer"], told["model"], told["is_whole"]) == ("You said: good morning", "gpt-4o", True)
    assert told["prompt_tokens"] > 0 and told["completion_tokens"] > 0


FAULTY = {
    "nothing": (["chat"], 2, "nothing to ask"),
    "no such file": (["chat", "--attach", "/nowhere", "hi"], 2, "cannot be read"),
    "no conversation": (["chat", "--load", __file__, "hi"], 2, "holds no conversation"),
    "nobody there": (["chat", "--proxy", "http://127.0.0.1:1", "hi"], 3, "cannot be reached"),
}


@pytest.mark.parametrize("case", FAULTY)
def test_what_is_wrong_is_said_in_a_line(run: Run, case: str) -> None:
    arguments, code, reason = FAULTY[case]

    result = run(*arguments, input="")

    assert (result.exit_code, reason in result.output) == (code, True), result.output


def test_without_a_token_it_says_how_to_give_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLM_PROXY_TOKEN")

    result = run("chat", "hi")

    assert result.exit_code == 2 and "LLM_PROXY_TOKEN" in result.output


def test_a_refusal_is_the_end(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_PROXY_TOKEN", "sk-another-0123456789")

    result = run("chat", "hi")

    assert result.exit_code == 4 and "sk-another" not in result.output


# A conversation


def test_what_was_said_is_remembered(talk: Talk, paper: Paper) -> None:
    talk.take("one")
    talk.take("two")

    assert paper.said == ["You said: one", "You said: two"]
    assert [(turn.role, turn.text) for turn in talk.conversation.turns][2:] == [
        ("user", "two"),
        ("assistant", "You said: two"),
    ]


def test_a_slash_can_be_said(talk: Talk, paper: Paper) -> None:
    talk.take("//etc")

    assert paper.said == ["You said: /etc"]


def test_commands_do_what_they_say(talk: Talk, paper: Paper, tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    talk.take("/model other")
    talk.take("/system be brief")
    talk.take("hello")
    talk.take("/retry")
    talk.take("/tokens")
    talk.take("/cost")
    talk.take(f"/save {file}")
    talk.take("/clear")
    cleared = list(talk.conversation.turns)
    talk.take(f"/load {file}")
    talk.take("/quit")

    assert (talk.model, talk.conversation.system, talk.is_over, cleared) == ("other", "be brief", True, [])
    assert len(talk.conversation.turns) == 2
    assert paper.said[2:4] == ["You said: hello", "You said: hello"]
    assert "in 2 requests" in paper.said[4] and paper.said[5] == "2 cost nothing"


@pytest.mark.parametrize("typed", ["/nonsense", "/save", "/load", "/load /nowhere", "/attach /nowhere", "/retry"])
def test_a_faulty_command_is_told_and_ends_nothing(talk: Talk, paper: Paper, typed: str) -> None:
    talk.take(typed)

    assert len(paper.said) == 1 and not talk.is_over and talk.conversation.turns == []


def test_an_answer_can_be_stopped(provider: str, talk: Talk) -> None:
    talk.screen = Paper(stop_at=2)

    talk.take("one two three four")

    [_, answer] = talk.conversation.turns
    assert not answer.is_whole and answer.text.startswith("You said:") and "four" not in answer.text
    talk.screen = paper = Paper()
    talk.take("/retry")
    assert paper.said == ["You said: one two three four"]


def test_what_was_refused_was_never_said(provider: str, paper: Paper) -> None:
    with requests.Session() as session:
        talk = Talk(Line(provider, "sk-wrong-0123456789", DIALECTS["openai"], session), paper, "m", str)
        talk.take("hi")

    assert talk.conversation.turns == [] and len(paper.said) == 1


# Files


def test_files_go_with_the_question(tmp_path: Path, talk: Talk, paper: Paper) -> None:
    (tmp_path / "a.png").write_bytes(PICTURE)
    (tmp_path / "b.txt").write_text("some text")
    talk.take(f"/attach {tmp_path / 'a.png'}")
    talk.take(f"/attach {tmp_path / 'b.txt'}")

    talk.take("what is this?")

    assert [each.name for each in talk.conversation.turns[0].attachments] == ["a.png", "b.txt"]
    assert talk.waiting == [] and "what is this?" in paper.said[-1]


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_each_dialect_carries_files(name: str) -> None:
    files = (Attachment("a.png", "image/png", PICTURE), Attachment("b.txt", "text/plain", b"some text"))
    files += (Attachment("c.pdf", "application/pdf", b"%PDF"),)
    conversation = Conversation("be brief", [Turn("user", "hi", files)])

    body = json.dumps(DIALECTS[name].body(conversation, "m", 7))

    assert "some text" in body and files[0].base64 in body and files[2].base64 in body and "be brief" in body


def test_a_conversation_is_kept_whole_and_private(tmp_path: Path) -> None:
    file = tmp_path / "kept"
    said = Conversation(
        "be brief", [Turn("user", "hi", (Attachment("a", "image/png", PICTURE),)), Turn("assistant", "é", (), False)]
    )

    save(said, file)

    assert load(file) == said and os.stat(file).st_mode & 0o077 == 0


def test_a_large_file_is_not_taken(tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(21 << 20)

    with pytest.raises(NotRead, match="larger than 20 MB"):
        attach(large)


# Refusals


@pytest.mark.parametrize("code", ["token_inactive", "quota_exceeded", "request_denied"])
def test_each_refusal_says_what_to_do(code: str) -> None:
    of_openai = refusal_of(403, {"error": {"message": "No.", "code": code, "type": "x"}})
    of_anthropic = refusal_of(403, {"type": "error", "error": {"type": "permission_error", "message": f"{code}: No."}})

    assert isinstance(of_openai, Refused) and "Hint:" in of_openai.message
    assert of_openai.message.splitlines()[1] == of_anthropic.message.splitlines()[1]


@pytest.mark.parametrize("told", [None, [], {}, {"error": "x"}, {"error": {"message": 1}}])
def test_a_strange_error_is_told_as_well(told: Any) -> None:
    assert isinstance(refusal_of(500, told), click.ClickException)


def test_an_answer_that_breaks_off_is_told(provider: str) -> None:
    with requests.Session() as session:
        session.headers["x-mock-behaviour"] = '{"abort_rate": 1}'
        line = Line(provider, TOKEN, DIALECTS["openai"], session)

        with pytest.raises(Unreachable, match="broke off"):
            list(line.ask(Conversation("", [Turn("user", "one two three four")]), "m", Counted()))
