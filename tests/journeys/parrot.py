"""A provider that says what it has heard, letter by letter or packed: nothing stands in one piece on the wire."""

import gzip
import json
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Parrot(BaseHTTPRequestHandler):
    """Answers chats: a stream has one letter in each event; whoever takes gzip gets it."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        key = self.headers["authorization"].removeprefix("Bearer ")  # Behind that word anything is masked.
        said = f"heard {asked['messages'][-1]['content']} with {key}"
        is_packed = "gzip" in self.headers.get("accept-encoding", "")
        self.send_response(200)
        if is_packed:
            self.send_header("content-encoding", "gzip")
        if asked.get("stream"):
            self._stream(said, is_packed)
        else:
            answer = json.dumps({"id": "1", "model": "m", "choices": [_choice("message", said)]}).encode()
            self._whole(gzip.compress(answer) if is_packed else answer)

    def _whole(self, body: bytes) -> None:
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, said: str, is_packed: bool) -> None:
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        squeezer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
        events = [json.dumps({"id": "1", "model": "m", "choices": [_choice("delta", letter)]}) for letter in said]
        for event in [*events, "[DONE]"]:
            piece = f"data: {event}\n\n".encode()
            self._chunk(squeezer.compress(piece) + squeezer.flush(zlib.Z_SYNC_FLUSH) if is_packed else piece)
        if is_packed:
            self._chunk(squeezer.flush())
        self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, piece: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _choice(kind: str, text: str) -> dict[str, object]:
    return {"index": 0, "finish_reason": None, kind: {"role": "assistant", "content": text}}


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Run a provider of one's own; its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
