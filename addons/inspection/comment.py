"""The line beside a flow: what is known of it, why somebody is about to do something, why something was not done."""

import re

import msgspec

from shared.flow_schema import REMARKS, FlowRecord, quoted, remark

_NAMES = "|".join((*REMARKS, "reason", "failed"))
_OURS = re.compile(rf'(?:(?:{_NAMES})=(?:"(?:[^"\\]|\\.)*"|[^\s"]*)(?:\s+|$))*')
_REASON = re.compile(r'(?:^|\s)reason=("(?:[^"\\]|\\.)*")')


def line(record: FlowRecord, reason: str, trouble: str) -> str:
    """Return what stands beside a flow."""
    words = [remark(record)]
    words += [f"reason={quoted(reason)}"] if reason else []
    words += [f"failed={quoted(trouble)}"] if trouble else []
    return " ".join(words)


def said(written: str, shown: str) -> str:
    """Return what somebody has written beside a flow, whose line was `shown` last or, while they wrote, another one.

    Behind our words stands a new reason; if nothing does, the one within them stays, as it was or was changed.
    """
    ours = shown if written.startswith(shown) else _ours(written)
    rest = written[len(ours) :].strip()
    if rest:
        return rest
    reason = _REASON.search(ours)
    return _plain(reason[1]) if reason else ""


def _ours(written: str) -> str:
    found = _OURS.match(written)
    return found[0] if found else ""


def _plain(word: str) -> str:
    try:
        return msgspec.json.decode(word, type=str)
    except msgspec.DecodeError:
        return word.strip('"')
