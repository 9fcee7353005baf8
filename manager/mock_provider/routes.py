"""The provider's paths: who answers there, by which method, and in which error shape and with which key."""

from collections.abc import Callable
from dataclasses import dataclass

from manager.mock_provider import errors
from manager.mock_provider.answers import chat, completions, embeddings, messages, models, responses
from manager.mock_provider.answers.question import Question
from manager.mock_provider.errors import ProviderError
from manager.mock_provider.keys import Presented

type Answer = bytes | list[bytes]

_MODEL = "/v1/models/"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a family of APIs takes its key and words its errors."""

    key_of: Callable[[Presented], str]
    error_body: Callable[[ProviderError], bytes]


OPENAI = Dialect(lambda caller: caller.bearer, errors.openai_body)
ANTHROPIC = Dialect(lambda caller: caller.api_key, errors.anthropic_body)


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """One path: its only method, and its answer to a question; one that ``asks`` needs a JSON body."""

    method: str
    answer: Callable[[Question], Answer]
    dialect: Dialect = OPENAI
    asks: bool = True


_ROUTES = {
    "/v1/models": Route("GET", lambda _: models.listing(), asks=False),
    "/v1/chat/completions": Route("POST", chat.answer),
    "/v1/completions": Route("POST", completions.answer),
    "/v1/embeddings": Route("POST", embeddings.answer),
    "/v1/responses": Route("POST", responses.answer),
    "/v1/messages": Route("POST", messages.answer, ANTHROPIC),
}


def dialect_of(path: str) -> Dialect:
    """The dialect errors on this path are worded in, known or not."""
    return route.dialect if (route := _ROUTES.get(path)) else OPENAI


def find(method: str, path: str) -> Route:
    """The route for a request. Raises ProviderError 404 for an unknown path, 405 for the wrong method."""
    route = _ROUTES.get(path) or _model_route(path)
    if route is None:
        raise ProviderError(404, f"Invalid URL ({method} {path})", code="unknown_url")
    if method != route.method:
        allow = (b"allow", route.method.encode())
        message = f"Not allowed to {method} on {path}."
        raise ProviderError(405, message, code="method_not_supported", headers=(allow,))
    return route


def _model_route(path: str) -> Route | None:
    name = path.removeprefix(_MODEL)
    if name in ("", path):
        return None
    return Route("GET", lambda _: models.single(name), asks=False)
