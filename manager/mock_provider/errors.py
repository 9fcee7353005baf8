"""What the provider refuses with, in the error shapes of OpenAI and of Anthropic."""

from typing import Any

import orjson

_OPENAI_TYPES = {429: "requests"}
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class ProviderError(Exception):
    """A refusal: HTTP ``status``, ``message``, OpenAI's ``code`` and ``param``, extra response headers."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.headers = headers


def missing(param: str) -> ProviderError:
    """The 400 for a required parameter that was not given."""
    message = f"Missing required parameter: '{param}'."
    return ProviderError(400, message, code="missing_required_parameter", param=param)


def invalid(param: str, expected: str) -> ProviderError:
    """The 400 for a parameter that is not ``expected``."""
    return ProviderError(400, f"Invalid '{param}': expected {expected}.", code="invalid_value", param=param)


def openai_body(error: ProviderError) -> bytes:
    """``{"error": {"message", "type", "param", "code"}}``, as api.openai.com answers."""
    default = "server_error" if error.status >= 500 else "invalid_request_error"
    kind = _OPENAI_TYPES.get(error.status, default)
    fault = {"message": error.message, "type": kind, "param": error.param, "code": error.code}
    return orjson.dumps({"error": fault})


def anthropic_body(error: ProviderError) -> bytes:
    """``{"type": "error", "error": {"type", "message"}}``, as Anthropic answers, and a ``code`` if any."""
    default = "api_error" if error.status >= 500 else "invalid_request_error"
    fault: dict[str, Any] = {"type": _ANTHROPIC_TYPES.get(error.status, default), "message": error.message}
    if error.code is not None:
        fault["code"] = error.code
    return orjson.dumps({"type": "error", "error": fault})
