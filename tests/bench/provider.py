"""The provider as a program, with its certificate, and what can be asked of it."""

import sys
from dataclasses import dataclass
from pathlib import Path

import trustme

from manager import local_http
from manager.supervisor import Program
from shared import settings
from tests.ports import accepts, free_port

ROOT = Path(__file__).parents[2]


def plain_environment(**more: str) -> dict[str, str]:
    """Return an environment without any variable of the product, in which this package can be imported."""
    return settings.child_environment(None, {"PYTHONPATH": str(ROOT), **more})


@dataclass(frozen=True)
class Provider:
    """Where the provider listens, in the clear and behind TLS. Its folder holds ca.pem, its authority."""

    folder: Path
    port: int
    tls_port: int

    @property
    def ca_file(self) -> Path:
        """The authority of its certificate."""
        return self.folder / "ca.pem"

    @property
    def program(self) -> Program:
        """What runs it."""
        command = [sys.executable, "-O", "-m", "tests.bench.provider_server", "--port", str(self.port)]
        command += ["--tls-port", str(self.tls_port), "--certificate", str(_certificate(self.folder))]
        return Program("provider", tuple(command), plain_environment(), lambda: accepts(self.tls_port))

    def url(self, tls: bool = False) -> str:
        """Return its address."""
        return f"https://127.0.0.1:{self.tls_port}" if tls else f"http://127.0.0.1:{self.port}"

    def answered(self) -> int:
        """Return how many chats it has answered."""
        with local_http.session() as session:
            return int(session.get(f"{self.url()}/count", timeout=30).text)


def prepared(folder: Path) -> Provider:
    """Choose ports and make a certificate in the folder."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(_certificate(folder)))
    return Provider(folder, free_port(), free_port())


def _certificate(folder: Path) -> Path:
    return folder / "provider.pem"
