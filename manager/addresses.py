"""Base URLs of providers, and origins of the web pages that may call: which are taken, and how they are written."""

import ipaddress
import re
import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from manager.errors import Invalid
from manager.rules import Rules
from shared.route_paths import check_base_url

URL_LENGTH = 2048
MOST_FALLBACKS = 5
MOST_ORIGINS = 50
_ORIGIN = re.compile(r"https?://(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?")
# Where a cloud tells machines their secrets, and what is on the link itself: no provider is there.
_NO_PROVIDERS = [
    ipaddress.ip_network(network) for network in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200")
]
_DEFAULT_PORTS = {"http": 80, "https": 443}


def check_base(text: str, rules: Rules, field: str = "base_url") -> str:
    """Return a base URL without trailing slashes; empty means the provider's own. Raises Invalid."""
    url = text.strip().rstrip("/")
    if not url:
        return ""
    if len(url) > URL_LENGTH:
        raise Invalid(field, f"Must have at most {URL_LENGTH} characters.")
    try:
        check_base_url(url)
    except ValueError as error:
        raise Invalid(field, str(error)) from None
    host = urlsplit(url).hostname or ""
    if any(address in network for network in _NO_PROVIDERS for address in _addresses(host)):
        raise Invalid(field, "Must not be a link-local address, nor one of a cloud's metadata.")
    if not rules.allow_http_upstream and url.startswith("http://") and not _is_loopback(host):
        raise Invalid(field, "Must start with https://, since provider keys would travel unencrypted.")
    return url


def check_fallbacks(texts: Sequence[str], rules: Rules) -> list[str]:
    """Return the URLs to try, in order, when the base URL is down. Raises Invalid."""
    urls = [check_base(text, rules, "fallback_urls") for text in texts]
    if "" in urls:
        raise Invalid("fallback_urls", "Must not contain an empty URL.")
    return _few_and_distinct(urls, MOST_FALLBACKS, "fallback_urls")


def check_origins(texts: Sequence[str]) -> list[str]:
    """Return origins as browsers send them, exact ones only: `*` would let any page call. Raises Invalid."""
    for text in texts:
        if not _is_origin(text):
            reason = f"{text[:100]!r} is no origin as browsers send it: https://host[:port], or http:// on localhost."
            raise Invalid("cors_origins", reason)
    return _few_and_distinct(list(texts), MOST_ORIGINS, "cors_origins")


def _is_origin(text: str) -> bool:
    if len(text) > URL_LENGTH or not _ORIGIN.fullmatch(text):
        return False
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
        is_plain = "[" not in text or ipaddress.ip_address(host).compressed == host
    except ValueError:
        return False
    return is_plain and port != _DEFAULT_PORTS[parts.scheme] and (parts.scheme == "https" or _is_loopback(host))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Return what a host that is an address stands for, the one within it included; nothing for a name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:  # 2852039166 and 0xa9fea9fe are addresses to whoever connects.
            return [ipaddress.IPv4Address(socket.inet_aton(host))]
        except OSError:
            return []
    inner = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return [address] if inner is None else [address, inner]


def _few_and_distinct(entries: list[str], most: int, field: str) -> list[str]:
    if len(entries) > most:
        raise Invalid(field, f"Must have at most {most} entries.")
    if len(set(entries)) < len(entries):
        raise Invalid(field, "Must not contain an entry twice.")
    return entries
