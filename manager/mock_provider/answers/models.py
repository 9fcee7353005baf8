"""``GET /v1/models`` and ``GET /v1/models/{id}``."""

from typing import Any

import orjson

from manager.mock_provider.answers.events import CREATED

KNOWN = ("gpt-4o", "gpt-4o-mini", "text-embedding-3-small", "mock-1")


def listing() -> bytes:
    """The list of known models."""
    return orjson.dumps({"object": "list", "data": [_model(name) for name in KNOWN]})


def single(name: str) -> bytes:
    """One model; every name is a model here."""
    return orjson.dumps(_model(name))


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "mock"}
