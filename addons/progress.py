"""How many tokens a running request has needed so far."""

from addons.call import Call
from addons.unsaid import completion_so_far


def tokens_so_far(call: Call) -> int:
    """Return the tokens of the prompt and of the answer up to now, as the provider counts them or as estimated."""
    prompt = call.answer.usage.prompt_tokens
    return (call.prompt_estimate or 0 if prompt is None else prompt) + completion_so_far(call)
