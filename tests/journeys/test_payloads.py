"""Bodies of every kind and size: their bytes arrive as they were sent, and none of them is held in memory."""

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import pytest
import requests

from tests.faults import Fault, FaultProxy
from tests.journeys.conftest import Installation, Token

MIB = 1 << 20
LARGE = 300 * MIB
MOST_GROWTH_KIB = 40 * 1024
NOISE = hashlib.shake_256(b"the same bytes every time").digest(MIB)
ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "tell me about withering tokens"}]}


@pytest.fixture(scope="module")
def installation(hurried_installation: Installation) -> Installation:
    return hurried_installation


@pytest.fixture(scope="module")
def token(installation: Installation) -> Token:
    return installation.token(installation.project("payloads"))


def resident_kib(pid: int) -> int:
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1])


class Weighed:
    """Looks at a process's resident memory all the time while the block lasts; `growth_kib` is that to the peak."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = self._peak = resident_kib(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    @property
    def growth_kib(self) -> int:
        return self._peak - self._before

    def _look(self) -> None:
        while not self._over.wait(0.005):
            self._peak = max(self._peak, resident_kib(self._pid))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


class Upload:
    """A body that is made while it is sent, in chunks."""

    headers = {"content-type": "application/octet-stream"}  # noqa: RUF012
    head = tail = b""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.size = len(self.head) + LARGE + len(self.tail)

    def __iter__(self) -> Iterator[bytes]:
        for piece in (self.head, *[NOISE] * (LARGE // MIB), self.tail):
            if piece:
                self.digest.update(piece)
                yield piece


class Form(Upload):
    """A form with one file, of announced length."""

    headers = {"content-type": "multipart/form-data; boundary=limit"}  # noqa: RUF012
    head = b'--limit\r\nContent-Disposition: form-data; name="file"; filename="large.bin"\r\n\r\n'
    tail = b"\r\n--limit--\r\n"

    def __len__(self) -> int:
        return self.size


@pytest.fixture
def worker_pid(installation: Installation, token: Token) -> int:
    """The first worker, when it has served a request of each kind and so loaded what it needs."""
    installation.send(token.secret, path="/v1/files/one/content")
    installation.send(token.secret, "POST", "/v1/uploads/one/parts", data=b"x" * MIB)
    return installation.supervisor.pids()["proxy-0"]


def entry_of(installation: Installation, answer: requests.Response) -> dict[str, Any]:
    """What the provider noted of the request with this answer."""
    [entry] = [e for e in installation.ledger()["recent"] if e["id"] == answer.headers["x-request-id"]]
    return dict(entry)


@pytest.mark.parametrize(
    ("path", "kind"), [("/v1/files", Form), ("/v1/uploads/large/parts", Upload)], ids=["multipart", "chunked"]
)
def test_a_large_upload_arrives_whole_and_is_not_held(
    installation: Installation, token: Token, worker_pid: int, path: str, kind: type[Upload]
) -> None:
    upload = kind()

    with Weighed(worker_pid) as weighed:
        answer = installation.send(token.secret, "POST", path, data=upload, headers=upload.headers)

    entry = entry_of(installation, answer)
    assert (answer.status_code, answer.json()["bytes"]) == (200, upload.size)
    assert (entry["request_bytes"], entry["request_sha256"]) == (upload.size, upload.digest.hexdigest())
    assert weighed.growth_kib < MOST_GROWTH_KIB


@pytest.mark.parametrize("query", ["", "&chunked=true"], ids=["announced", "chunked"])
def test_a_large_download_arrives_whole_and_is_not_held(
    installation: Installation, token: Token, worker_pid: int, query: str
) -> None:
    path, digest, received = f"/v1/files/large/content?size={LARGE}{query}", hashlib.sha256(), 0

    with Weighed(worker_pid) as weighed, installation.send(token.secret, path=path, stream=True) as answer:
        for piece in answer.iter_content(MIB):
            digest.update(piece)
            received += len(piece)

    entry = entry_of(installation, answer)
    assert (answer.status_code, received, entry["bytes"]) == (200, LARGE, LARGE)
    assert entry["sha256"] == digest.hexdigest()
    assert weighed.growth_kib < MOST_GROWTH_KIB


def test_large_bodies_are_metered_by_their_bytes(installation: Installation) -> None:
    token = installation.token(installation.project("large and metered"))
    installation.send(token.secret, "POST", "/v1/uploads/large/parts", data=iter([NOISE] * 3))
    assert len(installation.send(token.secret, path=f"/v1/files/large/content?size={5 * MIB}").content) == 5 * MIB

    rows = {row["route"]: row for row in installation.usage_of(token, 2)}

    assert (rows["uploads.parts"]["request_bytes"], rows["files.content"]["response_bytes"]) == (3 * MIB, 5 * MIB)
    assert all(row["outcome"] == "finished" for row in rows.values())


class Talk:
    """A client of bare HTTP/1.1 on one connection to the first worker."""

    def __init__(self, installation: Installation, token: Token) -> None:
        url = urlsplit(installation.proxy_urls[0])
        self._socket = socket.create_connection((url.hostname, url.port), timeout=10)
        self._token = token.secret
        self.received = b""

    def say(self, method: str, path: str, more: str = "", body: bytes = b"") -> None:
        head = f"{method} {path} HTTP/1.1\r\nHost: proxy\r\nAuthorization: Bearer {self._token}\r\n{more}\r\n"
        self._socket.sendall(head.encode() + body)

    def send(self, raw: bytes) -> None:
        self._socket.sendall(raw)

    def hear(self, end: bytes) -> bytes:
        """Return what came up to and with `end`; what came after it is kept for the next time."""
        while end not in self.received:
            chunk = self._socket.recv(65536)
            assert chunk, f"the connection ended after {self.received!r}"
            self.received += chunk
        heard, _, self.received = self.received.partition(end)
        return heard + end

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


@pytest.fixture
def talk(installation: Installation, token: Token) -> Iterator[Talk]:
    with Talk(installation, token) as made:
        yield made


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304), ("HEAD", 304)], ids=str)
def test_answers_without_a_body_end_with_their_head(
    installation: Installation, talk: Talk, method: str, status: int
) -> None:
    more = "" if status == 200 else f'x-mock-behaviour: {{"status": {status}}}\r\n'

    talk.say(method, "/v1/models", more)
    head = talk.hear(b"\r\n\r\n")
    talk.say("GET", "/v1/models")
    next_head = talk.hear(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 %d " % status) and b"transfer-encoding" not in head.lower()
    assert next_head.startswith(b"HTTP/1.1 200 OK\r\n"), "what came before the next answer was no body"


def test_a_client_that_expects_it_is_invited_to_send_its_body(talk: Talk) -> None:
    body = json.dumps(ASK).encode()

    talk.say("POST", "/v1/chat/completions", f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n")
    invitation = talk.hear(b"\r\n\r\n")
    talk.send(body)
    head = talk.hear(b"\r\n\r\n")

    assert invitation.startswith(b"HTTP/1.1 100 ") and head.startswith(b"HTTP/1.1 200 ")


def test_a_large_upload_is_invited_as_well(talk: Talk) -> None:
    talk.say("POST", "/v1/uploads/one/parts", f"Content-Length: {MIB}\r\nExpect: 100-continue\r\n")
    invitation = talk.hear(b"\r\n\r\n")
    talk.send(NOISE)
    head = talk.hear(b"\r\n\r\n")

    assert invitation.startswith(b"HTTP/1.1 100 ") and head.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
def test_a_compressed_answer_keeps_its_bytes_and_is_metered(installation: Installation, stream: bool) -> None:
    token = installation.token(installation.project(f"compressed {stream}"))
    headers = {"x-mock-behaviour": json.dumps({"compress": "gzip"}), "accept-encoding": "gzip"}
    body = {**ASK, "stream": stream, **({"stream_options": {"include_usage": True}} if stream else {})}

    answer = installation.send(token.secret, "POST", "/v1/chat/completions", json=body, headers=headers, stream=True)
    received = b"".join(answer.raw.stream(decode_content=False))

    entry = entry_of(installation, answer)
    assert answer.headers["content-encoding"] == "gzip"
    assert (entry["bytes"], entry["sha256"]) == (len(received), hashlib.sha256(received).hexdigest())
    [row] = installation.usage_of(token, 1)
    assert row["total_tokens"] > 0 and row["outcome"] == "finished"


def test_an_answer_that_ends_with_its_connection_is_whole(installation: Installation) -> None:
    said = json.dumps({"model": "old", "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}})
    old = b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + said.encode()
    with FaultProxy("127.0.0.1", 9, Fault(garbage=old)) as provider:
        token = installation.token(installation.project("old-fashioned", base_url=provider.url))

        answer = installation.send(token.secret, "POST", "/v1/chat/completions", json=ASK)

    assert (answer.status_code, answer.text) == (200, said)
    [row] = installation.usage_of(token, 1)
    assert (row["total_tokens"], row["outcome"]) == (7, "finished")
