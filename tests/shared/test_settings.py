"""The environment: what each plane reads, which faults are named, and what never shows."""

import base64
import tempfile
from collections.abc import Callable
from datetime import timedelta
from functools import reduce
from operator import or_
from pathlib import Path

import pytest

from shared import settings
from shared.settings import Plane, Settings, SettingsError, Source

# Fixed, since it names test cases: each test process must find the same ones.
KEY = base64.b64encode(bytes(range(32))).decode()
REQUIRED = {
    "MANAGEMENT_TOKEN": "management-0123456789-abcdefghijkl",
    "ENCRYPTION_KEYS": f"k1:{KEY}",
    "TOKEN_PEPPER": "pepper-9876543210-zyxwvutsrqponmlkj",
}
REQUIRED_BY = {
    Plane.DATA: {"ENCRYPTION_KEYS", "TOKEN_PEPPER"},
    Plane.CONTROL: set(REQUIRED),
    Plane.SUPERVISOR: set(REQUIRED),
    Plane.MOCK: set(),
    Plane.INSPECTOR: set(),
}
EVERY = reduce(or_, Plane)
# A value that each variable takes, different from its default.
OTHER_VALUES = {
    **REQUIRED,
    "LLM_PROXY_DATA_DIR": "elsewhere",
    "DATABASE_URL": "postgresql+psycopg://llm:database-password@db/llm",
    "LLM_PROXY_DB_POOL_SIZE": "9",
    "LLM_PROXY_DB_MAX_OVERFLOW": "0",
    "LLM_PROXY_DB_POOL_RECYCLE": "0",
    "LLM_PROXY_DB_STATEMENT_TIMEOUT": "60",
    "LLM_PROXY_DB_LOCK_TIMEOUT": "5",
    "LLM_PROXY_COPY_TO": "postgresql://llm:password-of-the-copy@other/llm",
    "REDIS_URL": "rediss://:redis-password@cache:6380/1",
    "LLM_PROXY_REDIS_TIMEOUT_MS": "250",
    "LLM_PROXY_LISTEN_HOST": "0.0.0.0",  # noqa: S104
    "LLM_PROXY_PROXY_PORT": "18080",
    "LLM_PROXY_MANAGER_PORT": "18000",
    "LLM_PROXY_PUBLIC_URL": "https://llm.example.org/proxy/",
    "LLM_PROXY_INSPECTOR_PORT": "18081",
    "LLM_PROXY_INSPECTOR_HOST": "10.0.0.1",
    "LLM_PROXY_INSPECTOR_URL": "https://mitmweb.example.org",
    "LLM_PROXY_INSPECTOR_PASSWORD": "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$MTIzNDU2Nzg5MDEyMzQ1Ng",
    "LLM_PROXY_INSPECTOR_FLOWS": "10",
    "LLM_PROXY_INSPECTOR_MB": "1",
    "LLM_PROXY_INSPECTION": "false",
    "LLM_PROXY_FEED_MB": "1",
    "LLM_PROXY_METRICS_PORT": "19101",
    "PROMETHEUS_MULTIPROC_DIR": "/run/llm-proxy/metrics",
    "LLM_PROXY_WORKERS": "255",
    "LLM_PROXY_UPSTREAM_CONNECTIONS": "999",
    "LLM_PROXY_UPSTREAM_QUEUE": "999",
    "LLM_PROXY_UPSTREAM_IDLE_SECONDS": "29",
    "LLM_PROXY_UPSTREAM_AGE_SECONDS": "599",
    "LLM_PROXY_DRAIN_SECONDS": "3599",
    "LLM_PROXY_MANAGER_THREADS": "3",
    "LLM_PROXY_PROVIDERS_FILE": __file__,
    "LLM_PROXY_TLS_FILE": __file__,
    "LLM_PROXY_UPSTREAM_CA_FILE": __file__,
    "LLM_PROXY_UPSTREAM_CERT_FILE": __file__,
    "LLM_PROXY_ALLOW_HTTP_UPSTREAM": "yes",
    "LLM_PROXY_MAX_TOKEN_LIFETIME": "P7D",
    "LLM_PROXY_REQUEST_RETENTION": "86400",
    "LLM_PROXY_AUDIT_RETENTION": "P90D",
    "LLM_PROXY_TOKEN_RETENTION": "P30D",
    "LLM_PROXY_RECONCILE_EVERY": "PT1H",
    "LLM_PROXY_KEY_PROBE_EVERY": "PT1H",
    "LLM_PROXY_EXPORT_URL": "https://user:collector-password@collector.example.org/in",
    "LLM_PROXY_EXPORT_HEADER": "Authorization: Bearer the-collector-s-token",
    "LLM_PROXY_API_RATE": "7 per second",
    "LLM_PROXY_LOGIN_FAILURES": "3",
    "LLM_PROXY_PROXIES_IN_FRONT": "1",
    "LLM_PROXY_UI_IDLE": "PT1H",
    "LLM_PROXY_UI_REMEMBER": "P7D",
    "LLM_PROXY_OIDC_ISSUER": "https://login.example.org/realms/ops",
    "LLM_PROXY_OIDC_AUDIENCE": "the-proxy",
    "LLM_PROXY_OIDC_ROLE_CLAIM": "groups",
    "LLM_PROXY_OIDC_ROLES": "cn=llm ops=operator, llm-admins=admin",
    "LLM_PROXY_OIDC_CLIENT_ID": "the-admin-ui",
    "LLM_PROXY_OIDC_CLIENT_SECRET": "secret-of-the-client",
    "LLM_PROXY_OIDC_SCOPES": "openid groups",
    "LLM_PROXY_OIDC_NAME": "Example login",
    "LLM_PROXY_MANAGER_URL": "https://llm.example.org",
    "LLM_PROXY_BACKUP_EVERY": "PT6H",
    "LLM_PROXY_BACKUP_DIR": "/mnt/backups",
    "LLM_PROXY_BACKUP_KEEP": "3",
    "LLM_PROXY_BACKUP_ENCRYPT": "no",
    "LLM_PROXY_LOG_LEVEL": "debug",
    "OPENAI_API_KEY": "sk-proj-0123456789abcdefghij",
    "LLM_PROXY_MOCK_KEYS": "mock-key-one, mock-key-two",
}
NAMES = [variable.name for variable in settings.variables()]
FIELDS = {variable.name: field for field, variable in settings.declared().items()}

