"""An OpenID Connect issuer on loopback, whose keys and answers tests choose."""

import base64
import hashlib
import html
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE = "llm-proxy"
DISCOVERY = "/.well-known/openid-configuration"


class Key:
    """A key pair with an id."""

    def __init__(self, key_id: str, algorithm: str = "RS256", size: int = 2048) -> None:
        self.key_id, self.algorithm = key_id, algorithm
        is_rsa = algorithm.startswith("RS")
        self.private: Any = rsa.generate_private_key(65537, size) if is_rsa else ec.generate_private_key(ec.SECP256R1())
        spell = RSAAlgorithm.to_jwk if is_rsa else ECAlgorithm.to_jwk
        self.public: dict[str, Any] = json.loads(spell(self.private.public_key())) | {"kid": key_id}


@dataclass
class Client:
    """Somebody who may have people sign in; without a secret a public client."""

    id: str
    secret: str = ""
    redirect_uris: list[str] = field(default_factory=list)


@dataclass
class Exchanged:
    """A call of the token endpoint."""

    form: dict[str, str]
    authorization: str | None


class Issuer:
    """Serves a discovery document and a key set, signs tokens, and lets ann sign in for its clients.

    `roles` are hers. She is asked by a page if it `has_page`. `id_token` makes the token that a code is good for, of
    claims that are right.
    """

    def __init__(self, url: str, *keys: Key) -> None:
        self.url = url
        self.described: dict[str, Any] = {
            "issuer": url,
            "jwks_uri": f"{url}/keys",
            "authorization_endpoint": f"{url}/authorize",
            "token_endpoint": f"{url}/token",
        }
        self.shown: Any = {"keys": [key.public for key in keys]}
        self.status = 200
        self.asked: list[str] = []
        self.roles: Any = ["ops"]
        self.has_page = False
        self.clients: dict[str, Client] = {}
        self.exchanged: list[Exchanged] = []
        self.id_token: Callable[[dict[str, Any]], object] = lambda claims: self.token(keys[0], **claims)
        # What the token endpoint answers in the place of what is right.
        self.token_answer: tuple[int, Any] | None = None
        self._codes: dict[str, dict[str, str]] = {}

    def answer(self, path: str) -> bytes:
        """What is found at a path."""
        self.asked.append(path)
        return json.dumps(self.described if path == DISCOVERY else self.shown).encode()

    def claims(self, **more: Any) -> dict[str, Any]:
        """The claims of a good token, with these changed and those that are None left out."""
        now = int(time.time())
        good = {"iss": self.url, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 300, "roles": self.roles}
        return {name: value for name, value in (good | more).items() if value is not None}

    def token(self, key: Key, header: dict[str, Any] | None = None, **more: Any) -> str:
        """A token."""
        headers = {"kid": key.key_id} | (header or {})
        kept = {name: value for name, value in headers.items() if value is not None}
        # Below jwt.encode, which would refuse to write what is faulty.
        return jwt.PyJWS().encode(json.dumps(self.claims(**more)).encode(), key.private, key.algorithm, kept)

    def client(self, client_id: str, *redirect_uris: str, secret: str = "") -> Client:
        """A new client."""
        self.clients[client_id] = Client(client_id, secret, list(redirect_uris))
        return self.clients[client_id]

    def authorize(self, url: str) -> str:
        """Let ann sign in at the page that a client has sent her to; return where she is sent back to."""
        asked = dict(parse_qsl(urlsplit(url).query, strict_parsing=True))
        assert url.startswith(f"{self.described['authorization_endpoint']}"), url
        client = self.clients[asked["client_id"]]
        assert asked["redirect_uri"] in client.redirect_uris, asked
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256"), asked
        assert "openid" in asked["scope"].split() and len(asked["code_challenge"]) == 43, asked
        code = f"code-{len(self._codes)}-of-{client.id}"
        self._codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state'], 'iss': self.url})}"

    def exchange(self, form: dict[str, str], authorization: str | None) -> tuple[int, Any]:
        """Answer at the token endpoint."""
        self.exchanged.append(Exchanged(form, authorization))
        if self.token_answer is not None:
            return self.token_answer
        client = self._authenticated(form, authorization)
        if client is None:
            return 401, {"error": "invalid_client"}
        asked = self._codes.pop(form["code"], None)
        if asked is None or asked["client_id"] != client.id or asked["redirect_uri"] != form["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        if digest(form["code_verifier"]) != asked["code_challenge"] or form["grant_type"] != "authorization_code":
            return 400, {"error": "invalid_grant"}
        claims = {"aud": client.id, "nonce": asked["nonce"]}
        return 200, {"access_token": "opaque", "token_type": "Bearer", "id_token": self.id_token(claims)}

    def _authenticated(self, form: dict[str, str], authorization: str | None) -> Client | None:
        if authorization is None:
            client = self.clients.get(form.get("client_id", ""))
            return client if client and not client.secret else None
        scheme, _, given = authorization.partition(" ")
        name, _, secret = base64.b64decode(given).decode().partition(":")
        client = self.clients.get(unquote_plus(name))
        is_right = scheme == "Basic" and client is not None and client.secret == unquote_plus(secret) != ""
        return client if is_right and "client_secret" not in form else None


def digest(verifier: str) -> str:
    """What is told of a verifier beforehand."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def written(header: Any, claims: Any, signature: bytes = b"") -> str:
    """A token of any parts."""
    parts = [json.dumps(part).encode() for part in (header, claims)] + [signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@contextmanager
def serving(*keys: Key) -> Iterator[Issuer]:
    """A running issuer with these keys."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/authorize?"):
                back = issuer.authorize(issuer.url + self.path)
                page = f'<!doctype html><title>Issuer</title><a href="{html.escape(back)}">Let me in</a>'
                self._answer(200 if issuer.has_page else 302, page.encode(), back)
            else:
                self._answer(issuer.status, issuer.answer(self.path))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            status, answer = issuer.exchange(dict(parse_qsl(body)), self.headers["authorization"])
            self._answer(status, answer if isinstance(answer, bytes) else json.dumps(answer).encode())

        def _answer(self, status: int, body: bytes, location: str = "") -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.send_header("location", location or f"{issuer.url}/elsewhere")
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
