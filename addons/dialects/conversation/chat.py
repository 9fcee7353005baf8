"""Chat completions and completions, as OpenAI's API has them and many others after it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from addons.dialects.conversation import attachments, pieces
from addons.dialects.conversation.plain import arguments, fields, items, number, plain, text, word
from addons.dialects.conversation.turns import MOST_BLOCKS, Block, Kind, Turn, told, turn


def asked(document: dict[str, Any]) -> list[Turn]:
    """Return the turns of a request for a chat completion."""
    return told(message, items(document.get("messages")))


def answered(document: dict[str, Any]) -> list[Turn]:
    """Return the turns of an answer: one for each choice."""
    choices = items(document.get("choices"))
    return told(lambda choice: _choice(fields(choice), len(choices) > 1), choices)


def ending(document: dict[str, Any]) -> str:
    """Return why the choices ended."""
    reasons = [word(fields(choice).get("finish_reason")) for choice in items(document.get("choices"))]
    return ", ".join(dict.fromkeys(reason for reason in reasons if reason))


def _choice(choice: dict[str, Any], is_one_of_many: bool) -> Turn:
    said = message(choice.get("message")) if "message" in choice else Turn("assistant", ())
    if text(choice.get("text")):
        said = Turn("assistant", (Block(Kind.TEXT, plain(choice["text"])),))
    role = f"{said.role or 'assistant'}, choice {number(choice.get('index')) + 1}" if is_one_of_many else said.role
    return Turn(role or "assistant", said.blocks)


def message(said: Any) -> Turn:
    """Return a message as a turn."""
    heard = fields(said)
    role, name = word(heard.get("role")), word(heard.get("name"))
    if role in ("tool", "function"):
        result = pieces.part({"type": "tool_result", "content": heard.get("content"), "name": name})
        identity = word(heard.get("tool_call_id"))
        return turn(role, [Block(result[0].kind, result[0].text, result[0].name, identity), *result[1:]])
    blocks = [Block(Kind.REASONING, thought) for thought in (_thought(heard),) if thought]
    blocks += pieces.blocks(heard.get("content"))
    blocks += [Block(Kind.REFUSAL, plain(heard["refusal"]))] if text(heard.get("refusal")) else []
    blocks += _sound(fields(heard.get("audio")))
    blocks += _calls(heard)
    return turn(f"{role} {name}".strip(), blocks)


def _thought(heard: dict[str, Any]) -> str:
    return plain(heard.get("reasoning_content")) or plain(heard.get("reasoning"))


def _sound(audio: dict[str, Any]) -> list[Block]:
    blocks = [Block(Kind.TEXT, plain(audio["transcript"]))] if text(audio.get("transcript")) else []
    if text(audio.get("data")):
        blocks.append(attachments.encoded("audio", audio["data"]))
    elif text(audio.get("id")):
        blocks.append(attachments.attachment("audio", audio["id"]))
    return blocks


def _calls(heard: dict[str, Any]) -> list[Block]:
    calls = items(heard.get("tool_calls"))[: MOST_BLOCKS + 1]
    found = [_call(fields(call)) for call in calls]
    return found + ([_call({"function": heard["function_call"]})] if fields(heard.get("function_call")) else [])


def _call(call: dict[str, Any]) -> Block:
    called = fields(call.get("function")) or fields(call.get("custom"))
    with_what = called.get("arguments", called.get("input"))
    return Block(Kind.CALL, arguments(with_what), word(called.get("name")), word(call.get("id")))


def prompted(document: dict[str, Any]) -> list[Turn]:
    """Return the turns of a request for a completion: a prompt, or several, as text or as numbers of tokens."""
    prompt = document.get("prompt")
    prompts: Sequence[Any] = [prompt] if not isinstance(prompt, list) or _is_tokens(prompt) else prompt
    turns = told(lambda each: Turn("prompt", tuple(_prompt(each))), [each for each in prompts if each])
    suffix = plain(document.get("suffix"))
    return turns + ([Turn("suffix", (Block(Kind.TEXT, suffix),))] if suffix else [])


def _is_tokens(prompt: list[Any]) -> bool:
    return bool(prompt) and isinstance(prompt[0], int)


def _prompt(prompt: Any) -> list[Block]:
    if isinstance(prompt, list):
        return [Block(Kind.NOTE, f"{len(prompt)} tokens, given as numbers")]
    return pieces.blocks(prompt)


# Streams


@dataclass
class _Heard:
    """A choice of a stream, as far as it has come."""

    fields: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    calls: dict[int, "_Heard"] = field(default_factory=dict)

    def add(self, known: dict[str, Any], growing: Iterable[str]) -> None:
        """Take what an event adds: some fields grow, the others are said once."""
        for name in growing:
            if text(known.get(name)):
                self.texts.setdefault(name, []).append(known[name])
        self.fields |= {name: value for name, value in known.items() if value is not None and name not in growing}

    def whole(self) -> dict[str, Any]:
        """Return the fields, put together."""
        return self.fields | {name: "".join(said) for name, said in self.texts.items()}


_SAID = ("content", "refusal", "reasoning_content", "reasoning", "text")
_CALLED = ("arguments", "input")
_HEARD = ("transcript", "data")
_ONCE = ("id", "model", "usage", "error", "service_tier")


def joined(events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the document that the events of a stream would have been without streaming."""
    whole: dict[str, Any] = {}
    choices: dict[int, _Heard] = {}
    for event in events:
        whole |= {name: event[name] for name in _ONCE if event.get(name) is not None}
        for choice in map(fields, items(event.get("choices"))):
            _listen(choices.setdefault(number(choice.get("index")), _Heard()), choice)
    return whole | {"choices": [_put_together(index, choices[index]) for index in sorted(choices)]}


def _listen(heard: _Heard, choice: dict[str, Any]) -> None:
    delta = fields(choice.get("delta"))
    heard.add(delta | {name: choice[name] for name in ("text", "finish_reason") if choice.get(name)}, _SAID)
    if audio := fields(delta.get("audio")):
        heard.calls.setdefault(-1, _Heard()).add(audio, _HEARD)
    called = items(delta.get("tool_calls"))
    if fields(delta.get("function_call")):
        called = [{"function": delta["function_call"]}]
    for call in map(fields, called):
        part = heard.calls.setdefault(abs(number(call.get("index"))), _Heard())
        part.add(fields(call.get("function")) or fields(call.get("custom")), _CALLED)
        part.fields |= {"id": call["id"]} if call.get("id") else {}


def _put_together(index: int, heard: _Heard) -> dict[str, Any]:
    said = heard.whole()
    said["audio"] = heard.calls.pop(-1, _Heard()).whole()
    said["tool_calls"] = [{"id": c.fields.get("id"), "function": c.whole()} for _, c in sorted(heard.calls.items())]
    said.pop("function_call", None)
    choice = {"index": index, "message": said, "finish_reason": said.pop("finish_reason", None)}
    return choice | ({"text": said.pop("text")} if "text" in said else {})
