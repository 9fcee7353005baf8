"""Holds requests against what their project and their token allow: which models, which parameters, up to which values.

A policy is a limit, not a convenience: it holds whatever the switches for validation say, for opaque providers, too,
and what cannot be read with certainty is refused. A model may be named in the path (`{model}`), in the query, in a JSON
body or in a form; parameters in all of these but the path. Where a list of models is in force, a request with a body,
or for a WebSocket, must name its model: else a stored prompt, an assistant or a batch file could name another one.
Empty bodies, and methods without one, pass.

Nothing is ever changed: the provider gets the client's bytes or nothing.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_plus

from mitmproxy import http

from addons import media_types
from addons.body_fields import AMBIGUOUS, check_spelling, form_fields, json_fields
from addons.call import Call, Calls
from addons.refusal import (
    MODEL_NOT_ALLOWED,
    SERVICE_UNAVAILABLE,
    Refused,
    fail_closed,
    parameter_not_allowed,
    parameter_too_large,
    unsupported_media_type,
)
from addons.request_body import COMPRESSED, is_compressed
from shared.models import Policy
from shared.providers import Route
from shared.route_paths import decode

# `models` is how some providers take alternatives to the model.
_MODEL_FIELDS = ("model", "models")
_NO_LIMITS = Policy()
_MODEL_PARAMETERS = ("{model}", "{model_id}")


@lru_cache(maxsize=4096)
def _pattern(glob: str) -> re.Pattern[str]:
    # Between the first and the last part each one is taken where it comes first, for good: else a model's name, which
    # the client chooses, could make matching take time without end.
    first, *rest = (re.escape(part).replace(r"\?", ".") for part in glob.split("*"))
    middle = "".join(f"(?>.*?{part})" for part in rest[:-1])
    return re.compile(first + middle + (f".*{rest[-1]}" if rest else ""), re.DOTALL)


def fits(model: str, globs: Iterable[str]) -> bool:
    """Tell whether a model's name fits one of the globs: `*` is any text, `?` one character, case matters.

    >>> fits("gpt-4o-mini", ["gpt-4o*"]), fits("gpt-4o-mini", ["gpt-4?"])
    (True, False)
    """
    return any(_pattern(glob).fullmatch(model) for glob in globs)


def allows(policy: Policy, model: str) -> bool:
    """Tell whether a policy allows a model: the denied win, and no allowed ones means all."""
    return not fits(model, policy.denied_models) and (not policy.allowed_models or fits(model, policy.allowed_models))


def limits_models(policies: Sequence[Policy]) -> bool:
    """Tell whether any list of models is in force."""
    return any(policy.allowed_models or policy.denied_models for policy in policies)


def check_model(model: object, policies: Sequence[Policy]) -> None:
    """Raise Refused for a model that a policy does not allow, and for what is no plain name: others may trim it."""
    is_name = isinstance(model, str) and model.isprintable() and model == model.strip() and model != ""
    if not isinstance(model, str) or not is_name or not all(allows(policy, model) for policy in policies):
        raise Refused(MODEL_NOT_ALLOWED)


def check_fields(fields: Mapping[str, Any], policies: Sequence[Policy]) -> None:
    """Raise Refused for fields of a body or a query that a policy denies or caps below what is asked."""
    for policy in policies:
        for name in policy.denied_parameters:
            if name in fields:
                raise Refused(parameter_not_allowed(name))
        for name, cap in policy.max_values.items():
            if fields.get(name) is not None and not _is_within(fields[name], cap):
                raise Refused(parameter_too_large(name, cap))


def _is_within(asked: Any, cap: float) -> bool:
    # Also for text: forms have nothing else, and providers may take it for a number. Below 0 may mean no limit at all.
    try:
        return not isinstance(asked, bool) and 0 <= float(asked) <= cap
    except (TypeError, ValueError, OverflowError):
        return False


def policies_of(call: Call) -> list[Policy]:
    """Return the policies that are in force for a call."""
    of_both = (call.caller.project.policy, call.caller.policy) if call.caller else ()
    return [policy for policy in of_both if policy != _NO_LIMITS]


def must_be_read(call: Call, method: str) -> bool:
    """Tell whether a body has to be held and read before any of it goes to the provider."""
    policies = policies_of(call)
    if not policies or call.route is None or call.route.body_of(method) == "none":
        return False
    limits_fields = any(policy.denied_parameters or policy.max_values for policy in policies)
    return limits_fields or (call.route.names_model and limits_models(policies))


def has_model_in_path(route: Route) -> bool:
    """Tell whether a route's path names the model."""
    return not set(_MODEL_PARAMETERS).isdisjoint(route.path.split("/"))


