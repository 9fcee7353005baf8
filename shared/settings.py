"""The only reader of the environment: every variable with its default, its help and its check.

`load(plane)` reads what that plane needs and nothing else, so that the data plane never holds the management token
or a database password. All faults are reported at once. Any variable may be given as a file: `NAME_FILE=/path`.
"""

import base64
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from enum import Flag, StrEnum, auto
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import environs

from shared import durations, redis_urls, tokens
from shared.sealing import Keyring

# sockaddr_un holds 108 bytes; Valkey appends nothing, but leave room for a suffix while it binds.
_LONGEST_SOCKET_PATH = 100


class Plane(Flag):
    """Which process reads a variable."""

    DATA = auto()
    CONTROL = auto()
    SUPERVISOR = auto()
    MOCK = auto()
    INSPECTOR = auto()
    # Commands that ask the management API.
    CLIENT = auto()


ALL = Plane.DATA | Plane.CONTROL | Plane.SUPERVISOR
# Who listens on which ports. Listeners that share a port would take each other's connections, in turn and silently.
_LISTENS = {
    Plane.DATA: ("proxy_port", "metrics_port"),
    Plane.SUPERVISOR: ("proxy_port", "manager_port", "metrics_port", "inspector_port"),
}


class Source(StrEnum):
    """Where the value of a variable is from."""

    ENVIRONMENT = "environment"
    # NAME_FILE names it.
    FILE = "file"
    # What was generated once, for whoever has not set it.
    GENERATED = "generated"
    DEFAULT = "default"
    # A variable of other planes, whose value this process does not know.
    UNREAD = "unread"


class SettingsError(Exception):
    """Some variables are missing, weak or malformed; `faults` names each with its reasons, never with its value."""

    def __init__(self, faults: dict[str, list[str]]) -> None:
        self.faults = faults
        lines = [f"  {name}: {'; '.join(reasons)}" for name, reasons in sorted(faults.items())]
        super().__init__("these settings need attention:\n" + "\n".join(lines))


@dataclass(frozen=True)
class Variable:
    """One environment variable; `default` None means that it must be set."""

    name: str
    default: str | None
    help: str
    parse: Callable[[str], Any]
    planes: Plane
    is_secret: bool


def _variable(
    name: str, default: str | None, help: str, parse: Callable[[str], Any], planes: Plane, is_secret: bool = False
) -> Any:
    return field(metadata={"variable": Variable(name, default, help, parse, planes, is_secret)}, repr=not is_secret)


def _secret(text: str) -> str:
    if len(text) < 32:
        raise ValueError("is too short: use at least 32 random characters")
    if len(set(text)) < 10:
        raise ValueError("is weak: it repeats few characters; use random ones")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be printable ASCII without spaces")
    return text


def _pepper(text: str) -> bytes:
    return _secret(text).encode()


