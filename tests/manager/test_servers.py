"""Rules of servers that are away: named by their variable with a reason, in time, without passwords and links."""

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from manager import servers
from manager.servers import Away, ServersAway
from shared.settings import Plane, Settings
from tests.manager.conftest import NOBODY, SettingsOf

PASSWORD = "the-password-of-this-test"
NO_DATABASE = f"postgresql://llm:{PASSWORD}@127.0.0.1:1/llm"


@pytest.fixture
def silent() -> Iterator[str]:
    """Address of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def settings(settings_of: SettingsOf, database_url: str, valkey_url: str) -> Settings:
    """Settings whose servers are all there."""
    return settings_of(Plane.SUPERVISOR, DATABASE_URL=database_url, REDIS_URL=valkey_url)


def test_servers_that_are_there_are_not_away(settings: Settings) -> None:
    assert servers.find_away(settings) == []
    servers.demand(settings)


def test_a_database_without_our_tables_is_there(settings_of: SettingsOf, tmp_path: Path, valkey_url: str) -> None:
    assert servers.find_away(settings_of(DATABASE_URL=f"sqlite:///{tmp_path}/new.db", REDIS_URL=valkey_url)) == []


@pytest.mark.parametrize(
    ("name", "url", "reason"),
    [
        ("DATABASE_URL", NO_DATABASE, "Connection refused"),
        ("DATABASE_URL", "postgresql://no-such-host.invalid/llm", "resolve"),
        ("DATABASE_URL", "sqlite:////nobody/keeps/here.db", "unable to open database file"),
        ("DATABASE_URL", f"postgresql://llm:{PASSWORD}@127.0.0.1:1{PASSWORD}/llm", "is malformed|Could not parse"),
        ("DATABASE_URL", f"postgresql://llm@127.0.0.1:1/llm?nonsense={PASSWORD}", 'invalid.*"nonsense"'),
        ("REDIS_URL", f"redis://:{PASSWORD}@127.0.0.1:1", "Connection refused"),
        ("REDIS_URL", f"redis+sentinel://:{PASSWORD}@127.0.0.1:1,127.0.0.1:2/m", "127.0.0.1:2.*Connection refused"),
        ("REDIS_URL", f"redis+cluster://:{PASSWORD}@127.0.0.1:1", "127.0.0.1:1.*Connection refused"),
        ("REDIS_URL", "redis://no-such-host.invalid", "not known|resolution"),
        ("REDIS_URL", NOBODY, "No such file or directory"),
        ("REDIS_URL", f"redis://127.0.0.1:{PASSWORD}", "is malformed"),
        ("REDIS_URL", f"redis://127.0.0.1:1?nonsense={PASSWORD}", "is malformed"),
    ],
)
def test_a_server_that_is_away_is_named_in_one_line(
    settings_of: SettingsOf, tmp_path: Path, valkey_url: str, name: str, url: str, reason: str
) -> None:
    there = {"DATABASE_URL": f"sqlite:///{tmp_path}/new.db", "REDIS_URL": valkey_url}
    settings = settings_of(Plane.SUPERVISOR, **there | {name: url})

    with pytest.raises(ServersAway) as told:
        servers.demand(settings)

    text = str(told.value)
    assert text.startswith(f"{name}: ") and re.search(reason, text)
    assert not re.search(rf"\n|https?://|{PASSWORD}", text)


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL"])
def test_a_server_that_says_nothing_is_away_in_time(
    settings_of: SettingsOf, tmp_path: Path, valkey_url: str, silent: str, name: str
) -> None:
    urls = {"DATABASE_URL": f"postgresql://{silent}/llm", "REDIS_URL": f"redis://{silent}"}
    there = {"DATABASE_URL": f"sqlite:///{tmp_path}/new.db", "REDIS_URL": valkey_url}
    settings, begun = settings_of(**there | {name: urls[name]}), time.monotonic()

    found = servers.find_away(settings, seconds=0.5)

    assert found == [Away(name, "no answer within 0.5 s")]
    assert time.monotonic() - begun < 2


def test_all_are_named_at_once(settings_of: SettingsOf) -> None:
    with pytest.raises(ServersAway) as told:
        servers.demand(settings_of(DATABASE_URL=NO_DATABASE, REDIS_URL=NOBODY))

    assert [line.partition(":")[0] for line in str(told.value).splitlines()] == ["DATABASE_URL", "REDIS_URL"]


def test_the_embedded_redis_is_not_demanded_before_it_is_started(settings_of: SettingsOf, tmp_path: Path) -> None:
    settings = settings_of(Plane.SUPERVISOR, LLM_PROXY_DATA_DIR=str(tmp_path))

    servers.demand(settings)

    assert [server.variable for server in servers.find_away(settings)] == ["REDIS_URL"]


def test_a_service_that_starts_without_its_servers_says_so(settings_of: SettingsOf) -> None:
    with capture_logs() as logged:
        servers.report_meanwhile(settings_of(DATABASE_URL=NO_DATABASE, REDIS_URL=NOBODY)).join()

    assert [(entry["event"], entry["variable"]) for entry in logged] == [
        ("server_away", "DATABASE_URL"),
        ("server_away", "REDIS_URL"),
    ]
    assert PASSWORD not in str(logged)


def test_a_service_that_finds_its_servers_says_nothing(settings: Settings) -> None:
    with capture_logs() as logged:
        servers.report(settings)

    assert logged == []
