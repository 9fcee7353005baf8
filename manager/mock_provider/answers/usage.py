"""Token counts in the shapes of the chat and completion APIs."""

from typing import Any

_DETAILS: dict[str, Any] = {
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 0,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}


def chat_usage(prompt: int, completion: int) -> dict[str, Any]:
    """``prompt_tokens``, ``completion_tokens`` and their sum, with OpenAI's details."""
    counts = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return {**counts, **_DETAILS}
