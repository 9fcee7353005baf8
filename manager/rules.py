"""What the operator's settings say about projects and keys."""

from dataclasses import dataclass, field

from shared.providers import ProviderTable
from shared.sealing import Keyring


@dataclass(frozen=True)
class Rules:
    """What projects are checked against and their keys sealed with. `own_secrets` are never a provider's key."""

    keyring: Keyring
    table: ProviderTable
    allow_http_upstream: bool
    own_secrets: frozenset[str] = field(default=frozenset(), repr=False)
