"""Every error as a problem document (RFC 9457): type, title, status, detail, and a `code` that stays the same."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import marshmallow as ma
import redis
from flask import Flask, Response, json
from flask_smorest import Api
from sqlalchemy.exc import DBAPIError
from werkzeug.exceptions import HTTPException

from manager import db
from manager.api import described
from manager.errors import (
    Conflict,
    DomainError,
    Forbidden,
    Invalid,
    KeyReused,
    NotFound,
    ProjectInactive,
    Stale,
    Unavailable,
)
from manager.publisher import PublishError
from manager.transactions import CommitUnknown, is_transient
from shared import logs

MEDIA_TYPE = "application/problem+json"
_STATUS: dict[type[DomainError], int] = {NotFound: 404, Conflict: 409, ProjectInactive: 403, Forbidden: 403}
_STATUS |= {Stale: 412, KeyReused: 422, Unavailable: 503}
_CODES = {400: "bad_request", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method_not_allowed"}
_CODES |= {413: "request_too_large", 414: "uri_too_long", 415: "unsupported_media_type", 422: "invalid"}
_CODES |= {431: "headers_too_large", 500: "internal_error"}
log = logs.get("api")


class ProblemSchema(ma.Schema):
    """Shape of every error."""

    type = ma.fields.String(metadata={"description": "Always about:blank: the code tells."})
    title = ma.fields.String()
    status = ma.fields.Integer()
    detail = ma.fields.String()
    code = ma.fields.String()
    errors = ma.fields.Dict(metadata={"description": "Faults by field."})


class ProblemApi(Api):  # type: ignore[misc]
    """flask-smorest with our error shape."""

    ERROR_SCHEMA = ProblemSchema
    DEFAULT_ERROR_RESPONSE_NAME = None

    def describe(self, providers: Sequence[str]) -> None:
        """Add to the description what schemas state as `facts`, in the words of JSON Schema, and the providers."""
        for key, name in self.ma_plugin.converter.refs.items():
            self.spec.components.schemas[name].update(getattr(key[0], "facts", {}))
        for name in ("NewProject", "PriceShape"):
            self.spec.components.schemas[name]["properties"]["provider"]["enum"] = list(providers)

    def _register_responses(self) -> None:
        # The first thing that a new description needs.
        self.ma_plugin.converter.add_attribute_function(_facts_of_field)
        for status in HTTPStatus:
            if status >= 400:
                content = {MEDIA_TYPE: {"schema": ProblemSchema}}
                response = {"description": status.phrase, "content": content}
                response["headers"] = described.headers_of_error(status)
                self.spec.components.response(status.name, response, lazy=True)

    def handle_http_exception(self, error: HTTPException) -> Response:
        """Answer any HTTP error, those of validation included."""
        found: Any = getattr(error, "data", None) or {}
        errors = found.get("messages")
        errors = errors.get("json", errors.get("query", errors)) if isinstance(errors, dict) else errors
        headers = dict(error.get_headers()) | dict(found.get("headers") or {})
        kept = {name: value for name, value in headers.items() if name.lower() == "allow"}
        return problem(error.code or 500, None, _detail(error, errors), errors, kept)


def _facts_of_field(converter: Any, field: ma.fields.Field[Any], ret: dict[str, Any], **_: Any) -> dict[str, Any]:
    found: dict[str, Any] = field.metadata.get("schema", {})
    return found


def handle(app: Flask) -> None:
    """Register the answers to domain errors and to whatever nobody expected."""
    app.register_error_handler(DomainError, _answer_domain_error)
    app.register_error_handler(PublishError, _answer_publish_error)
    app.register_error_handler(redis.RedisError, _answer_redis_error)
    app.register_error_handler(CommitUnknown, _answer_commit_unknown)
    app.register_error_handler(DBAPIError, _answer_database_error)
    app.register_error_handler(Exception, _answer_unforeseen)


def problem(
    status: int, code: str | None, detail: str, errors: object = None, headers: dict[str, str] | None = None
) -> Response:
    """Return a problem document; without a code, that of the status."""
    title = HTTPStatus(status).phrase
    body: dict[str, object] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    body["code"] = code or _CODES.get(status) or title.lower().replace(" ", "_")
    if errors:
        body["errors"] = errors
    response = Response(json.dumps(body), status, headers, content_type=MEDIA_TYPE)
    if status == 401:
        response.headers["www-authenticate"] = "Bearer"
    return response


def _detail(error: HTTPException, errors: object) -> str:
    if errors:
        return "Some fields are faulty; see errors."
    return error.description or HTTPStatus(error.code or 500).description


def _answer_domain_error(error: DomainError) -> Response:
    if isinstance(error, Invalid):
        return problem(422, error.code, "Some fields are faulty; see errors.", {error.field: [str(error)]})
    return problem(_STATUS[type(error)], error.code, str(error))


def _answer_publish_error(error: PublishError) -> Response:
    log.error("publish_pending", reason=str(error))
    detail = "The change is stored and takes effect as soon as Redis can be reached."
    return problem(503, "publish_pending", detail, headers={"retry-after": "1"})


def _answer_redis_error(error: redis.RedisError) -> Response:
    log.error("redis_away", reason=str(error))
    return problem(503, "service_unavailable", "Redis cannot be reached.", headers={"retry-after": "1"})


def _answer_commit_unknown(error: CommitUnknown) -> Response:
    log.error("commit_unknown", reason=str(error))
    detail = "The database was lost while it stored the change, which may have been made: look before trying again."
    return problem(503, "commit_unknown", detail, headers={"retry-after": "1"})


def _answer_database_error(error: DBAPIError) -> Response:
    if not is_transient(error):
        return _answer_unforeseen(error)
    log.error("database_away", reason=db.reason(error))
    return problem(503, "service_unavailable", "The database cannot be reached.", headers={"retry-after": "1"})


def _answer_unforeseen(error: Exception) -> Response:
    log.error("unforeseen_error", exc_info=error)
    return problem(500, "internal_error", "Something went wrong here; the log knows more.")
