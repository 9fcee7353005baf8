"""Where a subject takes requests."""

from dataclasses import dataclass, field, replace

from tests.bench import answers


@dataclass(frozen=True)
class Endpoint:
    """A host and port that take chats with these headers, and the processes that serve them (empty: nobody's)."""

    port: int
    headers: dict[str, str] = field(repr=False)
    pids: tuple[int, ...] = ()
    host: str = "127.0.0.1"
    path: str = answers.PATH

    @property
    def url(self) -> str:
        """The address of chats."""
        return f"http://{self.host}:{self.port}{self.path}"

    def request(self, body: bytes, *more: tuple[str, str]) -> bytes:
        """Return the bytes of one HTTP request."""
        fields = {"host": f"{self.host}:{self.port}", **self.headers, "content-length": str(len(body)), **dict(more)}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"POST {self.path} HTTP/1.1\r\n{head}\r\n".encode() + body

    def with_token(self, token: str) -> "Endpoint":
        """Return the same for another bearer token."""
        return replace(self, headers={**self.headers, "authorization": f"Bearer {token}"})


def bearer(token: str) -> dict[str, str]:
    """Return the headers of a chat with a bearer token."""
    return {"authorization": f"Bearer {token}", "content-type": "application/json"}
