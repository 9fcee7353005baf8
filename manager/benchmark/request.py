"""The bytes of requests: a head that stays, a length, a body that may change."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from manager.benchmark.plan import Plan, Target
from manager.benchmark.template import Template

AGENT = "llm-proxy-benchmark"


def maker(plan: Plan, target: Target, first: int = 0, stride: int = 1) -> Callable[[], bytes]:
    """Return a function that makes the next request each time it is called; they are numbered from `first` on.

    Raises TemplateError.
    """
    template = Template(plan.body, dict(plan.variables), first)
    head = _head(plan, target)
    if template.is_constant:
        request = _whole(head, template.body(0))
        return lambda: request
    numbers = itertools.count(first, stride)
    return lambda: _whole(head, template.body(next(numbers)))


def _head(plan: Plan, target: Target) -> bytes:
    host = f"[{target.host}]" if ":" in target.host else target.host
    usual = 443 if target.is_tls else 80
    headers = {"host": host if target.port == usual else f"{host}:{target.port}", "user-agent": AGENT, "accept": "*/*"}
    if plan.body:
        headers["content-type"] = "application/json"
    if not plan.is_kept:
        headers["connection"] = "close"
    if target.token:
        is_bearer = plan.token_header == "authorization"  # noqa: S105 - the name of a header
        headers[plan.token_header] = f"Bearer {target.token}" if is_bearer else target.token
    headers |= {name.lower(): value for name, value in plan.headers}
    lines = [f"{plan.method} {target.path(plan.endpoint)} HTTP/1.1", *(f"{name}: {headers[name]}" for name in headers)]
    return "\r\n".join(lines).encode("latin-1")


def _whole(head: bytes, body: bytes) -> bytes:
    return b"%b\r\ncontent-length: %d\r\n\r\n%b" % (head, len(body), body)
