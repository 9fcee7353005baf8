"""What the operator's settings say about projects and keys."""

from dataclasses import dataclass

from shared.providers import ProviderTable
from shared.sealing import Keyring


@dataclass(frozen=True)
class Rules:
    """What projects are checked against and their keys sealed with."""

    keyring: Keyring
    table: ProviderTable
    allow_http_upstream: bool
