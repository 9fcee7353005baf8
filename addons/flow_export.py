"""Makes a file of recorded flows: a zip with a HAR, a flow file of mitmproxy, and a manifest with their checksums.

A program, since the control plane does not know these formats. It reads frames from its standard input, each of 4 bytes
with its length and then its bytes: first what the manifest says, as JSON, then records as in an entry of the feed. It
writes the zip to its standard output. It needs neither settings nor Redis.
"""

import hashlib
import io
import json
import struct
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

from mitmproxy.addons.savehar import SaveHar
from mitmproxy.http import HTTPFlow
from mitmproxy.io import FlowWriter

from addons.inspection.flows import body_of, flow_of, show
from shared.flow_schema import FLOWS_FIELD, FlowRecord, Phase, decode_batch

FLOW_FILE, HAR_FILE, MANIFEST = "flows.mitm", "flows.har", "manifest.json"
_LENGTH = struct.Struct(">I")
_LONGEST_FRAME = 256 << 20


class Unreadable(ValueError):
    """What was read is no question."""


def flow(record: FlowRecord) -> HTTPFlow:
    """Return a record as a flow that is over: nobody waits for it, and nothing can be done to it."""
    made = flow_of(record)
    request, response = body_of(record.request, None), record.response and body_of(record.response, None)
    show(made, record, request, response or None, "")
    made.live = made.intercepted = False
    if made.response is not None and made.response.raw_content is None:
        made.response.headers["content-length"] = "0"  # Whoever answers with it would promise bytes that are not there.
    return made


def export(question: BinaryIO, answer: BinaryIO) -> None:
    """Write the zip that a question asks for. Raises Unreadable, ContractError."""
    frames = _frames(question)
    about = _about(next(frames, b""))
    records = [record for frame in frames for record in decode_batch({FLOWS_FIELD.encode(): frame})]
    flows = [flow(record) for record in records]
    parts = {FLOW_FILE: _flow_file(flows), HAR_FILE: _har(flows)}
    about["flows"] = [_told(record) for record in records]
    about["parts"] = [
        {"file": name, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in parts.items()
    ]
    parts[MANIFEST] = json.dumps(about, indent=2).encode() + b"\n"
    with zipfile.ZipFile(answer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(_entry(name), content)


def _frames(question: BinaryIO) -> Iterator[bytes]:
    while head := question.read(_LENGTH.size):
        if len(head) < _LENGTH.size:
            raise Unreadable("a frame is cut off")
        [length] = _LENGTH.unpack(head)
        content = question.read(length) if length <= _LONGEST_FRAME else b""
        if len(content) != length:
            raise Unreadable("a frame is cut off, or too long")
        yield content


def _about(frame: bytes) -> dict[str, object]:
    try:
        about = json.loads(frame)
    except ValueError:
        about = None
    if not isinstance(about, dict):
        raise Unreadable("there is nothing that the manifest is to say")
    return about


def _flow_file(flows: list[HTTPFlow]) -> bytes:
    written = io.BytesIO()
    writer = FlowWriter(written)
    for each in flows:
        writer.add(each)
    return written.getvalue()


def _har(flows: list[HTTPFlow]) -> bytes:
    return json.dumps(SaveHar().make_har(flows), indent=1).encode() + b"\n"


def _told(record: FlowRecord) -> dict[str, object]:
    """Return what the manifest says of a flow: what it was, and whether all of it is there."""
    messages = [message for message in (record.request, record.response) if message is not None]
    return {
        "request_id": record.request_id,
        "started_at": record.started_at,
        "project_id": record.project_id,
        "token_id": record.token_id,
        "is_ended": record.phase is Phase.ENDED,
        "has_bodies": record.has_bodies,
        "is_cut": any(message.is_cut for message in messages),
    }


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o600 << 16
    return entry


def main() -> None:
    """Answer one question."""
    with tempfile.TemporaryFile() as made:
        export(sys.stdin.buffer, made)
        made.seek(0)
        while piece := made.read(1 << 20):
            sys.stdout.buffer.write(piece)


if __name__ == "__main__":
    main()
