"""An OpenID Connect issuer on loopback, whose keys and answers tests choose."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE = "llm-proxy"


class Key:
    """A key pair with an id."""

    def __init__(self, key_id: str, algorithm: str = "RS256", size: int = 2048) -> None:
        self.key_id, self.algorithm = key_id, algorithm
        is_rsa = algorithm.startswith("RS")
        self.private: Any = rsa.generate_private_key(65537, size) if is_rsa else ec.generate_private_key(ec.SECP256R1())
        spell = RSAAlgorithm.to_jwk if is_rsa else ECAlgorithm.to_jwk
        self.public: dict[str, Any] = json.loads(spell(self.private.public_key())) | {"kid": key_id}


class Issuer:
    """Serves a discovery document and a key set, and signs tokens."""

    def __init__(self, url: str, *keys: Key) -> None:
        self.url = url
        self.described: dict[str, Any] = {"issuer": url, "jwks_uri": f"{url}/keys"}
        self.shown: Any = {"keys": [key.public for key in keys]}
        self.status = 200
        self.asked: list[str] = []

    def answer(self, path: str) -> bytes:
        """What is found at a path."""
        self.asked.append(path)
        return json.dumps(self.described if path == "/.well-known/openid-configuration" else self.shown).encode()

    def claims(self, **more: Any) -> dict[str, Any]:
        """The claims of a good token, with these changed and those that are None left out."""
        now = int(time.time())
        good = {"iss": self.url, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 300, "roles": ["ops"]}
        return {name: value for name, value in (good | more).items() if value is not None}

    def token(self, key: Key, header: dict[str, Any] | None = None, **more: Any) -> str:
        """A token."""
        headers = {"kid": key.key_id} | (header or {})
        kept = {name: value for name, value in headers.items() if value is not None}
        # Below jwt.encode, which would refuse to write what is faulty.
        return jwt.PyJWS().encode(json.dumps(self.claims(**more)).encode(), key.private, key.algorithm, kept)


def written(header: Any, claims: Any, signature: bytes = b"") -> str:
    """A token of any parts."""
    parts = [json.dumps(part).encode() for part in (header, claims)] + [signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@contextmanager
def serving(*keys: Key) -> Iterator[Issuer]:
    """A running issuer with these keys."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = issuer.answer(self.path)
            self.send_response(issuer.status)
            self.send_header("content-length", str(len(body)))
            self.send_header("location", f"{issuer.url}/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = Issuer(f"http://127.0.0.1:{server.server_port}", *keys)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
