"""The files of TLS: readable, of one pair, and in time."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from manager.doctor.finding import Finding, fault, warning, well
from shared.settings import Settings

SOON = timedelta(days=21)


def look(settings: Settings, now: datetime | None = None) -> Iterator[Finding]:
    """Look at the certificates of our own, and at those of authorities that are trusted."""
    moment = now or datetime.now(UTC)
    own = {"LLM_PROXY_TLS_FILE": settings.tls_file, "LLM_PROXY_UPSTREAM_CERT_FILE": settings.upstream_cert_file}
    for variable, path in own.items():
        if path is not None:
            yield _pair(variable, path, moment)
    if settings.upstream_ca_file is not None:
        yield _certificates("LLM_PROXY_UPSTREAM_CA_FILE", settings.upstream_ca_file, moment)


def _pair(variable: str, path: Path, now: datetime) -> Finding:
    found = _certificates(variable, path, now)
    if found.fix and "ends" not in found.told:
        return found
    content = path.read_bytes()
    try:
        key = serialization.load_pem_private_key(content, None)
    except (ValueError, TypeError):
        return fault(variable, f"{path} has no private key that can be read", "put the key, unencrypted, beside it")
    own, form = (
        x509.load_pem_x509_certificates(content)[0].public_key(),
        serialization.PublicFormat.SubjectPublicKeyInfo,
    )
    encoding = serialization.Encoding.DER
    if key.public_key().public_bytes(encoding, form) != own.public_bytes(encoding, form):
        return fault(
            variable, f"key and certificate in {path} do not belong together", "put the certificate of the key first"
        )
    if path.stat().st_mode & 0o077:
        return warning(variable, f"the private key in {path} can be read by other users", f"chmod 600 {path}")
    return found


def _certificates(variable: str, path: Path, now: datetime) -> Finding:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        return fault(variable, f"{path} cannot be read: {error.strerror}", "mend the path or its permissions")
    except ValueError:
        return fault(
            variable, f"{path} holds no certificate", "it has to be PEM, beginning with -----BEGIN CERTIFICATE"
        )
    end = min(certificate.not_valid_after_utc for certificate in found)
    if end <= now:
        return fault(variable, f"a certificate in {path} ended on {end:%Y-%m-%d}", "renew it")
    if end - now < SOON:
        return warning(variable, f"a certificate in {path} ends on {end:%Y-%m-%d}", "renew it")
    return well(variable, f"{path} is valid until {end:%Y-%m-%d}")
