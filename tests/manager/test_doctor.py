"""Rules of the doctor: each fault is found and comes with what to do, and nothing is changed by looking."""

import socket
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa
import trustme
from click.testing import CliRunner

from manager import db, doctor
from manager.cli import main
from manager.doctor import folder, listening, providers, redis_server, sql, tls
from manager.doctor.finding import Finding, Level
from manager.running import Phase, Post
from manager.single_machine import own_folder
from shared import sealing, settings
from shared.settings import Plane, Settings
from tests.manager.conftest import MANAGEMENT_TOKEN, NOBODY, PEPPER, Rows
from tests.ports import free_port

type SettingsOf = Callable[..., Settings]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SettingsOf:
    """Settings of an installation of its own, whose ports are free and whose Redis is nobody's."""
    ring = f"k1:{sealing.generate_key()}"

    def make(**variables: str) -> Settings:
        with pytest.MonkeyPatch.context() as patch:
            for variable in settings.variables():
                patch.delenv(variable.name, raising=False)
            ports = {
                f"LLM_PROXY_{name}_PORT": str(free_port()) for name in ("PROXY", "MANAGER", "METRICS", "INSPECTOR")
            }
            own = {"MANAGEMENT_TOKEN": MANAGEMENT_TOKEN, "TOKEN_PEPPER": PEPPER, "ENCRYPTION_KEYS": ring, **ports}
            for name, value in {**own, "LLM_PROXY_DATA_DIR": str(tmp_path / "data"), **variables}.items():
                patch.setenv(name, value)
            return settings.load(Plane.SUPERVISOR | Plane.DATA)

    return make


def worst(findings: "list[Finding]") -> Level:
    return max((each.level for each in findings), key=list(Level).index)


def only(findings: "list[Finding]", level: Level) -> Finding:
    """The one finding of a level; it says what to do."""
    [found] = [each for each in findings if each.level is level]
    assert found.fix
    return found


def test_a_new_installation_is_well_and_stays_untouched(given: SettingsOf, tmp_path: Path) -> None:
    found = list(doctor.examine(given()))

    assert worst(found) is Level.OK and {each.subject for each in found} >= {
        "data folder",
        "ports",
        "database",
        "Redis",
    }
    assert not (tmp_path / "data").exists()


# Folder and ports


def test_a_proxy_that_was_drained_is_not_taken_for_a_broken_one(given: SettingsOf) -> None:
    configuration = given()
    with own_folder(configuration.data_dir), closing(Post(configuration.data_dir, 8080, 1)) as post:
        post.tell(Phase.DRAINED)

        told = {each.subject: each for each in listening.ports(configuration)}

    assert (told["manager"].level, told["proxy"].level) == (Level.FAULT, Level.WARNING)
    assert "llm-proxy reload" in told["proxy"].fix


def test_who_may_enter_the_folder_is_told(given: SettingsOf) -> None:
    configuration = given()
    configuration.data_dir.mkdir()
    configuration.data_dir.chmod(0o755)
    (configuration.data_dir / "secrets.env").write_text("MANAGEMENT_TOKEN=x\n")
    (configuration.data_dir / "secrets.env").chmod(0o644)

    found = list(folder.look(configuration))

    assert "chmod 700" in only(found, Level.WARNING).fix and "chmod 600" in only(found, Level.FAULT).fix
    configuration.data_dir.chmod(0o700)
    (configuration.data_dir / "secrets.env").chmod(0o600)
    assert worst(list(folder.look(configuration))) is Level.OK


def test_a_file_in_the_folders_place_is_a_fault(given: SettingsOf) -> None:
    configuration = given()
    configuration.data_dir.write_text("")

    assert "no folder" in only(list(folder.look(configuration)), Level.FAULT).told


def test_a_port_that_is_taken_is_a_fault(given: SettingsOf) -> None:
    configuration = given()
    with socket.create_server(("127.0.0.1", configuration.proxy_port)):
        found = list(doctor.ports(configuration))

    assert "LLM_PROXY_PROXY_PORT" in only(found, Level.FAULT).told


def test_a_running_installation_that_is_not_ready_is_a_fault(given: SettingsOf) -> None:
    configuration = given()

    with own_folder(configuration.data_dir):
        found = list(doctor.ports(configuration))

    assert [(each.subject, each.level) for each in found] == [("manager", Level.FAULT), ("proxy", Level.FAULT)]


# TLS


def pem(path: Path, *parts: bytes) -> Path:
    path.write_bytes(b"".join(parts))
    path.chmod(0o600)
    return path