type Set = Callable[..., None]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Set:
    """An environment without any variable of ours, in an empty folder; call it to set some."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
    monkeypatch.chdir(tmp_path)

    def set_variables(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return set_variables


@pytest.fixture
def environment(bare: Set) -> Set:
    """The same with all required variables set."""
    bare(**REQUIRED)
    return bare


def faults(plane: Plane = Plane.CONTROL) -> dict[str, list[str]]:
    with pytest.raises(SettingsError) as caught:
        settings.load(plane)
    return caught.value.faults


# Required variables and planes


@pytest.mark.parametrize("plane", [Plane.DATA, Plane.CONTROL, Plane.SUPERVISOR])
def test_every_missing_variable_of_the_plane_is_named_at_once(bare: Set, plane: Plane) -> None:
    with pytest.raises(SettingsError) as caught:
        settings.load(plane)

    assert set(caught.value.faults) == REQUIRED_BY[plane]
    assert all(f"  {name}: Environment variable not set." in str(caught.value) for name in REQUIRED_BY[plane])


@pytest.mark.parametrize("plane", Plane)
def test_a_plane_needs_its_required_variables_and_nothing_else(bare: Set, plane: Plane) -> None:
    bare(**{name: REQUIRED[name] for name in REQUIRED_BY[plane]})

    assert isinstance(settings.load(plane), Settings)


def test_missing_malformed_weak_and_unreadable_are_reported_together(bare: Set) -> None:
    bare(
        ENCRYPTION_KEYS="k1:short",
        TOKEN_PEPPER="a" * 40,
        DATABASE_URL_FILE="/nowhere",
        LLM_PROXY_PROXY_PORT="eighty",
        LLM_PROXY_LOG_LEVEL="loud",
    )

    assert set(faults()) == {
        "MANAGEMENT_TOKEN",
        "ENCRYPTION_KEYS",
        "TOKEN_PEPPER",
        "DATABASE_URL_FILE",
        "LLM_PROXY_PROXY_PORT",
        "LLM_PROXY_LOG_LEVEL",
    }


@pytest.mark.parametrize("plane", Plane)
def test_a_plane_reads_its_own_variables_and_holds_no_value_of_another(environment: Set, plane: Plane) -> None:
    environment(**OTHER_VALUES)

    loaded = settings.load(plane)

    for variable in settings.variables():
        value = getattr(loaded, FIELDS[variable.name])
        if plane & variable.planes:
            assert value == variable.parse(OTHER_VALUES[variable.name]), variable.name
        else:
            assert value != variable.parse(OTHER_VALUES[variable.name]), variable.name


def test_the_data_plane_holds_neither_management_token_nor_database_url(environment: Set, tmp_path: Path) -> None:
    environment(**OTHER_VALUES)

    loaded = settings.load(Plane.DATA)

    assert loaded.management_token is None
    assert loaded.database_url == f"sqlite:///{tmp_path}/elsewhere/llm-proxy.db"
    assert not any("management" in secret or "database-password" in secret for secret in loaded.secrets())


def test_the_data_plane_does_not_even_read_what_is_none_of_its_business(environment: Set) -> None:
    environment(MANAGEMENT_TOKEN="weak", DATABASE_URL="oracle:no", MANAGEMENT_TOKEN_FILE="/nowhere")

    assert settings.load(Plane.DATA).management_token is None


def test_every_variable_has_another_value_in_these_tests() -> None:
    assert set(OTHER_VALUES) == set(NAMES)
    assert all(variable.default != OTHER_VALUES[variable.name] for variable in settings.variables())


# Faults


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("MANAGEMENT_TOKEN", "", "too short"),
        ("MANAGEMENT_TOKEN", "0123456789abcdefghijklmnopqrstu", "too short"),
        ("MANAGEMENT_TOKEN", "a" * 64, "weak"),
        ("MANAGEMENT_TOKEN", "012345678" * 8, "weak"),
        ("MANAGEMENT_TOKEN", "0123456789 abcdefghijklmnopqrstuvw", "printable ASCII"),
        ("MANAGEMENT_TOKEN", "0123456789ébcdefghijklmnopqrstuvw", "printable ASCII"),
        ("MANAGEMENT_TOKEN", "0123456789\tbcdefghijklmnopqrstuvw", "printable ASCII"),
        ("TOKEN_PEPPER", "short", "too short"),
        ("TOKEN_PEPPER", "b" * 64, "weak"),
        ("ENCRYPTION_KEYS", "", "at least one key"),
        ("ENCRYPTION_KEYS", f"k1:{base64.b64encode(bytes(32)).decode()}", "weak"),
        ("ENCRYPTION_KEYS", f"k1:{KEY},k1:{KEY}", "twice"),
        ("LLM_PROXY_DATA_DIR", "~nobody-of-this-name/data", "unknown user"),
        ("DATABASE_URL", "mysql://llm:database-password@db/llm", "starting with sqlite: or postgresql:"),
        ("DATABASE_URL", "postgresql://llm:database-password@[db/llm", "not a valid URL"),
        ("DATABASE_URL", "/var/lib/llm.db", "must be a URL"),
        ("REDIS_URL", "http://cache", "starting with redis: or rediss: or unix:"),
        ("REDIS_URL", "redis://:redis-\u2100password@cache", "not a valid URL"),
        ("REDIS_URL", "redis+sentinel://:redis-password@cache", "must name the master"),
        ("REDIS_URL", "rediss+cluster://:redis-password@cache:redis-password", "host:port"),
        ("LLM_PROXY_PROXY_PORT", "0", "from 1 to 65535"),
        ("LLM_PROXY_PROXY_PORT", "65536", "from 1 to 65535"),
        ("LLM_PROXY_PROXY_PORT", "-1", "from 1 to 65535"),
        ("LLM_PROXY_PROXY_PORT", "80.0", "from 1 to 65535"),
        ("LLM_PROXY_PUBLIC_URL", "llm.example.org", "starting with https: or http:"),
        ("LLM_PROXY_PUBLIC_URL", "https:///v1", "with a host"),
        ("LLM_PROXY_PUBLIC_URL", "ftp://llm.example.org", "starting with https: or http:"),
        ("LLM_PROXY_PUBLIC_URL", "https://user@llm.example.org", "without user, query and fragment"),
        ("LLM_PROXY_PUBLIC_URL", "https://llm.example.org/?a=b", "without user, query and fragment"),
        ("LLM_PROXY_MANAGER_THREADS", "257", "from 1 to 256"),
        ("LLM_PROXY_PROVIDERS_FILE", "/nowhere.toml", "no readable file"),
        ("LLM_PROXY_PROVIDERS_FILE", "/", "no readable file"),
        ("LLM_PROXY_PROVIDERS_FILE", "x" * 300, "no readable file"),
        ("LLM_PROXY_ALLOW_HTTP_UPSTREAM", "maybe", "true or false"),
        ("LLM_PROXY_MAX_TOKEN_LIFETIME", "P1Y", "in days"),
        ("LLM_PROXY_MAX_TOKEN_LIFETIME", "0", "longer than zero"),
        ("LLM_PROXY_REQUEST_RETENTION", "forever", "ISO 8601"),
        ("LLM_PROXY_OIDC_ISSUER", "http://login.example.org", "https URL, or http on loopback"),
        ("LLM_PROXY_OIDC_ISSUER", "https://login.example.org/?a=b", "without user, query and fragment"),
        ("LLM_PROXY_OIDC_SCOPES", "profile groups", "one is openid"),
        ("LLM_PROXY_OIDC_SCOPES", "openid2", "one is openid"),
        ("LLM_PROXY_OIDC_NAME", "a\nb", "printable"),
        ("LLM_PROXY_MANAGER_URL", "llm.example.org", "https URL, or http on loopback"),
        ("LLM_PROXY_MANAGER_URL", "http://llm.example.org", "https URL, or http on loopback"),
        ("LLM_PROXY_MANAGER_URL", "https://llm.example.org/ui/", "without a path"),
        ("LLM_PROXY_MANAGER_URL", "https://user@llm.example.org", "without user, query and fragment"),
        ("LLM_PROXY_LOG_LEVEL", "verbose", "one of debug, info, warning, error"),
    ],
)
def test_a_faulty_value_is_named_with_its_reason(environment: Set, name: str, value: str, reason: str) -> None:
    environment(**{name: value})

    [(fault, [message])] = faults().items()

    assert fault == name
    assert reason in message


@pytest.mark.parametrize(
    ("plane", "same", "faulty"),
    [
        (Plane.SUPERVISOR, ["PROXY", "MANAGER"], {"MANAGER": "PROXY"}),
        (Plane.SUPERVISOR, ["PROXY", "METRICS"], {"METRICS": "PROXY"}),
        (Plane.SUPERVISOR, ["MANAGER", "METRICS"], {"METRICS": "MANAGER"}),
        (Plane.SUPERVISOR, ["PROXY", "MANAGER", "METRICS"], {"MANAGER": "PROXY", "METRICS": "PROXY"}),
        (Plane.DATA, ["PROXY", "METRICS"], {"METRICS": "PROXY"}),
    ],
    ids=str,
)
def test_two_listeners_of_one_machine_cannot_have_one_port(
    environment: Set, plane: Plane, same: list[str], faulty: dict[str, str]
) -> None:
    environment(**{f"LLM_PROXY_{name}_PORT": "7777" for name in same})

    found = faults(plane)

    assert {(name, message) for name, [message] in found.items()} == {
        (f"LLM_PROXY_{name}_PORT", f"is the same port as LLM_PROXY_{other}_PORT; give each its own")
        for name, other in faulty.items()
    }


def test_equal_ports_are_named_together_with_other_faults(environment: Set) -> None:
    environment(LLM_PROXY_PROXY_PORT="8000", LLM_PROXY_METRICS_PORT="0", TOKEN_PEPPER="short")

    assert set(faults(Plane.SUPERVISOR)) == {"LLM_PROXY_MANAGER_PORT", "LLM_PROXY_METRICS_PORT", "TOKEN_PEPPER"}


def test_the_manager_of_another_machine_may_have_the_proxys_port(environment: Set) -> None:
    environment(LLM_PROXY_MANAGER_PORT="8080", LLM_PROXY_METRICS_PORT="8080")

    assert settings.load(Plane.CONTROL).manager_port == 8080


@pytest.mark.parametrize(("value", "milliseconds"), [("10", 10), ("60000", 60_000), (" 75 ", 75)])
def test_the_ends_of_a_range_belong_to_it(environment: Set, value: str, milliseconds: int) -> None:
    environment(LLM_PROXY_REDIS_TIMEOUT_MS=value)

    assert settings.load(Plane.DATA).redis_timeout_ms == milliseconds


@pytest.mark.parametrize(
    ("value", "truth"), [("true", True), ("1", True), (" YES ", True), ("False", False), ("0", False), ("no", False)]
)
def test_truth_is_written_in_several_ways(environment: Set, value: str, truth: bool) -> None:
    environment(LLM_PROXY_ALLOW_HTTP_UPSTREAM=value)

    assert settings.load(Plane.CONTROL).allow_http_upstream is truth


@pytest.mark.parametrize("value", ["https://llm.example.org", "https://llm.example.org/"])
def test_a_slash_at_the_end_of_an_address_means_nothing(environment: Set, value: str) -> None:
    environment(LLM_PROXY_MANAGER_URL=value)

    assert settings.load(Plane.CONTROL).manager_url == "https://llm.example.org"


CANARY = "canary-value"


@pytest.mark.parametrize("form", ["{}", "k1:{}", "redis:{}", "postgresql://u:{}\u2100@[h", "{0}{0}{0} {0}", "/{}\x7f"])
def test_no_error_message_holds_a_value(bare: Set, form: str) -> None:
    bare(**dict.fromkeys(NAMES, form.format(CANARY)))

    with pytest.raises(SettingsError) as caught:
        settings.load(EVERY)

    assert "MANAGEMENT_TOKEN" in caught.value.faults
    assert CANARY not in str(caught.value)
    assert CANARY not in repr(caught.value.faults)
    assert caught.value.__cause__ is None and caught.value.__context__ is None


# Files


def test_any_variable_may_be_given_as_a_file(bare: Set, tmp_path: Path) -> None:
    for name, value in OTHER_VALUES.items():
        (tmp_path / name).write_text(f"{value}\n")
        bare(**{f"{name}_FILE": str(tmp_path / name)})

    loaded = settings.load(EVERY)

    for variable in settings.variables():
        assert getattr(loaded, FIELDS[variable.name]) == variable.parse(OTHER_VALUES[variable.name])


def test_a_file_wins_over_the_variable_itself(environment: Set, tmp_path: Path) -> None:
    (tmp_path / "port").write_text("9999")
    environment(LLM_PROXY_PROXY_PORT="8888", LLM_PROXY_PROXY_PORT_FILE=str(tmp_path / "port"))

    assert settings.load(Plane.DATA).proxy_port == 9999


def test_an_empty_file_means_the_default(environment: Set, tmp_path: Path) -> None:
    (tmp_path / "port").write_text("\n")
    environment(LLM_PROXY_PROXY_PORT_FILE=str(tmp_path / "port"))

    assert settings.load(Plane.DATA).proxy_port == 8080


@pytest.mark.parametrize("spoil", ["missing", "folder", "below a file", "binary", "endless"])
def test_a_file_that_cannot_be_read_is_a_fault_which_does_not_quote_it(
    environment: Set, tmp_path: Path, spoil: str
) -> None:
    (tmp_path / "binary").write_bytes(b"canary-value \xff\xfe")
    path = {
        "missing": "/canary-value/nowhere",
        "folder": str(tmp_path),
        "below a file": f"{tmp_path}/binary/canary-value",
        "binary": f"{tmp_path}/binary",
        "endless": CANARY * 100,
    }[spoil]
    environment(TOKEN_PEPPER_FILE=path)

    found = faults(Plane.DATA)

    assert found == {"TOKEN_PEPPER_FILE": ["names no readable text file"]}


def test_a_file_of_another_plane_is_not_opened(environment: Set) -> None:
    environment(DATABASE_URL_FILE="/nowhere", MANAGEMENT_TOKEN_FILE="/nowhere")

    assert settings.load(Plane.DATA).management_token is None


# Defaults and fallbacks


def test_the_defaults_are_the_documented_ones(environment: Set, tmp_path: Path) -> None:
    loaded = settings.load(EVERY)

    assert loaded.data_dir == tmp_path / "data"
    assert loaded.database_url == f"sqlite:///{tmp_path}/data/llm-proxy.db"
    assert loaded.redis_url == f"unix://{settings.embedded_socket(tmp_path / 'data')}"
    assert loaded.redis_is_embedded
    assert loaded.listen_host == "127.0.0.1"
    assert (loaded.proxy_port, loaded.manager_port, loaded.inspector_port) == (8080, 8000, 8081)
    assert loaded.public_url == "http://127.0.0.1:8080"
    assert (loaded.metrics_port, loaded.redis_timeout_ms, loaded.manager_threads) == (9101, 500, 8)
    assert loaded.workers >= 1
    assert loaded.metrics_dir is None
    assert loaded.providers_file is None
    assert loaded.allow_http_upstream is False
    assert loaded.max_token_lifetime == timedelta(days=365)
    assert loaded.request_retention == timedelta(days=30)
    assert (loaded.log_level, loaded.demo_provider_key, loaded.mock_keys) == ("info", "", ())


def test_applications_are_told_the_port_of_the_proxy_unless_something_else_is_said(environment: Set) -> None:
    environment(LLM_PROXY_PROXY_PORT="18080")

    assert settings.load(Plane.CONTROL).public_url == "http://127.0.0.1:18080"


@pytest.mark.parametrize("name", [variable.name for variable in settings.variables() if variable.default is not None])
def test_an_empty_string_means_the_default(environment: Set, name: str) -> None:
    without = getattr(settings.load(EVERY), FIELDS[name])

    environment(**{name: "", f"{name}_FILE": ""})

    assert getattr(settings.load(EVERY), FIELDS[name]) == without


def test_every_default_passes_its_own_check() -> None:
    assert all(v.default is None or v.parse(v.default) is not ... for v in settings.variables())


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("how", [{}, {"": ""}, {"_FILE": ""}])
def test_a_fallback_fills_in_what_is_unset_or_empty(
    environment: Set, monkeypatch: pytest.MonkeyPatch, name: str, how: dict[str, str]
) -> None:
    monkeypatch.delenv(name)
    environment(**{name + suffix: value for suffix, value in how.items()})

    loaded = settings.load(Plane.SUPERVISOR, {name: REQUIRED[name]})

    assert settings.unset(REQUIRED) == [name]
    assert getattr(loaded, FIELDS[name])


def test_a_fallback_does_not_override_the_environment(environment: Set) -> None:
    loaded = settings.load(Plane.SUPERVISOR, {"MANAGEMENT_TOKEN": "fallback-0123456789-abcdefghijklmn"})

    assert loaded.management_token == REQUIRED["MANAGEMENT_TOKEN"]


def test_a_fallback_is_checked_like_any_value(bare: Set) -> None:
    with pytest.raises(SettingsError, match="MANAGEMENT_TOKEN: is too short"):
        settings.load(Plane.CONTROL, REQUIRED | {"MANAGEMENT_TOKEN": "short"})


def test_unset_names_what_is_neither_set_nor_given_as_a_file(bare: Set) -> None:
    bare(MANAGEMENT_TOKEN="x", TOKEN_PEPPER_FILE="/some/file", DATABASE_URL="", REDIS_URL_FILE="")

    names = ["MANAGEMENT_TOKEN", "TOKEN_PEPPER", "DATABASE_URL", "REDIS_URL", "ENCRYPTION_KEYS"]

    assert settings.unset(names) == ["DATABASE_URL", "REDIS_URL", "ENCRYPTION_KEYS"]


def test_a_generated_secret_is_strong_enough_and_new_each_time(bare: Set) -> None:
    secrets = {settings.generate_secret() for _ in range(50)}

    assert len(secrets) == 50
    for secret in secrets:
        assert settings.load(Plane.CONTROL, REQUIRED | {"MANAGEMENT_TOKEN": secret}).management_token == secret


# The data folder and the embedded Redis


@pytest.mark.parametrize("value", ["", "relative", "/absolute/place", "~/home"])
def test_the_data_folder_is_known_before_anything_else(bare: Set, value: str) -> None:
    bare(LLM_PROXY_DATA_DIR=value)

    folder = settings.data_dir()

    assert folder.is_absolute()
    assert folder == settings.load(Plane.SUPERVISOR, REQUIRED).data_dir


def test_the_data_folder_may_be_given_as_a_file(bare: Set, tmp_path: Path) -> None:
    (tmp_path / "name").write_text("/srv/llm-proxy\n")
    bare(LLM_PROXY_DATA_DIR_FILE=str(tmp_path / "name"))

    assert settings.data_dir() == Path("/srv/llm-proxy")


def test_a_faulty_data_folder_is_a_settings_error(bare: Set) -> None:
    bare(LLM_PROXY_DATA_DIR_FILE="/nowhere")

    with pytest.raises(SettingsError, match="LLM_PROXY_DATA_DIR_FILE: names no readable text file"):
        settings.data_dir()


@pytest.mark.parametrize("length", [1, 88])
def test_the_embedded_socket_stands_in_the_data_folder(length: int) -> None:
    folder = Path("/" + "d" * (length - 1))

    assert settings.embedded_socket(folder) == folder / "valkey.sock"


@pytest.mark.parametrize("folder", [Path("/" + "d" * 88), Path("/" + "d" * 300), Path("/" + "ü" * 50)])
def test_a_socket_path_too_long_for_the_kernel_becomes_a_short_private_one(folder: Path) -> None:
    path = settings.embedded_socket(folder)

    assert len(str(path).encode()) <= 100
    assert path.parent.parent == Path(tempfile.gettempdir())
    assert path.parent.name.startswith("llm-proxy-")
    assert path == settings.embedded_socket(folder)
    assert path != settings.embedded_socket(folder / "other")


@pytest.mark.parametrize("url", ["redis://cache", "unix:///run/other.sock", "redis+cluster://one,two"])
def test_another_redis_is_not_the_embedded_one(environment: Set, url: str) -> None:
    environment(REDIS_URL=url)

    assert not settings.load(Plane.DATA).redis_is_embedded


# Children


@pytest.mark.parametrize("plane", [*Plane, None])
def test_a_child_gets_the_variables_of_its_plane_only_in_either_form(bare: Set, plane: Plane | None) -> None:
    bare(**OTHER_VALUES, **{f"{name}_FILE": "/some/file" for name in NAMES}, PATH="/bin", OTHER_FILE="kept")

    child = settings.child_environment(plane, {})

    own = {v.name for v in settings.variables() if plane is not None and plane & v.planes}
    assert {name for name in child if name.removesuffix("_FILE") in NAMES or name in NAMES} == {
        name + suffix for name in own for suffix in ("", "_FILE")
    }
    assert (child["PATH"], child["OTHER_FILE"]) == ("/bin", "kept")


def test_a_data_plane_child_gets_no_management_token_and_no_database_url(bare: Set) -> None:
    bare(**OTHER_VALUES, MANAGEMENT_TOKEN_FILE="/run/secrets/token", DATABASE_URL_FILE="/run/secrets/url")

    child = settings.child_environment(Plane.DATA, {})

    assert not {name for name in child if name.startswith(("MANAGEMENT_TOKEN", "DATABASE_URL", "OPENAI_API_KEY"))}
    assert child["ENCRYPTION_KEYS"] == REQUIRED["ENCRYPTION_KEYS"]


def test_overrides_reach_the_child_as_they_are(environment: Set) -> None:
    child = settings.child_environment(Plane.MOCK, {"LLM_PROXY_MOCK_KEYS": "a", "TOKEN_PEPPER": "given on purpose"})

    assert (child["LLM_PROXY_MOCK_KEYS"], child["TOKEN_PEPPER"]) == ("a", "given on purpose")


# Secrets


def test_secrets_lists_every_secret_that_the_process_holds(environment: Set) -> None:
    environment(**OTHER_VALUES)

    held = settings.load(EVERY).secrets()

    assert set(held) == {
        REQUIRED["MANAGEMENT_TOKEN"],
        REQUIRED["TOKEN_PEPPER"],
        KEY,
        "database-password",
        "password-of-the-copy",
        "redis-password",
        "sk-proj-0123456789abcdefghij",
        "mock-key-one",
        "mock-key-two",
        "collector-password",
        "Bearer the-collector-s-token",
        "secret-of-the-client",
        OTHER_VALUES["LLM_PROXY_INSPECTOR_PASSWORD"],
    }


def test_a_plane_without_secrets_lists_none(bare: Set) -> None:
    assert settings.load(Plane.MOCK).secrets() == []


@pytest.mark.parametrize(
    ("url", "passwords"),
    [
        ("redis://cache", set()),
        ("redis://user@cache", set()),
        ("redis://:se%2Fcret@cache", {"se%2Fcret", "se/cret"}),
        ("redis://user:p@ss@cache", {"p@ss"}),
        ("redis://cache?password=queried", {"queried"}),
        ("unix:///run/redis.sock?password=queried", {"queried"}),
        ("redis+cluster://:se%2Fcret@[::1]:1,[::2]:2", {"se%2Fcret", "se/cret"}),
        ("rediss+sentinel://:one@a,b/m?sentinel_password=two&ssl_password=three", {"one", "two", "three"}),
    ],
)
def test_passwords_of_urls_are_secrets_wherever_they_stand(environment: Set, url: str, passwords: set[str]) -> None:
    environment(REDIS_URL=url)

    assert set(settings.load(Plane.DATA).secrets()) == passwords | {REQUIRED["TOKEN_PEPPER"], KEY}


def test_every_secret_variable_is_marked_as_one() -> None:
    assert {variable.name for variable in settings.variables() if variable.is_secret} == {
        *REQUIRED,
        "DATABASE_URL",
        "LLM_PROXY_COPY_TO",
        "LLM_PROXY_EXPORT_URL",
        "LLM_PROXY_EXPORT_HEADER",
        "LLM_PROXY_INSPECTOR_PASSWORD",
        "LLM_PROXY_OIDC_CLIENT_SECRET",
        "REDIS_URL",
        "OPENAI_API_KEY",
        "LLM_PROXY_MOCK_KEYS",
    }


def test_the_repr_of_settings_shows_no_secret(environment: Set) -> None:
    environment(**OTHER_VALUES)
    loaded = settings.load(EVERY)

    shown = repr(loaded) + str(loaded)

    assert "proxy_port=18080" in shown
    assert not [secret for secret in loaded.secrets() if secret in shown]


def test_settings_cannot_be_changed(environment: Set) -> None:
    loaded = settings.load(Plane.DATA)

    with pytest.raises(AttributeError):
        loaded.proxy_port = 1  # type: ignore[misc]


# Where values are from


@pytest.mark.parametrize("name", [variable.name for variable in settings.variables()])
def test_each_value_is_known_to_be_set_a_file_or_the_default(environment: Set, tmp_path: Path, name: str) -> None:
    before = settings.load(EVERY).sources[name]
    assert before is (Source.ENVIRONMENT if name in REQUIRED else Source.DEFAULT)

    environment(**{name: OTHER_VALUES[name]})
    assert settings.load(EVERY).sources[name] is Source.ENVIRONMENT

    (tmp_path / "value").write_text(OTHER_VALUES[name])
    environment(**{f"{name}_FILE": str(tmp_path / "value")})
    assert settings.load(EVERY).sources[name] is Source.FILE


def test_what_was_generated_is_known_to_be_so(bare: Set) -> None:
    bare(TOKEN_PEPPER=REQUIRED["TOKEN_PEPPER"])

    sources = settings.load(Plane.SUPERVISOR, REQUIRED).sources

    assert [sources[name] for name in REQUIRED] == [Source.GENERATED, Source.GENERATED, Source.ENVIRONMENT]


def test_of_other_planes_variables_nothing_is_known(environment: Set) -> None:
    environment(LLM_PROXY_WORKERS="3")

    loaded = settings.load(Plane.CONTROL)

    unread = {name for name, source in loaded.sources.items() if source is Source.UNREAD}
    assert unread == {v.name for v in settings.variables() if not v.planes & Plane.CONTROL}
    assert "LLM_PROXY_WORKERS" in unread


def test_where_values_are_from_is_not_told_in_logs(environment: Set) -> None:
    assert "sources" not in repr(settings.load(Plane.CONTROL))
