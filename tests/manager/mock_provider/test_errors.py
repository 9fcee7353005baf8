"""Errors are worded as the real providers word them."""

import json

import pytest

from manager.mock_provider.errors import ProviderError, anthropic_body, invalid, missing, openai_body


def test_openai_errors_have_four_members() -> None:
    body = json.loads(openai_body(missing("messages")))

    assert body == {
        "error": {
            "message": "Missing required parameter: 'messages'.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "missing_required_parameter",
        }
    }


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, "invalid_request_error"), (429, "requests"), (500, "server_error")],
)
def test_openai_types_follow_the_status(status: int, kind: str) -> None:
    assert json.loads(openai_body(ProviderError(status, "no")))["error"]["type"] == kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (529, "overloaded_error"),
        (500, "api_error"),
    ],
)
def test_anthropic_types_follow_the_status(status: int, kind: str) -> None:
    body = json.loads(anthropic_body(ProviderError(status, "no")))

    assert body == {"type": "error", "error": {"type": kind, "message": "no"}}


def test_a_code_is_told_to_anthropic_callers_too() -> None:
    body = json.loads(anthropic_body(invalid("n", "a number")))

    assert body["error"]["code"] == "invalid_value"
