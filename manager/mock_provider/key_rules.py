"""How requests with a certain key fare: set and forgotten at run time; of the key itself only a digest is kept."""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from manager.mock_provider import behaviour as behaviours
from manager.mock_provider.behaviour import Behaviour
from manager.mock_provider.keys import masked


class _Rule(NamedTuple):
    """What is shown of a key, and the behaviour fields set for it."""

    shown: str
    fields: Mapping[str, Any]


class KeyRules:
    """Behaviour by key, laid over the provider's."""

    def __init__(self) -> None:
        self._rules: dict[str, _Rule] = {}

    def put(self, key: str, fields: Mapping[str, Any]) -> None:
        """Replaces what was set for this key. Raises ValueError for fields that are no behaviour."""
        behaviours.parse(fields)
        self._rules[digest(key)] = _Rule(masked(key), fields)

    def forget(self, key: str | None = None) -> int:
        """Forgets what was set for this key (None: for all); returns for how many that was."""
        gone = list(self._rules) if key is None else [digest(key)]
        return sum(self._rules.pop(known, None) is not None for known in gone)

    def __contains__(self, key: str) -> bool:
        return bool(self._rules) and digest(key) in self._rules

    def over(self, base: Behaviour, key: str) -> Behaviour:
        """The behaviour towards this key."""
        return behaviours.parse(self._rules[digest(key)].fields, base) if key in self else base

    def shown(self) -> list[dict[str, Any]]:
        """Every rule, ready for JSON: ``key``, masked, and the fields that were set."""
        return [{"key": rule.shown, **rule.fields} for rule in self._rules.values()]


def digest(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()
