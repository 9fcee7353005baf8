"""Rules of exports: a zip that ordinary tools read, with checksums that fit, of whatever was recorded."""

import hashlib
import io
import json
import struct
import subprocess
import sys
import zipfile

import pytest
from mitmproxy.io import FlowReader

from addons import flow_export
from addons.flow_export import FLOW_FILE, HAR_FILE, MANIFEST, Unreadable
from shared.flow_schema import FlowRecord, Message, encode_batch
from tests.flow_records import ended, record, request_id, streaming

ABOUT = {"format": "llm-proxy flows 1", "audit_event_id": "e1"}


def asked(*records: FlowRecord, about: object = ABOUT) -> bytes:
    """A question about records, two in each frame."""
    batches = [encode_batch(records[at : at + 2]) for at in range(0, len(records), 2)]
    frames = [json.dumps(about).encode(), *batches]
    return b"".join(struct.pack(">I", len(frame)) + frame for frame in frames)


def exported(*records: FlowRecord) -> dict[str, bytes]:
    made = io.BytesIO()
    flow_export.export(io.BytesIO(asked(*records)), made)
    with zipfile.ZipFile(made) as file:
        return {name: file.read(name) for name in file.namelist()}


def test_flows_can_be_read_by_mitmproxy_and_as_har() -> None:
    parts = exported(ended(1), streaming(2), ended(3, body=b"\x00\xff"))

    flows = list(FlowReader(io.BytesIO(parts[FLOW_FILE])).stream())
    entries = json.loads(parts[HAR_FILE])["log"]["entries"]
    assert [flow.id for flow in flows] == [request_id(n) for n in (1, 2, 3)]
    assert [flow.response.raw_content for flow in flows] == [b'{"ok":true}', b"data: {}\n\n", b"\x00\xff"]  # type: ignore[attr-defined]
    assert not any(flow.live or flow.intercepted for flow in flows)
    assert [entry["request"]["url"] for entry in entries] == ["https://api.openai.com/v1/chat/completions"] * 3


def test_the_manifest_has_checksums_and_what_it_was_told() -> None:
    parts = exported(ended(1), record(2, request=Message([], 9, b"half", is_cut=True)))

    told = json.loads(parts[MANIFEST])
    assert told["audit_event_id"] == "e1"
    assert {part["file"]: part["sha256"] for part in told["parts"]} == {
        name: hashlib.sha256(parts[name]).hexdigest() for name in (FLOW_FILE, HAR_FILE)
    }
    assert [(flow["is_ended"], flow["is_cut"]) for flow in told["flows"]] == [(True, False), (False, True)]


@pytest.mark.parametrize(
    ("body", "length"),
    [(b'{"text":"[email]"}', "18"), (None, "0"), (b"x" * 400, "400")],
    ids=["hidden", "none", "same"],
)
def test_an_answer_promises_the_bytes_that_are_there(body: bytes | None, length: str) -> None:
    head = [("content-type", "application/json"), ("Content-Length", "400")]

    made = flow_export.flow(ended(response=Message(head, 400, body)))

    assert made.response is not None and made.response.headers.get_all("content-length") == [length]
    assert made.response.headers.get("content-length-was") == (None if length == "400" else "400")


def test_nothing_is_an_export_as_well() -> None:
    parts = exported()

    assert json.loads(parts[MANIFEST])["flows"] == [] == json.loads(parts[HAR_FILE])["log"]["entries"]


FAULTY = {
    "nothing": b"",
    "no manifest": asked(about=[1]),
    "no JSON": struct.pack(">I", 1) + b"{",
    "half a head": b"\x00\x00",
    "half a frame": struct.pack(">I", 100) + b"{}",
    "endless frame": struct.pack(">I", 2**32 - 1),
}


@pytest.mark.parametrize("case", FAULTY)
def test_what_is_no_question_is_refused(case: str) -> None:
    with pytest.raises(Unreadable):
        flow_export.export(io.BytesIO(FAULTY[case]), io.BytesIO())


def test_it_is_a_program_that_needs_nothing() -> None:
    command = [sys.executable, "-m", "addons.flow_export"]

    done = subprocess.run(command, input=asked(ended(1)), capture_output=True, env={}, timeout=60, check=True)

    with zipfile.ZipFile(io.BytesIO(done.stdout)) as file:
        assert file.namelist() == [FLOW_FILE, HAR_FILE, MANIFEST]
