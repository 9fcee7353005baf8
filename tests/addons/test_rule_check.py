"""Rules of the program that checks filters: it answers, needs nothing, and tells what a filter would have fitted."""

import base64
import io
import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from addons import rule_check
from shared.flow_schema import FlowRecord, Message, Phase, encode_batch


def record(request_id: str, body: bytes | None = b'{"content":"a plan"}', **more: Any) -> FlowRecord:
    size = more.pop("size", len(body or b""))
    message = Message(
        [("content-type", "application/json")],
        size,
        body,
        is_cut=more.pop("is_cut", False),
        is_unchanged=more.pop("is_unchanged", False),
    )
    known: dict[str, Any] = {
        "request_id": request_id,
        "revision": 1,
        "phase": Phase.ENDED,
        "worker": "w",
        "started_at": 0.0,
        "project_id": "p1",
        "project_name": "acme",
        "token_id": "t1",
        "token_label": "nightly",
        "provider": "openai",
        "dialect": "openai",
        "route": "chat.completions",
        "model": "gpt-4o",
        "method": "POST",
        "url": "https://api.openai.com/v1/chat/completions",
        "http_version": "HTTP/1.1",
        "client": "10.0.0.7:5123",
        "request": message,
        "outcome": "finished",
        "tags": ["seen"],
        "rule": "keep",
    }
    return FlowRecord(**{**known, **more})


def answer(filter: str, *records: FlowRecord) -> dict[str, Any]:
    asked = {"filter": filter, "records": base64.b64encode(encode_batch(records)).decode() if records else ""}
    sink = io.BytesIO()
    assert rule_check.run(io.BytesIO(json.dumps(asked).encode()), sink) == 0
    told: dict[str, Any] = json.loads(sink.getvalue())
    return told


def test_a_filter_is_checked_with_the_place_of_its_fault() -> None:
    assert answer("~u chat") == {
        "is_valid": True,
        "position": None,
        "message": "",
        "matched": [],
        "unsure": [],
        "looked_at": 0,
    }
    refused = answer("~u chat & ~s", record("r1"))
    assert (refused["is_valid"], refused["position"], refused["looked_at"]) == (False, 10, 0)
    assert "about answers" in refused["message"]


@pytest.mark.parametrize(
    ("filter", "matched", "unsure"),
    [
        ("~b plan", ["whole", "cut"], ["withheld", "cut elsewhere"]),
        ("!~b plan", ["empty"], ["withheld", "cut elsewhere"]),
        ("~comment model=gpt-4o ~src 10.0.0.7", ["whole", "cut", "withheld", "cut elsewhere", "empty"], []),
        ("~comment outcome= | ~comment tag= | ~comment rule=", [], []),
        ("~d api.openai.com & ~m GET", [], []),
    ],
)
def test_records_are_looked_at_as_rules_would_have(filter: str, matched: list[str], unsure: list[str]) -> None:
    told = answer(
        filter,
        record("whole"),
        record("cut", is_cut=True),
        record("withheld", None, size=7),
        record("cut elsewhere", b"{", is_cut=True),
        record("empty", None),
    )

    assert (told["matched"], told["unsure"], told["looked_at"]) == (matched, unsure, 5)


def test_of_several_records_of_a_request_the_last_counts_with_the_body_of_an_earlier_one() -> None:
    last = record("r1", None, revision=3, size=20, is_unchanged=True, model="gpt-5")

    assert answer("~comment model=gpt-5 & ~b plan", last, record("r1", revision=1))["matched"] == ["r1"]
    assert answer("~b plan", record("r1"), msgspec.structs.replace(record("r1", b"no"), revision=2))["matched"] == []


@pytest.mark.parametrize("records", ["?", base64.b64encode(b"no records").decode()], ids=["no base64", "no records"])
def test_records_that_cannot_be_read_are_told(records: str) -> None:
    sink = io.BytesIO()

    assert rule_check.run(io.BytesIO(json.dumps({"filter": "~q", "records": records}).encode()), sink) == 0

    told = json.loads(sink.getvalue())
    assert told["is_valid"] and told["looked_at"] == 0 and "cannot be read" in told["message"]


@pytest.mark.parametrize("question", [b"", b"{", b"{}", b'{"filter": 1}'], ids=["nothing", "half", "empty", "no text"])
def test_what_is_no_question_is_told(question: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    sink = io.BytesIO()

    assert rule_check.run(io.BytesIO(question), sink) == 2
    assert sink.getvalue() == b"" and "cannot be read" in capsys.readouterr().err


def test_a_question_is_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    endless = io.BytesIO(b" " * 100)

    assert rule_check.run(endless, io.BytesIO(), most_bytes=50) == 2
    assert endless.tell() == 51 and "more than 50 bytes" in capsys.readouterr().err


def test_the_program_needs_neither_environment_nor_mitmproxy() -> None:
    code = "import sys, runpy; runpy.run_module('addons.rule_check', run_name='__main__', alter_sys=False)"
    probe = f"import atexit, sys; atexit.register(lambda: print('mitmproxy' in sys.modules, file=sys.stderr)); {code}"
    ran = subprocess.run(
        [sys.executable, "-c", probe], input=b'{"filter": "~u chat"}', capture_output=True, env={}, timeout=30
    )

    assert ran.returncode == 0 and json.loads(ran.stdout)["is_valid"] is True
    assert ran.stderr.strip() == b"False"
