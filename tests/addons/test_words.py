"""Rules of names: logs, records and lists show them without what their project hides, and all of others."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from mitmproxy import http

from addons import words
from addons.call import Call
from addons.live import snapshot_of
from addons.meter import event_of
from shared.inspection import Hidden, Inspection
from shared.models import Caller, Outcome

MAIL = "paula.patient@clinic.example"
PRIVATE = Inspection(hidden=(Hidden.EMAILS,))


def of(caller: Caller, inspection: Inspection) -> Caller:
    return replace(caller, project=replace(caller.project, inspection=inspection))


CASES: dict[str, tuple[Inspection, str]] = {
    "hidden": (PRIVATE, "[email]"),
    "not hidden": (Inspection(), MAIL),
    "nobody can read": (Inspection(patterns=("(?=x)",)), "[hidden]"),
}


@pytest.mark.parametrize("case", CASES)
def test_names_are_shown_alike_everywhere(admitted: tuple[http.HTTPFlow, Call], caller: Caller, case: str) -> None:
    flow, call = admitted
    inspection, wanted = CASES[case]
    call.caller, call.model = of(caller, inspection), MAIL
    assert call.route is not None

    event: Any = event_of(call, flow, call.caller, call.route, Outcome.FINISHED)

    assert (event.model, event.model_asked) == (wanted, wanted) == (words.word(call, MAIL), words.word(call, MAIL))
    assert snapshot_of([call], datetime.now(UTC)).requests[0].model == wanted


def test_paths_are_shown_alike(admitted: tuple[http.HTTPFlow, Call], caller: Caller) -> None:
    call = admitted[1]
    call.caller = of(caller, PRIVATE)

    assert words.path(call, f"/v1/models/{MAIL}") == "/v1/models/[email]"
    assert (words.word(call, None), words.word(call, "")) == (None, "")
    call.caller = of(caller, Inspection())
    assert words.path(call, f"/v1/models/{MAIL}") == f"/v1/models/{MAIL}"


def test_of_whoever_was_not_let_in_nothing_personal_is_shown() -> None:
    stranger = Call()

    assert words.path(stranger, f"/v1/models/{MAIL}") == "/v1/models/[email]"
    assert words.word(stranger, MAIL) == "[email]"
