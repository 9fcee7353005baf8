"""The line to the proxy: asks, and gives the answer piece by piece."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from manager.cli.chat.conversation import Conversation
from manager.cli.chat.dialects import Dialect
from manager.cli.endings import Refused, Unreachable, hinted

if TYPE_CHECKING:
    import requests

# Between two pieces of an answer.
SILENCE_SECONDS = 300.0
CONNECT_SECONDS = 10.0
# What to do about each refusal of the proxy.
ADVICE = {
    "missing_token": "set LLM_PROXY_TOKEN to a withering token",
    "invalid_token": "this is no withering token, or a letter of it is wrong",
    "token_not_found": "it is not known here: is this the right proxy?",
    "token_expired": "its time is over: ask for a new one",
    "token_inactive": "it has been revoked: ask for a new one",
    "project_inactive": "its project has been switched off",
    "model_not_allowed": "choose another one with /model or --model",
    "model_not_priced": "spending is limited and this model has no price: choose another one",
    "quota_exceeded": "all its requests or its budget are used up: ask for a new one",
    "rate_limit_exceeded": "wait a moment, then /retry",
    "request_too_large": "say less, or attach less",
    "request_cut": "an operator has ended it",
    "request_denied": "a rule of the operators is against it",
    "request_refused": "an operator has looked at it and refused it",
    "hold_expired": "an operator was to look at it, and nobody did in time",
    "endpoint_not_found": "the project's provider has no such API: try `llm-proxy chat --dialect` with another one",
    "upstream_timeout": "the provider is slow: /retry",
    "upstream_error": "the provider cannot be reached: /retry later",
    "circuit_open": "the provider is failing and left alone for a moment: /retry later",
    "service_unavailable": "the proxy cannot decide right now: /retry in a moment",
}


@dataclass
class Counted:
    """Tokens of one answer, as far as the provider has told them, and the proxy's id of the request."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    request_id: str = ""


class Line:
    """One proxy, one token. Raises Unreachable (exit code 3) or Refused (4)."""

    def __init__(self, url: str, token: str, dialect: Dialect, session: requests.Session) -> None:
        self._url = url.rstrip("/").removesuffix("/v1")
        self._headers = dialect.headers(token)
        self._dialect = dialect
        self._session = session

    def ask(
        self, conversation: Conversation, model: str, counted: Counted, most_tokens: int | None = None
    ) -> Iterator[str]:
        """Give the pieces of an answer as they come, and count; leaving early ends the request."""
        import requests

        body = self._dialect.body(conversation, model, most_tokens)
        try:
            answer = self._session.post(
                self._url + self._dialect.path,
                json=body,
                headers=self._headers,
                stream=True,
                timeout=(CONNECT_SECONDS, SILENCE_SECONDS),
                allow_redirects=False,
            )
            with closing(answer):
                counted.request_id = answer.headers.get("x-llm-proxy-request-id", "")
                if answer.status_code != 200:
                    raise refusal_of(answer.status_code, _json(answer.text))
                yield from self._pieces(answer, counted)
        except requests.Timeout:
            raise Unreachable(hinted(f"{self._url} does not answer.", "is it overloaded?")) from None
        except requests.RequestException as error:
            broken = isinstance(error, requests.exceptions.ChunkedEncodingError)
            reason = "The answer broke off." if broken else f"{self._url} cannot be reached."
            raise Unreachable(hinted(reason, "/retry" if broken else "is it running? see `llm-proxy doctor`")) from None

    def _pieces(self, answer: requests.Response, counted: Counted) -> Iterator[str]:
        for line in answer.iter_lines(chunk_size=None):
            event = _json(line[5:]) if line.startswith(b"data:") else None
            if not isinstance(event, dict):
                continue
            if "error" in event:
                raise refusal_of(200, event)
            heard = self._dialect.hear(event)
            counted.prompt_tokens = heard.prompt_tokens or counted.prompt_tokens
            counted.completion_tokens = heard.completion_tokens or counted.completion_tokens
            if heard.text:
                yield heard.text


def refusal_of(status: int, told: Any) -> click.ClickException:
    """Return what an error says, with what to do about it."""
    error = told.get("error") if isinstance(told, dict) else None
    error = error if isinstance(error, dict) else {}
    code = str(error.get("code") or error.get("type") or "")
    reason = str(error.get("message") or f"Answered with {status}.")
    # Some dialects have no place for a code, and say it in front of the message.
    known = code if code in ADVICE else next((name for name in ADVICE if name in reason), "")
    return Refused(hinted(reason, ADVICE.get(known, "")))


def _json(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
