"""From what is wished for on the command line to a plan: profiles, steps, targets and their tokens, the body."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from manager.benchmark import request, template
from manager.benchmark.levels import levels, seconds, whole_levels
from manager.benchmark.plan import Plan, PlanError, Step, Target, Timeouts
from manager.benchmark.profiles import DEFAULTS, PROFILES
from shared import tokens

MODEL = "gpt-4o-mini"
# Connections of an open loop, unless told.
_MOST = "256"
_SECRET_HEADERS = ("authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie")


def settled(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return wishes with those of their profile, and the usual ones, where nothing is given (None or empty)."""
    wished = {name: value for name, value in given.items() if value not in (None, (), False)}
    profile = dict(PROFILES[wished["profile"]]) if "profile" in wished else {}
    usual = dict(DEFAULTS)
    for one, other in (("requests", "duration"), ("duration", "requests")):
        if one in wished:
            profile.pop(other, None)
        if one in wished or one in profile:
            usual.pop(other, None)
    if "rate" in wished:
        usual["concurrency"] = _MOST
        profile.pop("concurrency", None)
    return dict(given) | usual | profile | wished


def plan(wished: Mapping[str, Any], url: str, token: str) -> Plan:
    """Return the plan of settled wishes; `url` is the target if none is named, `token` that of all without their own.

    Raises PlanError.
    """
    try:
        made = _plan(wished, url, token)
        request.maker(made, made.targets[0])
    except PlanError:
        raise
    except ValueError as error:
        raise PlanError(str(error)) from None
    return made


def _plan(wished: Mapping[str, Any], url: str, token: str) -> Plan:
    names = _pairs(wished["target"], "--target") if wished["target"] else {"proxy": url}
    own = {name: _token(path) for name, path in _pairs(wished["token_file"], "--token-file", set(names)).items()}
    if wished.get("is_unknown"):
        token = tokens.generate()
    wanted = wished["first_byte_timeout"]
    return Plan(
        targets=tuple(Target(name, where, own.get(name, token)) for name, where in names.items()),
        steps=_steps(wished),
        endpoint=wished["endpoint"],
        method=wished["method"],
        headers=tuple(_header(each) for each in wished["header"] or ()),
        token_header=wished["token_header"].lower(),
        body=_body(wished),
        variables=tuple(({"model": wished["model"] or MODEL} | _pairs(wished["var"], "--var")).items()),
        expected=_statuses(wished["expect"]),
        timeouts=Timeouts(
            seconds(wished["connect_timeout"]), seconds(wished["timeout"]), seconds(wanted) if wanted else None
        ),
        is_kept=not wished["no_keep_alive"],
        warm_up_s=0.0 if wished["warm_up"].strip() in ("0", "0s") else seconds(wished["warm_up"]),
        processes=wished["processes"] or max(1, (os.cpu_count() or 1) // 2),
        ca_file=_authorities(wished["ca_file"]),
        profile=wished["profile"] or "",
    )


def _steps(wished: Mapping[str, Any]) -> tuple[Step, ...]:
    callers = whole_levels(wished["concurrency"])
    rates: Sequence[tuple[float, float] | None] = levels(wished["rate"]) if wished["rate"] else [None]
    count = max(len(callers), len(rates))
    if not {len(callers), len(rates)} <= {1, count}:
        raise PlanError("there must be as many steps of --concurrency as of --rate, or one")
    # A step ends after requests, or after a time.
    long = None if wished["requests"] else seconds(wished["duration"])
    return tuple(
        Step(callers[each % len(callers)], rates[each % len(rates)], long, wished["requests"] or None)
        for each in range(count)
    )


def _pairs(given: Sequence[str], option: str, known: set[str] | None = None) -> dict[str, str]:
    pairs = [each.partition("=") for each in given or ()]
    if any(not name or not value for name, _, value in pairs):
        raise PlanError(f"{option} is given as name=value")
    if known is not None and (strange := {name for name, _, _ in pairs} - known):
        raise PlanError(f"{option}: there is no target {min(strange)}")
    if len({name for name, _, _ in pairs}) != len(pairs):
        raise PlanError(f"{option}: a name is given twice")
    return {name: value for name, _, value in pairs}


def _token(path: str) -> str:
    text = _read(path, "token").strip()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise PlanError(f"there is no token in {path}")
    return text


def _body(wished: Mapping[str, Any]) -> str:
    given = wished["body"]
    if given is None:
        text = "" if wished["method"] == "GET" else template.DEFAULT
    else:
        text = _read(given[1:], "body") if given.startswith("@") else given
    return template.streaming(text) if wished["stream"] else text


def _read(path: str, what: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, RuntimeError):
        raise PlanError(f"the file {path} with the {what} cannot be read") from None


def _header(text: str) -> tuple[str, str]:
    name, colon, value = (part.strip() for part in text.partition(":"))
    if not colon or not name.replace("-", "").isalnum() or not text.isascii() or not text.isprintable():
        raise PlanError("--header is given like `x-name: value`")
    if name.lower() in _SECRET_HEADERS:
        raise PlanError(f"{name} would be seen by other users: give it with --token-file and --token-header")
    if name.lower() in ("content-length", "transfer-encoding", "connection", "expect"):
        raise PlanError(f"{name} is set by the load itself")
    return name, value


def _statuses(text: str | None) -> tuple[int, ...]:
    found = tuple(int(each) if each.strip().isdecimal() else 0 for each in text.split(",")) if text else ()
    if any(not 200 <= each <= 599 for each in found):
        raise PlanError("--expect is one or several statuses, such as 200,429")
    return found


def _authorities(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError):
        raise PlanError(f"{path} holds no certificates") from None
    return str(Path(path).resolve())
