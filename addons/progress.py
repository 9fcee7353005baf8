"""How many tokens a running request has needed so far."""

from addons.call import Call
from addons.settlement import tokens_of


def tokens_so_far(call: Call) -> int:
    """Return what the provider has said, if it has; else what was asked and what has passed by, both estimated."""
    said = call.said.tokens if call.said else 0
    return max(tokens_of(call.answer.usage) or 0, (call.prompt_estimate or 0) + said)
