"""What the description of an operation says beside its shapes: errors, headers, links. Facts that views state:

`tagged`     it answers with an ETag: a look can be conditional, and so can a change of what was looked at
`is_tagged`  the same for what has just been made, where nothing can be expected
`once`       it takes an Idempotency-Key
`conflicts`  it may be refused with 409
`is_open`    it needs no token
`csv`        it also answers with CSV
`links`      name → (method, path, parameters): what can be done with what it answers; parameters of the body as `body`
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

_REQUEST_ID = {"description": "The id of this request, as the audit and the log know it.", "schema": {"type": "string"}}
_TAG = {"description": "What it is at; for If-Match and If-None-Match.", "schema": {"type": "string"}}
_REPLAYED = {"description": "`true` if this was answered before.", "schema": {"type": "string", "enum": ["true"]}}
_SECONDS = {"description": "Seconds until it is worth another try.", "schema": {"type": "integer"}}
_CHALLENGE = {"description": "How to authenticate.", "schema": {"type": "string"}}
_ALLOW = {"description": "The methods that there are.", "schema": {"type": "string"}}
HEADERS_OF_ERRORS: Mapping[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": _CHALLENGE},
    405: {"Allow": _ALLOW},
    429: {"Retry-After": _SECONDS},
    503: {"Retry-After": _SECONDS},
}
_WITH_BODY = ("post", "put", "patch")


def headers_of_error(status: int) -> dict[str, Any]:
    """Return the headers of an error, by name."""
    return {"X-Request-ID": _REQUEST_ID, **HEADERS_OF_ERRORS.get(status, {})}


def complete(doc: dict[str, Any], facts: Mapping[str, Any], *, method: str, **_: Any) -> dict[str, Any]:
    """Return the description of an operation with its errors, headers and links."""
    says = facts.get("says", {})
    responses: dict[Any, Any] = doc.setdefault("responses", {})
    _describe_success(responses, method, says)
    for status in _errors(doc, method, says):
        responses.setdefault(status, HTTPStatus(status).name)
    if parameters := _parameters(method, says):
        doc["parameters"] = [*doc.get("parameters", []), *parameters]
    if says.get("is_open"):
        doc["security"] = []
    return doc


def of_first(links: Mapping[str, Any]) -> dict[str, Any]:
    """Return the links of one thing as those of the first in a list of such things."""
    found = {}
    for name, (method, path, parameters) in links.items():
        found[name] = (method, path, {at: _first(value) for at, value in parameters.items()})
    return found


def _first(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _first(part) for name, part in value.items()}
    return value.replace("$response.body#/", "$response.body#/items/0/")


def link(method: str, path: str) -> str:
    """Return the reference to an operation, for links."""
    return f"#/paths/{path.replace('~', '~0').replace('/', '~1')}/{method}"


def _link(method: str, path: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    body = parameters.get("body")
    named = {name: value for name, value in parameters.items() if name != "body"}
    found = {"operationRef": link(method, path), "parameters": named}
    return found if body is None else {**found, "requestBody": body}


def _describe_success(responses: dict[Any, Any], method: str, says: Mapping[str, Any]) -> None:
    successes = [response for status, response in responses.items() if str(status)[0] == "2"]
    is_tagged = says.get("is_tagged") or (says.get("tagged") and method in ("get", "put", "patch"))
    for response in successes:
        headers = response.setdefault("headers", {})
        headers["X-Request-ID"] = _REQUEST_ID
        if is_tagged:
            headers["ETag"] = _TAG
        if says.get("once"):
            headers["Idempotency-Replayed"] = _REPLAYED
        if says.get("csv"):
            response["content"]["text/csv"] = {"schema": {"type": "string"}}
        for name, (target, path, parameters) in says.get("links", {}).items():
            links = response.setdefault("links", {})
            links[name] = _link(target, path, parameters)
    if says.get("tagged") and method == "get":
        responses[304] = {"description": "It is as the caller knows it.", "headers": {"X-Request-ID": _REQUEST_ID}}


def _errors(doc: Mapping[str, Any], method: str, says: Mapping[str, Any]) -> list[int]:
    if says.get("is_open"):
        return []
    found = [400, 401, 403, 404, 422, 429, 503]
    if method in _WITH_BODY:
        found += [413, 415]
    if says.get("conflicts"):
        found += [409]
    if says.get("tagged") and method != "get":
        found += [412]
    return found


def _parameters(method: str, says: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    if says.get("tagged"):
        name, what = ("If-None-Match", "304 if") if method == "get" else ("If-Match", "412 unless")
        found.append(_header(name, f"The ETag of what the caller knows: {what} it is as it was."))
    if says.get("once"):
        known = "The same request with the same key is carried out once, and answered alike for 24 hours."
        found.append(_header("Idempotency-Key", f"{known} 1 to 255 printable ASCII characters without spaces."))
    return found


def _header(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {"in": "header", "name": name, "description": description, "schema": {"type": "string", **schema}}
