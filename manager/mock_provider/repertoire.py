"""Answers worked out before: the same question gets the same words again, only under a new number."""

import functools
import secrets
from typing import Any, NamedTuple

import orjson

from manager.mock_provider.answers.files import Content
from manager.mock_provider.answers.question import Question
from manager.mock_provider.answers.told import Used, used_in
from manager.mock_provider.errors import ProviderError
from manager.mock_provider.routes import Answer, Route

_KEPT = 256
_MAX_BODY = 16 * 1024
_MAX_CHUNKS = 256


class Worked(NamedTuple):
    """The model asked for, the answer, and what it says that it used."""

    model: str | None
    answer: Answer
    used: Used | None = None


class Repertoire:
    """Remembers the answers to the last 256 small questions; a benchmark asks the same one over and over."""

    def __init__(self) -> None:
        self._blank = secrets.token_hex(8)
        self._remembered = functools.lru_cache(maxsize=_KEPT)(self._template)

    def answer(self, route: Route, body: bytes, chunks: int | None, number: int) -> Worked:
        """What answers the question; every id in it ends in ``number``.

        Raises ProviderError 400 for a body that is no JSON object or a flawed question.
        """
        if not route.asks or len(body) > _MAX_BODY or (chunks or 0) > _MAX_CHUNKS:
            return _worked_out(route, body, chunks, str(number))
        known = self._remembered(route, body, chunks)
        return known._replace(answer=_filled_in(known.answer, self._blank.encode(), b"%d" % number))

    def _template(self, route: Route, body: bytes, chunks: int | None) -> Worked:
        return _worked_out(route, body, chunks, self._blank)


def _worked_out(route: Route, body: bytes, chunks: int | None, number: str) -> Worked:
    if not route.asks:
        return Worked(None, route.answer(Question({}, number, chunks)))
    fields = _fields(body)
    answer = route.answer(Question(fields, number, chunks))
    return Worked(fields.get("model"), answer, None if isinstance(answer, Content) else used_in(answer))


def _filled_in(template: Answer, blank: bytes, number: bytes) -> Answer:
    if isinstance(template, bytes):
        return template.replace(blank, number)
    return [event.replace(blank, number) for event in template]


def _fields(body: bytes) -> dict[str, Any]:
    """The request's JSON object. Raises ProviderError 400 for anything else."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        fields = None
    if not isinstance(fields, dict):
        raise ProviderError(400, "We could not parse the JSON body of your request.")
    return fields