def test_files_of_tls_are_looked_at(given: SettingsOf, tmp_path: Path) -> None:
    authority = trustme.CA()
    leaf, other = authority.issue_cert("proxy.example.org"), authority.issue_cert("other.example.org")
    chain = leaf.cert_chain_pems[0].bytes()
    good = pem(tmp_path / "good.pem", leaf.private_key_pem.bytes(), chain)
    cases = {
        "valid until": good,
        "do not belong together": pem(tmp_path / "mixed.pem", other.private_key_pem.bytes(), chain),
        "no private key": pem(tmp_path / "bare.pem", chain),
        "holds no certificate": pem(tmp_path / "empty.pem", b"nothing"),
    }

    told = {reason: tls._pair("LLM_PROXY_TLS_FILE", path, datetime.now(UTC)) for reason, path in cases.items()}

    assert [reason for reason, found in told.items() if reason not in found.told] == []
    assert [found.level for found in told.values()] == [Level.OK, Level.FAULT, Level.FAULT, Level.FAULT]
    configuration = given(LLM_PROXY_TLS_FILE=str(good), LLM_PROXY_UPSTREAM_CA_FILE=str(good))
    assert worst(list(tls.look(configuration))) is Level.OK
    assert "renew" in only(list(tls.look(configuration, datetime(2999, 12, 30, tzinfo=UTC)))[:1], Level.WARNING).fix
    assert "renew" in only(list(tls.look(configuration, datetime(3000, 1, 2, tzinfo=UTC)))[:1], Level.FAULT).fix
    good.chmod(0o644)
    assert "chmod 600" in only(list(tls.look(configuration)), Level.WARNING).fix


# Servers


def test_a_schema_that_is_behind_is_a_fault(given: SettingsOf, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/database"
    configuration = given(DATABASE_URL=url)
    engine = db.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE other (x INTEGER)"))
    engine.dispose()

    assert "db upgrade" in only(list(sql.look(configuration)), Level.FAULT).fix
    db.migrate(url)
    assert worst(list(sql.look(configuration))) is Level.OK


def test_keys_that_are_missing_are_a_fault(given: SettingsOf, database_url: str, rows: Rows) -> None:
    rows.project(sealing.Keyring.parse(f"k9:{sealing.generate_key()}").seal("sk-x", "upstream_keys:x"))

    found = only(list(sql.look(given(DATABASE_URL=database_url))), Level.FAULT)

    assert found.subject == "ENCRYPTION_KEYS" and "'k9'" in found.told


def test_a_database_that_is_away_is_a_fault(given: SettingsOf) -> None:
    found = only(list(sql.look(given(DATABASE_URL="postgresql://llm:the-password@127.0.0.1:1/llm"))), Level.FAULT)

    assert "the-password" not in str(found)


def test_clocks_that_differ_are_told() -> None:
    assert sql.skew("x", datetime.now(UTC)).level is Level.OK
    assert "9" in sql.skew("x", datetime.now(UTC) - timedelta(seconds=9)).told


def test_redis_is_looked_at(given: SettingsOf, valkey_url: str, redis_client: redis.Redis) -> None:
    configuration = given(REDIS_URL=valkey_url)
    before = list(redis_server.look(configuration))

    redis_client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        evicting = list(redis_server.look(configuration))
    finally:
        redis_client.config_set("maxmemory-policy", "noeviction")

    assert worst(before) is not Level.FAULT and "version" in before[0].told
    assert "noeviction" in only(evicting, Level.FAULT).fix


def test_an_old_redis_is_a_fault() -> None:
    assert redis_server._version({"redis_version": "6.2.1"}).level is Level.FAULT
    assert redis_server._version({}).level is Level.FAULT


def test_a_redis_that_is_away_is_a_fault(given: SettingsOf) -> None:
    assert only(list(redis_server.look(given(REDIS_URL=NOBODY))), Level.FAULT).subject == "Redis"


def test_providers_are_reached(given: SettingsOf, database_url: str, rows: Rows) -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        url = f"http://127.0.0.1:{there.getsockname()[1]}"
        rows.project(name="one", base_url=url)
        rows.project(name="two", base_url="http://127.0.0.1:1")
        rows.project(name="three", base_url="http://127.0.0.1:2", is_active=False)
        found = list(providers.look(given(DATABASE_URL=database_url)))

    assert [each.level for each in found] == [Level.FAULT, Level.OK]
    assert only(found, Level.FAULT).subject == "provider 127.0.0.1:1"


# The command


def test_the_command_tells_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in settings.variables():
        monkeypatch.delenv(variable.name, raising=False)
    for name in ("PROXY", "MANAGER", "METRICS", "INSPECTOR"):
        monkeypatch.setenv(f"LLM_PROXY_{name}_PORT", str(free_port()))
    monkeypatch.setenv("LLM_PROXY_DATA_DIR", str(tmp_path / "data"))

    well = CliRunner().invoke(main, ["doctor"])
    monkeypatch.setenv("REDIS_URL", NOBODY)
    ill = CliRunner().invoke(main, ["doctor", "--json"])
    monkeypatch.setenv("LLM_PROXY_LOG_LEVEL", "loud")
    faulty = CliRunner().invoke(main, ["doctor"])

    assert (well.exit_code, ill.exit_code, faulty.exit_code) == (0, 1, 1), well.output
    assert "✓ ports: are free" in well.output and '"level": "fault"' in ill.output
    assert "LLM_PROXY_LOG_LEVEL" in faulty.output
