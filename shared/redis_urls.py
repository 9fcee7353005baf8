"""REDIS_URL of several servers: `redis+sentinel://` and `redis+cluster://`, with `rediss` for TLS.

The spelling is the one of redis-py's surroundings: the servers that are asked first, comma-separated, after
credentials for the data servers; for Sentinel the master's name and a database as path. Plain `redis://`, `rediss://`
and `unix://` are redis-py's own affair.
"""

import ipaddress
import re
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

Address = tuple[str, int]

_NAME = re.compile(r"(?!.{254})[\w-]{1,63}(\.[\w-]{1,63})*\.?", re.ASCII)
_HOST = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]+)(:(?P<port>[0-9]{1,5}))?", re.ASCII)
_OPTIONS = {"client_name", "password", "protocol", "username"}
_TLS_OPTIONS = {
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_cert_reqs",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_keyfile",
    "ssl_password",
}
_CHOICES = {
    "protocol": ("2", "3"),
    "ssl_cert_reqs": ("required", "optional", "none"),
    "ssl_check_hostname": ("true", "false"),
}


class Topology(StrEnum):
    """How the server that holds our data is found."""

    SENTINEL = "sentinel"
    CLUSTER = "cluster"


_OWN_OPTIONS: dict[Topology, set[str]] = {
    Topology.SENTINEL: {"db", "sentinel_username", "sentinel_password"},
    Topology.CLUSTER: set(),
}
_PORTS = {Topology.SENTINEL: 26379, Topology.CLUSTER: 6379}


@dataclass(frozen=True)
class Servers:
    """What such a URL says.

    `seeds` are asked where our data is; `master` is the name by which Sentinels know it. `login` has `username` and
    `password` for the server with our data, `seed_login` for those that are asked; `options` holds for both.
    """

    topology: Topology
    has_tls: bool
    seeds: tuple[Address, ...]
    master: str
    db: int
    login: dict[str, str] = field(repr=False)
    seed_login: dict[str, str] = field(repr=False)
    options: dict[str, str] = field(repr=False)


def names_several(url: str) -> bool:
    """Tell whether this is a URL for `parse`."""
    return url.startswith(tuple(f"{scheme}:" for scheme in SCHEMES))


def parse(url: str) -> Servers:
    """Read a URL of several servers. Raises ValueError, whose words quote nothing of it."""
    parts = _split(url)
    tls, _, kind = parts.scheme.partition("+")
    topology, has_tls = Topology(kind), tls == "rediss"
    options = _options(parts, topology, has_tls)
    master, path = _master(parts.path) if topology is Topology.SENTINEL else ("", parts.path)
    login, sentinel_login = _login(options), _login(options, "sentinel_")
    return Servers(
        topology,
        has_tls,
        tuple(_address(host, topology) for host in _authority(url)[1].split(",")),
        master,
        _database(options.pop("db", path.strip("/")), topology),
        login,
        sentinel_login if topology is Topology.SENTINEL else login,
        options,
    )


def with_one_host(url: str) -> str:
    """Return the URL with one name in the place of its hosts, for which there is no room in a URL by the standard."""
    if not names_several(url):
        return url
    credentials, _, rest = _authority(url)
    return f"{url.partition('://')[0]}://{credentials}servers{rest}"


def _authority(url: str) -> tuple[str, str, str]:
    after = url.partition("://")[2]
    end = next((at for at, letter in enumerate(after) if letter in "/?#"), len(after))
    credentials, at, hosts = after[:end].rpartition("@")
    return credentials + at, hosts, after[end:]


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(with_one_host(url))
        valid = url.partition("://")[1] and parts.hostname == "servers" and not parts.fragment
    except ValueError:  # Its message may quote a password.
        valid = False
    if not valid:
        raise ValueError("is not a valid URL")
    return parts


def _address(text: str, topology: Topology) -> Address:
    found = _HOST.fullmatch(text)
    if found is None or not _is_host(found["host"]):
        raise ValueError("must name its servers as host:port, separated by commas")
    port = int(found["port"] or _PORTS[topology])
    if not 1 <= port <= 65535:
        raise ValueError("names a port that is not from 1 to 65535")
    return found["host"].strip("[]"), port


def _is_host(text: str) -> bool:
    if not text.startswith("["):
        return _NAME.fullmatch(text) is not None
    try:
        ipaddress.IPv6Address(text[1:-1])
    except ValueError:
        return False
    return True


def _master(path: str) -> tuple[str, str]:
    name, _, db = path.removeprefix("/").partition("/")
    if not name:
        raise ValueError("must name the master that the Sentinels watch, as in redis+sentinel://host:26379/mymaster")
    return unquote(name), db


def _database(text: str, topology: Topology) -> int:
    if topology is Topology.CLUSTER and text not in ("", "0"):
        raise ValueError("must name no database: a Cluster has one")
    if text and not (text.isascii() and text.isdecimal() and len(text) < 6):
        raise ValueError("must name its database by a number")
    return int(text or 0)


def _login(options: dict[str, str], prefix: str = "") -> dict[str, str]:
    """Take the login with this prefix out of the options."""
    names = [name for name in ("username", "password") if prefix + name in options]
    return {name: options.pop(prefix + name) for name in names}


def _options(parts: SplitResult, topology: Topology, has_tls: bool) -> dict[str, str]:
    allowed = _OPTIONS | _OWN_OPTIONS[topology] | (_TLS_OPTIONS if has_tls else set())
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if not options.keys() <= allowed:
        raise ValueError(f"may have no other options than {', '.join(sorted(allowed))}")
    for name, choices in _CHOICES.items():
        if name in options and options[name].lower() not in choices:
            raise ValueError(f"has an option {name} that is not one of {', '.join(choices)}")
    named = {"username": unquote(parts.username or ""), "password": unquote(parts.password or "")}
    return options | {name: value for name, value in named.items() if value}


SCHEMES = tuple(f"{tls}+{topology}" for topology in Topology for tls in ("redis", "rediss"))
