"""The control endpoints under ``/__mock__/``; they need no key and count in no ledger.

``GET DELETE ledger``: what was seen, and how many streams are held; forgets it.
``GET answered``: what whole answers have used, by their ids; the last 10,000 that told it.
``GET PUT DELETE behaviour``: the whole behaviour towards everyone; DELETE goes back to the one it was started with.
``GET PUT DELETE keys``: the behaviour towards one key, ``{"key": "sk-...", "status": 429, "retry_after_s": 2}``, of any
fields, laid over the one towards everyone; the key counts as accepted. DELETE ``{"key": ...}`` forgets it, without a
body all of them. Keys are shown masked.
``POST release``: lets held answers go on, by ``{"count": n}`` pieces or, without it, to their end.
"""

from collections.abc import Callable
from typing import Any

import orjson

from manager.mock_provider import behaviour as behaviours
from manager.mock_provider.errors import ProviderError, openai_body
from manager.mock_provider.provider import Provider
from manager.mock_provider.replies import Reply, json_reply

PREFIX = "/__mock__/"
_MOST_EVENTS = 1_000_000


def reply(provider: Provider, method: str, path: str, body: bytes) -> Reply:
    """Does what the request asks and says so: 200 and JSON; 400, 404 or 405 with an OpenAI-shaped error."""
    try:
        return json_reply(200, orjson.dumps(_find(method, path)(provider, body)))
    except ProviderError as error:
        return json_reply(error.status, openai_body(error), error.headers)
    except ValueError as fault:
        return json_reply(400, openai_body(ProviderError(400, str(fault), code="invalid_request")))


type _Action = Callable[[Provider, bytes], dict[str, Any]]


def _find(method: str, path: str) -> _Action:
    actions = _ACTIONS.get(path.removeprefix(PREFIX))
    if actions is None:
        raise ProviderError(404, f"Invalid URL ({method} {path})", code="unknown_url")
    if method not in actions:
        allow = ((b"allow", ", ".join(actions).encode()),)
        message = f"Not allowed to {method} on {path}."
        raise ProviderError(405, message, code="method_not_supported", headers=allow)
    return actions[method]


def _read_ledger(provider: Provider, _: bytes) -> dict[str, Any]:
    return {**provider.ledger.shown(), "held": len(provider.holds)}


def _reset_ledger(provider: Provider, body: bytes) -> dict[str, Any]:
    provider.ledger.reset()
    return _read_ledger(provider, body)


def _read_answered(provider: Provider, _: bytes) -> dict[str, Any]:
    return {"answered": provider.ledger.answered()}


def _read_behaviour(provider: Provider, _: bytes) -> dict[str, Any]:
    return provider.behaviour.as_dict()


def _set_behaviour(provider: Provider, body: bytes) -> dict[str, Any]:
    """Replaces the whole behaviour: what is not named goes back to its default."""
    provider.behave(behaviours.from_json(body))
    return _read_behaviour(provider, body)


def _reset_behaviour(provider: Provider, body: bytes) -> dict[str, Any]:
    provider.behave(provider.initial)
    return _read_behaviour(provider, body)


def _read_keys(provider: Provider, _: bytes) -> dict[str, Any]:
    return {"keys": provider.key_rules.shown()}


def _set_key(provider: Provider, body: bytes) -> dict[str, Any]:
    """Replaces all that was set for this key."""
    fields = orjson.loads(body)
    provider.treat(_key_in(fields), {name: value for name, value in fields.items() if name != "key"})
    return _read_keys(provider, body)


def _forget_keys(provider: Provider, body: bytes) -> dict[str, Any]:
    key = _key_in(orjson.loads(body)) if body else None
    return {"forgotten": provider.key_rules.forget(key)}


def _key_in(fields: Any) -> str:
    key = fields.get("key") if isinstance(fields, dict) else None
    if not isinstance(key, str) or not key:
        raise ValueError("key must be the key, in full, in a JSON object")
    return key


def _release(provider: Provider, body: bytes) -> dict[str, Any]:
    return {"released": provider.holds.release(_count(body))}


def _count(body: bytes) -> int | None:
    """How many events to release; None, without a body or a count, stands for all."""
    asked = orjson.loads(body) if body else {}
    count = asked.get("count") if isinstance(asked, dict) else asked
    if count is not None and (type(count) is not int or not 1 <= count <= _MOST_EVENTS):
        raise ValueError(f"count must be a whole number from 1 to {_MOST_EVENTS} or null, not {count!r}")
    return count


_ACTIONS: dict[str, dict[str, _Action]] = {
    "ledger": {"GET": _read_ledger, "DELETE": _reset_ledger},
    "answered": {"GET": _read_answered},
    "behaviour": {"GET": _read_behaviour, "PUT": _set_behaviour, "DELETE": _reset_behaviour},
    "keys": {"GET": _read_keys, "PUT": _set_key, "DELETE": _forget_keys},
    "release": {"POST": _release},
}