def _number(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.strip().isdecimal() or not lowest <= int(text) <= highest:
            raise ValueError(f"must be a whole number from {lowest} to {highest}")
        return int(text)

    return parse


def _truth(text: str) -> bool:
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.strip().lower() not in known:
        raise ValueError("must be true or false")
    return known[text.strip().lower()]


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.strip().lower() not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text.strip().lower()

    return parse


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text and not text.startswith(tuple(f"{scheme}:" for scheme in schemes)):
            raise ValueError(f"must be a URL starting with {' or '.join(f'{scheme}:' for scheme in schemes)}")
        try:
            urlsplit(text)
        except ValueError:  # its message may quote a password
            raise ValueError("is not a valid URL") from None
        return text

    return parse


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _file(text: str) -> Path | None:
    if text and not (os.path.isfile(text) and os.access(text, os.R_OK)):
        raise ValueError("names no readable file")
    return Path(text).resolve() if text else None


def _folder(text: str) -> Path:
    try:
        return Path(text).expanduser().resolve()
    except RuntimeError:
        raise ValueError("starts with the home folder of an unknown user") from None


def _optional_folder(text: str) -> Path | None:
    return _folder(text) if text else None


def _rate(text: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,8} per (second|minute|hour|day)", text.strip()):
        raise ValueError("must be a number per second, minute, hour or day, such as 600 per minute")
    return text.strip()


def _issuer(text: str) -> str:
    parts = urlsplit(text)
    is_near = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
    if text and not (parts.hostname and (parts.scheme == "https" or is_near)):
        raise ValueError("must be an https URL, or http on loopback")
    if parts.query or parts.fragment or parts.username:
        raise ValueError("must be a URL without user, query and fragment")
    return text


def _public(text: str) -> str:
    parts = urlsplit(_url("https", "http")(text))
    if text and not parts.hostname:
        raise ValueError("must be a URL with a host")
    if parts.query or parts.fragment or parts.username:
        raise ValueError("must be a URL without user, query and fragment")
    return text.rstrip("/")


def _argon2(text: str) -> str:
    if text and not re.fullmatch(r"\$argon2(id|i|d)\$v=\d+\$m=\d+,t=\d+,p=\d+\$[\w+/]+\$[\w+/]+", text):
        raise ValueError("must be an Argon2 hash, which begins with $argon2")
    return text


def _origin(text: str) -> str:
    origin = _issuer(text).rstrip("/")
    if urlsplit(origin).path:
        raise ValueError("must be a URL without a path")
    return origin


def _scopes(text: str) -> str:
    if "openid" not in text.split():
        raise ValueError("must be words with spaces between them, of which one is openid")
    return " ".join(text.split())


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be printable")
    return text


def _roles(text: str) -> Mapping[str, str]:
    pairs = [word.rpartition("=") for word in _words(text)]
    if any(not value.strip() or role.strip() not in ("auditor", "operator", "admin") for value, _, role in pairs):
        raise ValueError("must be value=role, comma-separated; roles are auditor, operator and admin")
    return {value.strip(): role.strip() for value, _, role in pairs}


def _optional_duration(text: str) -> timedelta | None:
    return durations.parse(text) if text else None


def _header(text: str) -> str:
    name, colon, value = text.partition(":")
    is_name = bool(name) and all(part.isalnum() for part in name.split("-"))
    if text and not (colon and is_name and value.strip() and text.isascii() and text.isprintable()):
        raise ValueError("must be like `Authorization: Bearer …`")
    return text


_port = _number(1, 65535)
_DATABASES = _url("sqlite", "postgresql", "postgresql+psycopg")
_A_REDIS = _url("redis", "rediss", "unix", *redis_urls.SCHEMES)


def _redis(text: str) -> str:
    if redis_urls.names_several(text):
        redis_urls.parse(text)
        return text
    return _A_REDIS(text)


@dataclass(frozen=True)
class Settings:
    """The effective configuration of one process. Fields of other planes hold their default or None."""

    management_token: str = _variable(
        "MANAGEMENT_TOKEN", None, "Bearer token of the management API: at least 32 random characters.",
        _secret, Plane.CONTROL | Plane.SUPERVISOR, is_secret=True,
    )  # fmt: skip
    encryption_keys: Keyring = _variable(
        "ENCRYPTION_KEYS", None,
        "Keys that seal provider keys at rest, as id:base64 of 32 random bytes, comma-separated; the first one seals.",
        Keyring.parse, ALL, is_secret=True,
    )  # fmt: skip
    token_pepper: bytes = _variable(
        "TOKEN_PEPPER", None, "Secret of the HMAC under which withering tokens are stored: at least 32 characters.",
        _pepper, ALL, is_secret=True,
    )  # fmt: skip
    data_dir: Path = _variable(
        "LLM_PROXY_DATA_DIR", "data", "Folder of the embedded database, embedded Redis, generated secrets and logs.",
        _folder, ALL | Plane.INSPECTOR | Plane.CLIENT,
    )  # fmt: skip
    database_url: str = _variable(
        "DATABASE_URL", "", "SQL database of the control plane; empty: SQLite in the data folder.",
        _DATABASES, Plane.CONTROL | Plane.SUPERVISOR, is_secret=True,
    )  # fmt: skip
    db_pool_size: int = _variable(
        "LLM_PROXY_DB_POOL_SIZE", "10", "Connections to PostgreSQL that a process keeps.",
        _number(1, 1000), Plane.CONTROL,
    )  # fmt: skip
    db_max_overflow: int = _variable(
        "LLM_PROXY_DB_MAX_OVERFLOW", "10", "Connections to PostgreSQL that a process opens besides when it needs them.",
        _number(0, 1000), Plane.CONTROL,
    )  # fmt: skip
    db_pool_recycle: int = _variable(
        "LLM_PROXY_DB_POOL_RECYCLE", "1800", "Seconds after which a connection to PostgreSQL is opened anew; 0: never.",
        _number(0, 86400), Plane.CONTROL,
    )  # fmt: skip
    db_statement_timeout: int = _variable(
        "LLM_PROXY_DB_STATEMENT_TIMEOUT", "30", "Seconds that PostgreSQL may take for a statement; 0: any time.",
        _number(0, 86400), Plane.CONTROL,
    )  # fmt: skip
    db_lock_timeout: int = _variable(
        "LLM_PROXY_DB_LOCK_TIMEOUT", "10", "Seconds that a statement waits for a lock of PostgreSQL; 0: any time.",
        _number(0, 86400), Plane.CONTROL,
    )  # fmt: skip
    copy_to: str = _variable(
        "LLM_PROXY_COPY_TO", "", "SQL database that `llm-proxy db copy` copies DATABASE_URL to.",
        _DATABASES, Plane.CONTROL, is_secret=True,
    )  # fmt: skip
    redis_url: str = _variable(
        "REDIS_URL", "", "Redis or Valkey that both planes share: a server, Sentinels or a Cluster; empty: embedded.",
        _redis, ALL | Plane.INSPECTOR, is_secret=True,
    )  # fmt: skip
    redis_timeout_ms: int = _variable(
        "LLM_PROXY_REDIS_TIMEOUT_MS", "500", "How long a request waits for Redis before it is refused with 503.",
        _number(10, 60_000), Plane.DATA,
    )  # fmt: skip
    listen_host: str = _variable(
        "LLM_PROXY_LISTEN_HOST", "127.0.0.1", "Address that proxy, manager and health endpoints listen on.",
        str, ALL | Plane.INSPECTOR,
    )  # fmt: skip
    proxy_port: int = _variable(
        "LLM_PROXY_PROXY_PORT", "8080", "Port that applications call.", _port, ALL | Plane.CLIENT
    )
    manager_port: int = _variable(
        "LLM_PROXY_MANAGER_PORT", "8000", "Port of the management API.",
        _port, Plane.CONTROL | Plane.SUPERVISOR | Plane.INSPECTOR | Plane.CLIENT,
    )  # fmt: skip
    client_token: str = _variable(
        "LLM_PROXY_TOKEN", "",
        "Withering token that `llm-proxy chat` and `benchmark` show to the proxy; empty: chats ask for one.",
        str, Plane.CLIENT, is_secret=True,
    )  # fmt: skip
    operator_token: str = _variable(
        "LLM_PROXY_OPERATOR_TOKEN", "",
        "Operator's token that commands show to the management API; empty: the generated management token.",
        str, Plane.CLIENT, is_secret=True,
    )  # fmt: skip
    public_url: str = _variable(
        "LLM_PROXY_PUBLIC_URL", "", "Where applications reach the proxy, without /v1; empty: its port on this machine.",
        _public, Plane.CONTROL | Plane.CLIENT,
    )  # fmt: skip
    inspector_port: int = _variable(
        "LLM_PROXY_INSPECTOR_PORT", "8081", "Port of mitmweb's page.", _port, ALL | Plane.INSPECTOR
    )
    inspector_host: str = _variable(
        "LLM_PROXY_INSPECTOR_HOST", "127.0.0.1", "Address that mitmweb's page listens on.",
        str, Plane.INSPECTOR | Plane.SUPERVISOR,
    )  # fmt: skip
    inspector_url: str = _variable(
        "LLM_PROXY_INSPECTOR_URL", "", "Where operators reach mitmweb; empty: its port on this machine.",
        _public, Plane.CONTROL | Plane.SUPERVISOR | Plane.INSPECTOR,
    )  # fmt: skip
    inspector_password: str = _variable(
        "LLM_PROXY_INSPECTOR_PASSWORD", "",
        "Argon2 hash of a password that lets look at flows without an operator's token; empty: there is none.",
        _argon2, Plane.INSPECTOR, is_secret=True,
    )  # fmt: skip
    inspector_flows: int = _variable(
        "LLM_PROXY_INSPECTOR_FLOWS", "5000", "How many flows mitmweb keeps, the oldest go first.",
        _number(10, 1_000_000), Plane.INSPECTOR,
    )  # fmt: skip
    inspector_mb: int = _variable(
        "LLM_PROXY_INSPECTOR_MB", "256", "How many MB the bodies of these flows may have together.",
        _number(1, 65536), Plane.INSPECTOR,
    )  # fmt: skip
    inspection: bool = _variable(
        "LLM_PROXY_INSPECTION", "true", "Tell the inspector of flows, as each project wants it; false: of none at all.",
        _truth, Plane.DATA,
    )  # fmt: skip
    feed_mb: int = _variable(
        "LLM_PROXY_FEED_MB", "64", "How many MB of flows Redis keeps for the inspector and for exports.",
        _number(1, 65536), Plane.DATA,
    )  # fmt: skip
    metrics_port: int = _variable(
        "LLM_PROXY_METRICS_PORT", "9101", "Port of the data plane's health and metrics endpoints.", _port, ALL
    )
    metrics_dir: Path | None = _variable(
        "PROMETHEUS_MULTIPROC_DIR", "",
        "Folder in which the workers of one machine add up their metrics; empty: under the data folder.",
        _optional_folder, Plane.DATA | Plane.SUPERVISOR,
    )  # fmt: skip
    workers: int = _variable(
        "LLM_PROXY_WORKERS", str(os.cpu_count() or 1), "Number of proxy processes; by default one per core.",
        _number(1, 256), Plane.DATA | Plane.SUPERVISOR,
    )  # fmt: skip
    upstream_connections: int = _variable(
        "LLM_PROXY_UPSTREAM_CONNECTIONS", "1000", "How many connections a worker may have to one provider.",
        _number(1, 65535), Plane.DATA,
    )  # fmt: skip
    upstream_queue: int = _variable(
        "LLM_PROXY_UPSTREAM_QUEUE", "1000", "How many requests of a worker may wait for one of them.",
        _number(0, 65535), Plane.DATA,
    )  # fmt: skip
    upstream_idle_seconds: int = _variable(
        "LLM_PROXY_UPSTREAM_IDLE_SECONDS", "30", "How long an unused connection to a provider is kept.",
        _number(1, 3600), Plane.DATA,
    )  # fmt: skip
    upstream_age_seconds: int = _variable(
        "LLM_PROXY_UPSTREAM_AGE_SECONDS", "600", "How long a connection to a provider is used at most.",
        _number(1, 86400), Plane.DATA,
    )  # fmt: skip
    drain_seconds: int = _variable(
        "LLM_PROXY_DRAIN_SECONDS", "30", "How long running requests may go on when a proxy is stopped or reloaded.",
        _number(0, 3600), Plane.DATA | Plane.SUPERVISOR,
    )  # fmt: skip
    manager_threads: int = _variable(
        "LLM_PROXY_MANAGER_THREADS", "8", "Requests that the manager serves at the same time.",
        _number(1, 256), Plane.CONTROL,
    )  # fmt: skip
    providers_file: Path | None = _variable(
        "LLM_PROXY_PROVIDERS_FILE", "", "Provider and route table in TOML; empty: the bundled one.", _file, ALL
    )
    tls_file: Path | None = _variable(
        "LLM_PROXY_TLS_FILE", "",
        "PEM file with private key and certificate chain; if given, applications must use TLS and may use HTTP/2.",
        _file, Plane.DATA,
    )  # fmt: skip
    upstream_ca_file: Path | None = _variable(
        "LLM_PROXY_UPSTREAM_CA_FILE", "",
        "PEM file of the authorities that providers' certificates are verified against; empty: the public ones.",
        _file, Plane.DATA | Plane.CONTROL,
    )  # fmt: skip
    upstream_cert_file: Path | None = _variable(
        "LLM_PROXY_UPSTREAM_CERT_FILE", "",
        "PEM file with private key and certificate that is shown to providers which ask for one.",
        _file, Plane.DATA | Plane.CONTROL,
    )  # fmt: skip
    allow_http_upstream: bool = _variable(
        "LLM_PROXY_ALLOW_HTTP_UPSTREAM", "false",
        "Accept http:// base URLs of projects that are not on loopback; provider keys then travel unencrypted.",
        _truth, Plane.CONTROL,
    )  # fmt: skip
    max_token_lifetime: timedelta = _variable(
        "LLM_PROXY_MAX_TOKEN_LIFETIME", "P365D", "Longest allowed life of a token: seconds or ISO 8601.",
        durations.parse, Plane.CONTROL,
    )  # fmt: skip
    request_retention: timedelta = _variable(
        "LLM_PROXY_REQUEST_RETENTION", "P30D", "How long single requests stay searchable; roll-ups stay for good.",
        durations.parse, Plane.CONTROL,
    )  # fmt: skip
    token_retention: timedelta | None = _variable(
        "LLM_PROXY_TOKEN_RETENTION", "P90D",
        "How long tokens that have expired can still be looked up, at least P7D; empty: for good. Usage stays.",
        _optional_duration, Plane.CONTROL,
    )  # fmt: skip
    reconcile_every: timedelta | None = _variable(
        "LLM_PROXY_RECONCILE_EVERY", "PT15M",
        "How often Redis is compared with SQL as a whole, and mended; empty: only by `llm-proxy reconcile`.",
        _optional_duration, Plane.CONTROL,
    )  # fmt: skip
    key_probe_every: timedelta | None = _variable(
        "LLM_PROXY_KEY_PROBE_EVERY", "PT15M",
        "How often providers are asked about keys that are set aside or were never asked about; empty: never.",
        _optional_duration, Plane.CONTROL,
    )  # fmt: skip
    export_url: str = _variable(
        "LLM_PROXY_EXPORT_URL", "",
        "Where usage and audit rows are shipped as JSON lines: an HTTP collector, or a folder (file:///…); empty: off.",
        _url("http", "https", "file"), Plane.CONTROL, is_secret=True,
    )  # fmt: skip
    export_header: str = _variable(
        "LLM_PROXY_EXPORT_HEADER", "", "A header for the collector that lets us in, as `Name: value`.",
        _header, Plane.CONTROL, is_secret=True,
    )  # fmt: skip
    audit_retention: timedelta | None = _variable(
        "LLM_PROXY_AUDIT_RETENTION", "", "How long events of the audit are kept; empty: for good.",
        _optional_duration, Plane.CONTROL,
    )  # fmt: skip
    api_rate: str = _variable(
        "LLM_PROXY_API_RATE", "600 per minute", "Requests that each principal, and each address, may send to the API.",
        _rate, Plane.CONTROL,
    )  # fmt: skip
    login_failures: int = _variable(
        "LLM_PROXY_LOGIN_FAILURES", "10", "Failed logins in a minute after which an address has to wait.",
        _number(1, 1_000_000), Plane.CONTROL,
    )  # fmt: skip
    proxies_in_front: int = _variable(
        "LLM_PROXY_PROXIES_IN_FRONT", "0", "Reverse proxies in front of the API, whose X-Forwarded-For is believed.",
        _number(0, 10), Plane.CONTROL,
    )  # fmt: skip
    ui_idle: timedelta = _variable(
        "LLM_PROXY_UI_IDLE", "PT8H", "How long a session of the admin UI lasts without being used.",
        durations.parse, Plane.CONTROL,
    )  # fmt: skip
    ui_remember: timedelta = _variable(
        "LLM_PROXY_UI_REMEMBER", "P30D", "How long a session of the admin UI lasts at most, and if it is remembered.",
        durations.parse, Plane.CONTROL,
    )  # fmt: skip
    oidc_issuer: str = _variable(
        "LLM_PROXY_OIDC_ISSUER", "", "OpenID Connect issuer whose tokens people may use on the API; empty: none.",
        _issuer, Plane.CONTROL,
    )  # fmt: skip
    oidc_audience: str = _variable(
        "LLM_PROXY_OIDC_AUDIENCE", "llm-proxy", "What those tokens must be made for.", str, Plane.CONTROL
    )
    oidc_role_claim: str = _variable(
        "LLM_PROXY_OIDC_ROLE_CLAIM", "roles", "The claim that tells the role, with dots for one within another.",
        str, Plane.CONTROL,
    )  # fmt: skip
    oidc_roles: Mapping[str, str] = _variable(
        "LLM_PROXY_OIDC_ROLES", "", "Which of its values is which role, as value=role, comma-separated; empty: none.",
        _roles, Plane.CONTROL,
    )  # fmt: skip
    oidc_client_id: str = _variable(
        "LLM_PROXY_OIDC_CLIENT_ID", "", "The admin UI's client at the issuer; empty: people do not sign in to the UI.",
        _printable, Plane.CONTROL,
    )  # fmt: skip
    oidc_client_secret: str = _variable(
        "LLM_PROXY_OIDC_CLIENT_SECRET", "", "The client's secret; empty: it is a public client, which has none.",
        _printable, Plane.CONTROL, is_secret=True,
    )  # fmt: skip
    oidc_scopes: str = _variable(
        "LLM_PROXY_OIDC_SCOPES", "openid", "Scopes that the admin UI asks the issuer for.", _scopes, Plane.CONTROL
    )
    oidc_name: str = _variable(
        "LLM_PROXY_OIDC_NAME", "single sign-on", "What the sign-in page calls the issuer.", _printable, Plane.CONTROL
    )
    manager_url: str = _variable(
        "LLM_PROXY_MANAGER_URL", "", "Where browsers reach the manager, such as https://llm.example.org.",
        _origin, Plane.CONTROL | Plane.INSPECTOR | Plane.CLIENT,
    )  # fmt: skip
    backup_every: timedelta | None = _variable(
        "LLM_PROXY_BACKUP_EVERY", "", "How often the jobs process makes a backup: seconds or ISO 8601; empty: never.",
        _optional_duration, Plane.CONTROL,
    )  # fmt: skip
    backup_dir: Path | None = _variable(
        "LLM_PROXY_BACKUP_DIR", "", "Folder of the backups; empty: `backups` in the data folder.",
        _optional_folder, Plane.CONTROL,
    )  # fmt: skip
    backup_keep: int = _variable(
        "LLM_PROXY_BACKUP_KEEP", "7", "How many backups that the jobs process has made are kept.",
        _number(1, 10_000), Plane.CONTROL,
    )  # fmt: skip
    backup_encrypt: bool = _variable(
        "LLM_PROXY_BACKUP_ENCRYPT", "true", "Encrypt backups with the first key of ENCRYPTION_KEYS.",
        _truth, Plane.CONTROL,
    )  # fmt: skip
    log_level: str = _variable(
        "LLM_PROXY_LOG_LEVEL", "info", "Least severe level that is logged.",
        _one_of("debug", "info", "warning", "error"), ALL | Plane.INSPECTOR,
    )  # fmt: skip
    demo_provider_key: str = _variable(
        "OPENAI_API_KEY", "", "Provider key for the demo of `llm-proxy up`; empty: the bundled mock provider answers.",
        str, Plane.SUPERVISOR, is_secret=True,
    )  # fmt: skip

    mock_keys: tuple[str, ...] = _variable(
        "LLM_PROXY_MOCK_KEYS", "", "Keys that the mock provider accepts, comma-separated; empty: any but our tokens.",
        _words, Plane.MOCK, is_secret=True,
    )  # fmt: skip

    # By the names of variables.
    sources: Mapping[str, Source] = field(default_factory=dict, repr=False)

    @property
    def redis_is_embedded(self) -> bool:
        """Whether Redis is the one that `llm-proxy up` starts."""
        return self.redis_url == f"unix://{embedded_socket(self.data_dir)}"

    def secrets(self) -> list[str]:
        """Every secret text of this process, for the log redactor."""
        values = [self.management_token, self.demo_provider_key, (self.token_pepper or b"").decode(), *self.mock_keys]
        values += [word for url in (self.database_url, self.copy_to, self.redis_url) for word in _passwords(url)]
        keys = self.encryption_keys.keys.values() if self.encryption_keys else []
        values += [*_passwords(self.export_url), self.export_header.partition(":")[2].strip()]
        values += [self.oidc_client_secret, self.inspector_password]
        return [value for value in values if value] + [base64.b64encode(key).decode() for key in keys]


def variables() -> list[Variable]:
    """Every variable of the product, in order of declaration."""
    return list(declared().values())


def declared() -> dict[str, Variable]:
    """Every variable by the name of its field in Settings."""
    return {entry.name: entry.metadata["variable"] for entry in fields(Settings) if "variable" in entry.metadata}


def load(plane: Plane, fallback: Mapping[str, str] | None = None) -> Settings:
    """Read the environment for one plane; `fallback` gives values for variables that it leaves unset.

    Raises SettingsError with every fault of every variable.
    """
    values, faults = _values(declared(), plane, fallback or {})
    if faults := faults | _shared_ports(values, _LISTENS.get(plane, ())):
        raise SettingsError(faults)
    values["database_url"] = values["database_url"] or f"sqlite:///{values['data_dir']}/llm-proxy.db"
    values["redis_url"] = values["redis_url"] or f"unix://{embedded_socket(values['data_dir'])}"
    values["public_url"] = values["public_url"] or f"http://127.0.0.1:{values['proxy_port']}"
    values["inspector_url"] = values["inspector_url"] or f"http://127.0.0.1:{values['inspector_port']}"
    sources = {variable.name: _source(variable, plane, fallback or {}) for variable in variables()}
    return Settings(**values, sources=sources)


def data_dir() -> Path:
    """Return the data folder, which the supervisor needs before it can read anything else. Raises SettingsError."""
    values, faults = _values({"data_dir": declared()["data_dir"]}, Plane.SUPERVISOR, {})
    if faults:
        raise SettingsError(faults)
    folder: Path = values["data_dir"]
    return folder


def unset(names: Iterable[str]) -> list[str]:
    """Return those variables that are neither set nor given as a file."""
    return [name for name in names if not os.environ.get(name) and not os.environ.get(f"{name}_FILE")]


def wants_no_colour() -> bool:
    """Tell whether whoever looks wants plain text (https://no-color.org)."""
    return bool(os.environ.get("NO_COLOR"))


def child_environment(plane: Plane | None, overrides: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment for a child of one plane, without the variables that are none of its business.

    None is a child that needs no variable of ours at all. `overrides` are added as they are.
    """
    foreign = {entry.name for entry in variables() if plane is None or not plane & entry.planes}
    foreign |= {f"{name}_FILE" for name in foreign}
    return {name: value for name, value in os.environ.items() if name not in foreign} | dict(overrides)


def embedded_socket(data_dir: Path) -> Path:
    """Where the embedded Redis listens: in the data folder, or in a private temporary one if that path is too long."""
    inside = data_dir / "valkey.sock"
    if len(str(inside).encode()) <= _LONGEST_SOCKET_PATH:
        return inside
    short = hashlib.sha256(str(data_dir).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"llm-proxy-{os.getuid()}-{short}" / "valkey.sock"


def generate_secret() -> str:
    """Return a value fit for MANAGEMENT_TOKEN or TOKEN_PEPPER: the random part of a token's format."""
    return tokens.generate().removeprefix(tokens.PREFIX)


def _values(
    wanted: Mapping[str, Variable], plane: Plane, fallback: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    env = environs.FileAwareEnv(eager=False, strip_whitespace=True)
    env.add_parser("variable", _read)
    values = {field_name: _value(env, variable, plane, fallback) for field_name, variable in wanted.items()}
    try:
        env.seal()
    except environs.EnvValidationError as error:
        return values, _without_values(error.error_messages)
    return values, {}


def _shared_ports(values: Mapping[str, Any], listens: Iterable[str]) -> dict[str, list[str]]:
    known = {name: variable.name for name, variable in declared().items()}
    users: dict[int, str] = {}
    faults = {}
    for name in listens:
        port, variable = values[name], known[name]
        if port is not None and users.setdefault(port, variable) != variable:
            faults[variable] = [f"is the same port as {users[port]}; give each its own"]
    return faults


def _value(env: environs.Env, variable: Variable, plane: Plane, fallback: Mapping[str, str]) -> Any:
    if not plane & variable.planes:
        return None if variable.default is None else variable.parse(variable.default)
    variable = replace(variable, default=fallback.get(variable.name, variable.default))
    try:
        return env.variable(variable.name, ... if variable.default is None else variable.default, variable=variable)
    except (OSError, ValueError):  # a NAME_FILE that cannot be read; the reason may quote what it names
        return env.variable(f"{variable.name}_FILE", "", variable=_unreadable(variable))


def _source(variable: Variable, plane: Plane, fallback: Mapping[str, str]) -> Source:
    if not plane & variable.planes:
        return Source.UNREAD
    if not unset([variable.name]):
        return Source.FILE if os.environ.get(f"{variable.name}_FILE") else Source.ENVIRONMENT
    return Source.GENERATED if variable.name in fallback else Source.DEFAULT


def _read(raw: str, variable: Variable) -> Any:
    text = raw if raw or variable.default is None else variable.default
    try:
        return variable.parse(text)
    except ValueError as error:
        raise environs.EnvValidationError(str(error), [str(error)]) from None


def _unreadable(variable: Variable) -> Variable:
    def parse(_: str) -> None:
        raise ValueError("names no readable text file")

    return replace(variable, default="", parse=parse)


def _passwords(url: str) -> list[str]:
    parts = urlsplit(redis_urls.with_one_host(url))
    queried = [value for name, value in parse_qsl(parts.query) if "password" in name.lower()]
    written = [parts.password or "", *queried]
    return [password for text in written for password in (text, unquote(text))]


def _without_values(messages: Any) -> dict[str, list[str]]:
    return {name: [str(message) for message in reasons] for name, reasons in messages.items()}