def models_in_path(route: Route, path: str) -> Iterator[str]:
    """Give the models that a request's path names, up to its query."""
    for template, raw in zip(route.path.split("/"), path.partition("?")[0].split("/"), strict=False):
        if template in _MODEL_PARAMETERS:
            yield decode(raw) or ""


def governed_by(policies: Sequence[Policy]) -> set[str]:
    """Return the names of the fields that policies have a say in."""
    governed = {name for policy in policies for name in (*policy.denied_parameters, *policy.max_values)}
    return governed | set(_MODEL_FIELDS) if limits_models(policies) else governed


def query_fields(path: str, governed: set[str]) -> list[tuple[str, str]]:
    """Return the governed fields of a path's query. Raises Refused if another parser could find others."""
    pairs = [pair.partition("=") for pair in re.split("[&;]", path.partition("?")[2])]
    fields = [(unquote_plus(name), unquote_plus(text)) for name, _, text in pairs]
    check_spelling([name for name, _ in fields], governed)
    return [field for field in fields if field[0] in governed]


class RequestPolicy:
    """Applies the policies of the call's project and token."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    @fail_closed
    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Refuse what path and query name, as in a body; keep bodies that must be read from being streamed."""
        call = self.calls.of(flow)
        policies = policies_of(call)
        if call.route is None or not policies:
            return
        if must_be_read(call, flow.request.method):
            flow.request.stream = False
        fields = query_fields(flow.request.path, governed_by(policies))
        for name, text in fields:
            check_fields({name: text}, policies)
        if limits_models(policies):
            named = list(models_in_path(call.route, flow.request.path))
            named += [text for name, text in fields if name in _MODEL_FIELDS]
            for model in named:
                check_model(model, policies)
            if call.route.upgrade != "none" and not named:
                raise Refused(MODEL_NOT_ALLOWED)

    @fail_closed
    def request(self, flow: http.HTTPFlow) -> None:
        """Refuse models with 403, parameters with 400, and what cannot be read with 400 or 415."""
        call, body = self.calls.of(flow), flow.request.raw_content
        if not must_be_read(call, flow.request.method) or body == b"":
            return
        policies = policies_of(call)
        fields = read_fields(flow.request, body, governed_by(policies))
        check_fields(fields, policies)
        if limits_models(policies):
            self._check_models(call, fields, policies)

    def _check_models(self, call: Call, fields: Mapping[str, Any], policies: list[Policy]) -> None:
        if "model" in fields:
            check_model(fields["model"], policies)
            call.model = fields["model"][:256]
        elif call.route is None or (call.route.names_model and not has_model_in_path(call.route)):
            raise Refused(MODEL_NOT_ALLOWED)
        for model in _listed(fields.get("models", [])):
            check_model(model, policies)


def _listed(models: Any) -> list[Any]:
    return models if isinstance(models, list) else [models]


def read_fields(request: http.Request, body: bytes | None, governed: set[str]) -> dict[str, Any]:
    """Return the governed fields of a JSON body or a form. Raises Refused if they cannot be read with certainty."""
    if body is None:
        raise Refused(SERVICE_UNAVAILABLE)  # It was streamed, against `must_be_read`.
    if is_compressed(request):
        raise Refused(COMPRESSED)
    content_type = request.headers.get("content-type")
    media_type = media_types.parse(content_type) if content_type is not None else media_types.MediaType("")
    if media_type.is_form:
        if not media_type.is_utf_8:
            raise Refused(AMBIGUOUS)
        return form_fields(body, media_type.delimiting(), governed)
    if media_type.is_json or content_type is None:
        return json_fields(body, governed)
    raise Refused(unsupported_media_type("application/json or multipart/form-data"))
