"""Uploads and downloads over real connections: of any size, in bounded memory, with their digests noted."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from manager.mock_provider.answers.files import Content

KEY = {"authorization": "Bearer any-key"}
MIB = 1024 * 1024


def pieces(count: int) -> Iterator[bytes]:
    return (bytes([number % 256]) * MIB for number in range(count))


def peak_mib() -> float:
    """The most memory this process, and the provider in it, had resident since the last ``forget_peak``."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


@pytest.mark.parametrize("path", ["/v1/files", "/v1/uploads/upload_1/parts"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_an_upload_larger_than_any_other_body_is_taken_and_noted_but_not_kept(
    remote: Any, path: str, chunked: bool
) -> None:
    size = 80
    length = {} if chunked else {"content-length": str(size * MIB)}
    digest = hashlib.sha256()
    for piece in pieces(size):
        digest.update(piece)
    forget_peak()
    before = peak_mib()
    connection = remote.connect()

    connection.request("POST", path, pieces(size), {**KEY, **length}, encode_chunked=chunked)
    answer = json.loads(connection.getresponse().read())

    assert answer["bytes"] == size * MIB
    assert (remote.last()["request_bytes"], remote.last()["request_sha256"]) == (size * MIB, digest.hexdigest())
    assert peak_mib() - before < 30


@pytest.mark.parametrize(("query", "length"), [("size=300000", "300000"), ("size=300000&chunked=true", None)])
def test_a_download_is_what_it_is_said_to_be(remote: Any, query: str, length: str | None) -> None:
    connection = remote.connect()
    connection.request("GET", f"/v1/files/file-1/content?{query}", headers=KEY)
    answer = connection.getresponse()

    body = answer.read()

    assert body == b"".join(Content(300_000))
    assert answer.headers["content-length"] == length
    assert (remote.last()["bytes"], remote.last()["sha256"]) == (300_000, hashlib.sha256(body).hexdigest())


def test_a_flawed_size_is_a_fault(remote: Any) -> None:
    connection = remote.connect()
    connection.request("GET", "/v1/files/file-1/content?size=all", headers=KEY)

    assert connection.getresponse().status == 400
