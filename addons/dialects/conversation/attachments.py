"""Images, sound and files in a conversation: told by kind and size, or by where they are. Bytes are never shown."""

from typing import Any
from urllib.parse import urlsplit

from addons.dialects.conversation.plain import decoded_size, fields, size, text, word
from addons.dialects.conversation.turns import Block, Kind


def attachment(kind: str, source: Any, name: Any = "") -> Block:
    """Return a block for what is given as a data URL, an address, an id or base64."""
    told = _told(kind, text(source))
    return Block(Kind.ATTACHMENT, ", ".join(each for each in (word(name), told) if each))


def encoded(kind: str, base64: Any, name: Any = "") -> Block:
    """Return a block for base64 of a known kind."""
    told = f"{word(kind)}, {size(decoded_size(text(base64)))}"
    return Block(Kind.ATTACHMENT, ", ".join(each for each in (word(name), told) if each))


def _told(kind: str, source: str) -> str:
    head, comma, base64 = source.partition(",")
    if head[:5].lower() == "data:" and comma:
        named = head[5:].partition(";")[0]
        return f"{word(named) or kind}, {size(decoded_size(base64))}"
    if "://" in source[:16]:
        return f"{kind} at {_address(source)}"
    if len(source) > 128:
        return f"{kind}, {size(decoded_size(source))}"
    return f"{kind} {word(source)}".strip()


def _address(url: str) -> str:
    """Return an address without what may be a password or a signature in it."""
    try:
        parts = urlsplit(url)
        return word(f"{parts.scheme}://{parts.hostname or ''}{parts.path}") + ("?..." if parts.query else "")
    except ValueError:
        return "an address"


def of_openai(part: dict[str, Any], kind: str) -> Block | None:
    """Return the attachment in a part of a message, as OpenAI's APIs have them; None if it is something else."""
    if kind in ("image_url", "input_image", "video_url"):
        given = part.get("image_url", part.get("video_url"))
        where = text(given) or text(fields(given).get("url")) or text(part.get("file_id"))
        return attachment("video" if kind == "video_url" else "image", where)
    if kind in ("input_audio", "output_audio", "audio"):
        sound = fields(part.get(kind)) or fields(part.get("audio")) or part
        return encoded("audio/" + (word(sound.get("format"), 20) or "unknown"), sound.get("data"))
    if kind in ("file", "input_file"):
        given = fields(part.get("file")) or part
        where = next((given[key] for key in ("file_data", "file_url", "file_id") if text(given.get(key))), "")
        return attachment("file", where, given.get("filename"))
    return None


def of_anthropic(part: dict[str, Any], kind: str) -> Block | None:
    """Return the attachment in a block of a message, as Anthropic has them; None if it is something else."""
    source = fields(part.get("source"))
    name, given = part.get("title"), text(source.get("type"))
    if kind not in ("image", "document") or not source or given in ("text", "content"):
        return None
    if given == "base64":
        return encoded(text(source.get("media_type")) or kind, source.get("data"), name)
    return attachment(kind, source.get("url") or source.get("file_id"), name)
