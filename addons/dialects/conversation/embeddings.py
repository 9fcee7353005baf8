"""Embeddings: what is embedded, and the vectors by their number, dimensions and length."""

import base64
import binascii
import math
import struct
from typing import Any

from addons.dialects.conversation import pieces
from addons.dialects.conversation.plain import fields, items, number
from addons.dialects.conversation.turns import Block, Kind, Turn

# Of so many inputs and vectors something is told; the others are counted.
MOST_SHOWN = 20
MOST_DIMENSIONS = 1 << 16


def asked(document: dict[str, Any]) -> list[Turn]:
    """Return what is to be embedded: a text, or several, or tokens."""
    given = document.get("input")
    inputs = given if isinstance(given, list) and not _is_numbers(given) else [given]
    turns = [Turn(f"input {place}", tuple(_input(each))) for place, each in enumerate(inputs[:MOST_SHOWN], 1)]
    return turns + _others(len(inputs) - MOST_SHOWN, "inputs")


def _input(given: Any) -> list[Block]:
    if isinstance(given, list):
        return [Block(Kind.NOTE, f"{len(given)} tokens, given as numbers")]
    return pieces.blocks(given)


def answered(document: dict[str, Any]) -> list[Turn]:
    """Return the vectors of an answer, in short."""
    found = items(document.get("data"))
    if not found:
        return []
    count = Block(Kind.NOTE, f"{len(found)} vector" + ("s" if len(found) != 1 else ""))
    told = [Block(Kind.NOTE, _vector(fields(each))) for each in found[:MOST_SHOWN]]
    return [Turn("embeddings", (count, *told)), *_others(len(found) - MOST_SHOWN, "vectors")]


def ending(document: dict[str, Any]) -> str:
    """Embeddings do not say why they end."""
    return ""


def _others(count: int, what: str) -> list[Turn]:
    return [Turn("...", (Block(Kind.NOTE, f"{count} more {what}"),))] if count > 0 else []


def _is_numbers(given: list[Any]) -> bool:
    return bool(given) and isinstance(given[0], int | float)


def _vector(embedded: dict[str, Any]) -> str:
    vector = _numbers(embedded.get("embedding"))
    if vector is None:
        return f"{number(embedded.get('index'))}: not a vector"
    norm = math.hypot(*vector)
    return f"{number(embedded.get('index'))}: {len(vector)} dimensions, norm {norm:.4f}"


def _numbers(embedding: Any) -> list[float] | None:
    """Return the numbers of a vector, which may be 32-bit floats in base64."""
    if isinstance(embedding, list):
        some = embedding[:MOST_DIMENSIONS]
        return some if all(isinstance(each, int | float) and abs(each) < 1e150 for each in some) else None
    if not isinstance(embedding, str) or len(embedding) > MOST_DIMENSIONS * 6:
        return None
    try:
        packed = base64.b64decode(embedding, validate=True)
    except (ValueError, binascii.Error):
        return None
    return list(struct.unpack(f"<{len(packed) // 4}f", packed[: len(packed) // 4 * 4]))


def joined(events: Any) -> dict[str, Any]:
    """Embeddings do not come as streams; whatever else comes as one is told as it is."""
    return {"events": list(events)}
