"""TLS towards providers below mitmproxy's layers: the same checks as mitmproxy's TlsConfig makes, by Python's own ssl.

It has to be below them: a connection whose TLS state is held by a client's layers could never serve another client.
"""

import ssl
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import certifi
from cryptography import x509
from mitmproxy.addons.tlsconfig import _default_ciphers
from mitmproxy.certs import Cert
from mitmproxy.connection import Server, TlsVersion
from mitmproxy.net import tls
from mitmproxy.options import Options

ALPN = "http/1.1"
# OpenSSL's names of curves that Python's ssl knows by another one.
_CURVES = {"secp256r1": "prime256v1", "secp192r1": "prime192v1"}
_VERSIONS = {
    "UNBOUNDED": None,
    "TLS1": ssl.TLSVersion.TLSv1,
    "TLS1_1": ssl.TLSVersion.TLSv1_1,
    "TLS1_2": ssl.TLSVersion.TLSv1_2,
    "TLS1_3": ssl.TLSVersion.TLSv1_3,
}


def context_for(options: Options, name: str) -> ssl.SSLContext:
    """Return the context for a provider of this name, always the same one as long as the options are the same.

    Raises OSError (ssl.SSLError) or ValueError if an option names nothing usable.
    """
    return _context(
        options.ssl_insecure,
        options.ssl_verify_upstream_trusted_ca,
        options.ssl_verify_upstream_trusted_confdir,
        _certificate_for(options.client_certs, name),
        options.tls_version_server_min,
        options.tls_version_server_max,
        options.ciphers_server,
        options.tls_ecdh_curve_server,
    )


def _certificate_for(chosen: str | None, name: str) -> str | None:
    """Return the file with our own certificate: the one that is named, or the provider's in the folder that is."""
    if not chosen:
        return None
    path = Path(chosen).expanduser()
    candidate = path if path.is_file() else path / f"{name}.pem"
    return str(candidate) if candidate.is_file() else None


@lru_cache(256)
def _context(
    is_insecure: bool,
    authorities: str | None,
    folder: str | None,
    certificate: str | None,
    lowest: str,
    highest: str,
    ciphers: str | None,
    curve: str | None,
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.hostname_checks_common_name = False
    if is_insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.options |= ssl.OP_LEGACY_SERVER_CONNECT
    if authorities is None and folder is None:
        authorities = certifi.where()
    context.load_verify_locations(authorities, folder)
    context.minimum_version = _VERSIONS[lowest] or ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = _VERSIONS[highest] or ssl.TLSVersion.MAXIMUM_SUPPORTED
    context.set_ciphers(ciphers or ":".join(_default_ciphers(tls.Version[lowest])))
    if curve is not None:
        context.set_ecdh_curve(_CURVES.get(curve, curve))
    if certificate is not None:
        context.load_cert_chain(certificate)
        context.post_handshake_auth = True
    context.set_alpn_protocols([ALPN])
    return context


class Handshake:
    """What has been agreed upon on one connection, for everyone who uses it."""

    def __init__(self, agreed: ssl.SSLObject) -> None:
        self._at = time.time()
        self._alpn = (agreed.selected_alpn_protocol() or "").encode()
        self._cipher = (agreed.cipher() or ("",))[0]
        self._version = cast(TlsVersion, agreed.version())
        self._certificates = _certificates(agreed)

    def describe(self, server: Server) -> None:
        """Note it where flows, logs and views look for it."""
        server.timestamp_tls_setup = self._at
        server.alpn, server.cipher, server.tls_version = self._alpn, self._cipher, self._version
        server.certificate_list = self._certificates


def _certificates(agreed: ssl.SSLObject) -> list[Cert]:
    # Python 3.12 gives the first one only.
    chain: Any = getattr(agreed, "get_unverified_chain", lambda: [agreed.getpeercert(binary_form=True)])()
    found = []
    for each in chain:
        try:
            found.append(Cert(x509.load_der_x509_certificate(bytes(each))))
        except ValueError:  # It may be stranger than `cryptography` likes, and good all the same.
            continue
    return found
