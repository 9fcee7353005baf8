"""Whether a filter says something, and which recorded flows it fits. The program that knows is addons/rule_check.py."""

import base64
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from manager import short_lived
from manager.errors import Invalid, Unavailable
from manager.short_lived import ProgramFailed
from shared import logs
from shared.flow_schema import FlowRecord, encode_batch

PROGRAM = short_lived.module("addons.rule_check")
SECONDS = 10.0
log = logs.get("rules")


class Verdict(msgspec.Struct, frozen=True):
    """What is told of a filter: where it is wrong and why (`position` counts from 0), and the ids of what it fits.

    About those in `unsure` nobody can say: see `Doubt`.
    """

    is_valid: bool
    position: int | None = None
    message: str = ""
    matched: list[str] = []
    unsure: list[str] = []
    looked_at: int = 0


class Doubt(StrEnum):
    """Why it is not known whether a filter fits a request."""

    # It looks at the body, of which nothing was recorded.
    NOT_RECORDED = "body_not_recorded"
    # Nothing of what was recorded of the body fits, and it went on.
    CUT = "body_cut"
    # It was not searched, or did not get to an end.
    TOO_LONG = "search_too_long"


@dataclass(frozen=True)
class Doubts:
    """Of how many requests it is not known for one reason."""

    reason: Doubt
    count: int


class _Question(msgspec.Struct):
    filter: str
    records: str = ""


class RuleCheck:
    """Asks the program."""

    def __init__(self, command: Sequence[str] = PROGRAM, seconds: float = SECONDS) -> None:
        self._command = command
        self._seconds = seconds

    def of(self, filter: str, records: Sequence[FlowRecord] = ()) -> Verdict:
        """Return what is to be said of a filter, tried on records. Raises Invalid if it takes long, Unavailable."""
        told = base64.b64encode(encode_batch(records)).decode() if records else ""
        with tempfile.TemporaryFile() as question, tempfile.TemporaryFile() as answer:
            question.write(msgspec.json.encode(_Question(filter, told)))
            question.seek(0)
            try:
                short_lived.run(self._command, question, answer, self._seconds)
                answer.seek(0)
                return msgspec.json.decode(answer.read(), type=Verdict)
            except ProgramFailed as error:
                if error.is_late:
                    raise Invalid("filter", f"It takes more than {self._seconds:g} seconds to be tried.") from None
                log.error("rule_check_failed", reason=str(error))
            except msgspec.MsgspecError as error:
                log.error("rule_check_failed", reason=f"it said something strange: {error}")
        raise Unavailable("The filter could not be checked; the manager's log knows why.")

    def demand(self, filter: str) -> None:
        """Raise Invalid if a filter says nothing, with the place where it is wrong; Unavailable if nobody can tell."""
        verdict = self.of(filter)
        if not verdict.is_valid:
            raise Invalid("filter", said(verdict))


def doubts(verdict: Verdict, records: Sequence[FlowRecord]) -> Sequence[Doubts]:
    """Return why it is not known whether a filter fits some of these records."""
    unsure = set(verdict.unsure)
    counts = Counter(_doubt(record) for record in records if record.request_id in unsure)
    return [Doubts(reason, counts[reason]) for reason in Doubt if counts[reason]]


def _doubt(record: FlowRecord) -> Doubt:
    if record.request.body is None and record.request.size:
        return Doubt.NOT_RECORDED
    return Doubt.CUT if record.request.is_cut else Doubt.TOO_LONG


def said(verdict: Verdict) -> str:
    """Return what is wrong with a filter, and where; characters are counted from 1.

    >>> said(Verdict(False, 4, "Expected end of text.")), said(Verdict(False))
    ('At character 5: Expected end of text.', 'It is no filter.')
    """
    reason = verdict.message or "It is no filter."
    return reason if verdict.position is None else f"At character {verdict.position + 1}: {reason}"
