"""Completes the usage of an answer by what the provider left unsaid: estimates, marked as such.

A provider bills what it has read and said, also if nobody heard it to the end. It says how much that was in its last
event, so an answer that breaks off before leaves it to us. Only what the provider did not say is estimated.
"""

from dataclasses import replace

from mitmproxy import http

from addons.call import Call
from addons.dialects.answer import Said
from addons.dialects.usages import total
from addons.estimate import estimate_prompt
from shared.models import Outcome, Usage

_NOTHING = Said()


def completion_so_far(call: Call) -> int:
    """Return about how many tokens an answer that is still running has cost by now, its prompt left out.

    It never sinks, costs nothing to ask for, and is right to a token or so where the provider sends one in each event.
    """
    said, counted = (call.said or _NOTHING).tokens, call.answer.usage.completion_tokens or 0
    return counted + said if call.route is not None and call.route.upgrade != "none" else max(said, counted)


def usage_of(call: Call, flow: http.HTTPFlow, outcome: Outcome) -> Usage:
    """Return the usage of a settled call."""
    usage = call.answer.usage
    if flow.websocket is not None:
        return _with_unfinished(usage, call.said)
    if call.route is not None and call.route.is_free(flow.request.method):
        return Usage()
    if call.answer.is_final or not _has_cost(call, flow, outcome):
        return usage
    prompt = usage.prompt_tokens
    if prompt is None:
        prompt = _prompt_in(flow.request)
    completion = max((call.said or _NOTHING).tokens, usage.completion_tokens or 0)
    return replace(
        usage,
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=total(prompt, completion),
        is_estimate=True,
    )


def _has_cost(call: Call, flow: http.HTTPFlow, outcome: Outcome) -> bool:
    """Tell whether an answer whose usage is not known has cost anything, as far as can be seen."""
    if call.dialect == "opaque" or outcome is Outcome.REFUSED:
        return False
    if flow.response is not None and call.refused_with is None:
        # A whole answer without usage has none, unless it is a stream whose text has been seen.
        is_whole = outcome is Outcome.FINISHED and not (call.said and call.said.pieces)
        return flow.response.status_code < 400 and not is_whole
    # No answer came, but whoever left while the provider was at it may have cost it the prompt at least.
    has_left = outcome in (Outcome.CLIENT_ABORTED, Outcome.CUT) or call.interruption is not None
    return has_left and call.attempts.count > 0


def _prompt_in(request: http.Request) -> int | None:
    """Return an estimate of the prompt; None for what has been streamed, and for forms."""
    body = request.raw_content
    is_json = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower().endswith("json")
    return estimate_prompt(body) if body and is_json else None


def _with_unfinished(usage: Usage, said: Said | None) -> Usage:
    """Return the usage of a WebSocket's finished answers, plus what was said of one that was not."""
    if said is None or not said.pieces:
        return usage
    completion = (usage.completion_tokens or 0) + said.tokens
    known = 0 if usage.total_tokens is None else usage.total_tokens
    return replace(usage, completion_tokens=completion, total_tokens=known + said.tokens, is_estimate=True)
