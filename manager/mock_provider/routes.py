"""The provider's paths: who answers there, by which method, and in which error shape and with which key."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from manager.mock_provider import errors
from manager.mock_provider.answers import chat, completions, embeddings, files, messages, models, responses
from manager.mock_provider.answers.files import Content
from manager.mock_provider.answers.question import Question
from manager.mock_provider.errors import ProviderError
from manager.mock_provider.keys import Presented

type Answer = bytes | list[bytes] | Content


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a family of APIs takes its key and words its errors."""

    key_of: Callable[[Presented], str]
    error_body: Callable[[ProviderError], bytes]


OPENAI = Dialect(lambda caller: caller.bearer, errors.openai_body)
ANTHROPIC = Dialect(lambda caller: caller.api_key, errors.anthropic_body)


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One path: its only method (HEAD goes with GET), and its answer to a question.

    One that ``asks`` needs a JSON body; others are given the query parameters, and ``request_bytes``, for fields.
    One that ``uploads`` takes a body of any size, which is counted, not kept.
    """

    method: str
    answer: Callable[[Question], Answer]
    dialect: Dialect = OPENAI
    asks: bool = True
    uploads: bool = False


_ROUTES = {
    "/v1/models": Route("GET", lambda _: models.listing(), asks=False),
    "/v1/chat/completions": Route("POST", chat.answer),
    "/v1/completions": Route("POST", completions.answer),
    "/v1/embeddings": Route("POST", embeddings.answer),
    "/v1/responses": Route("POST", responses.answer),
    "/v1/messages": Route("POST", messages.answer, ANTHROPIC),
    "/v1/files": Route("POST", files.uploaded, asks=False, uploads=True),
}

type _Named = Callable[[str], Route]

_NAMED: tuple[tuple[re.Pattern[str], _Named], ...] = (
    (re.compile("/v1/models/(.+)"), lambda name: Route("GET", lambda _: models.single(name), asks=False)),
    (re.compile("/v1/files/([^/]+)/content"), lambda _: Route("GET", files.content, asks=False)),
    (
        re.compile("/v1/uploads/([^/]+)/parts"),
        lambda name: Route("POST", lambda asked: files.part(asked, name), asks=False, uploads=True),
    ),
)


def dialect_of(path: str) -> Dialect:
    """The dialect errors on this path are worded in, known or not."""
    return route.dialect if (route := _ROUTES.get(path)) else OPENAI


def takes_uploads(method: str, path: str) -> bool:
    """Whether the request body may be of any size, and is not to be kept."""
    route = _known(path)
    return route is not None and route.uploads and method == route.method


def find(method: str, path: str) -> Route:
    """The route for a request. Raises ProviderError 404 for an unknown path, 405 for the wrong method."""
    route = _known(path)
    if route is None:
        raise ProviderError(404, f"Invalid URL ({method} {path})", code="unknown_url")
    if method != route.method and (method, route.method) != ("HEAD", "GET"):
        allow = (b"allow", route.method.encode())
        message = f"Not allowed to {method} on {path}."
        raise ProviderError(405, message, code="method_not_supported", headers=(allow,))
    return route


def _known(path: str) -> Route | None:
    if route := _ROUTES.get(path):
        return route
    matches = ((pattern.fullmatch(path), made) for pattern, made in _NAMED)
    return next((made(match[1]) for match, made in matches if match), None)
