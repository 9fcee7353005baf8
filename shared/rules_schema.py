"""The contract about rules: which requests are let through, tagged, redacted, held or denied before they go out."""

from enum import StrEnum

import msgspec

from shared.redis_schema import PREFIX, ContractError

# The rules in force, as one document.
RULES = f"{PREFIX}rules"
LONGEST_HOLD_SECONDS = 600
LONGEST_FILTER = 2000


class Action(StrEnum):
    """What becomes of a request that a rule fits. The first rule that allows, holds or denies decides."""

    ALLOW = "allow"
    # Marked for whoever looks on, and the next rules are asked as well.
    TAG = "tag"
    # None of its bodies is shown to anybody, and the next rules are asked as well.
    REDACT = "redact"
    HOLD = "hold"
    DENY = "deny"


class OnDeadline(StrEnum):
    """What becomes of a held request that nobody decides about."""

    RELEASE = "release"
    REFUSE = "refuse"


class Rule(msgspec.Struct, frozen=True):
    """One rule as it is published. `project_id` empty: for all projects. New fields have a default.

    `filter` is an expression of mitmproxy's filter language about the request, whose patterns are those of RE2;
    `~comment` sees the line of shared/flow_schema.py. `expires_at_ms` (since the epoch) 0: never.
    """

    id: str
    name: str
    filter: str
    action: Action
    project_id: str = ""
    tag: str = ""
    hold_seconds: int = 60
    on_deadline: OnDeadline = OnDeadline.REFUSE
    expires_at_ms: int = 0


class RuleSet(msgspec.Struct, frozen=True):
    """All rules that are in force, in the order in which they are asked."""

    version: int = 0
    rules: list[Rule] = []


_decoder = msgspec.json.Decoder(RuleSet)


def encode_rules(rules: RuleSet) -> bytes:
    """Return what is published."""
    return msgspec.json.encode(rules)


def decode_rules(published: bytes) -> RuleSet:
    """Read what was published. Raises ContractError."""
    try:
        return _decoder.decode(published)
    except (TypeError, ValueError, msgspec.MsgspecError) as error:
        raise ContractError(f"unreadable rules: {error}") from error
