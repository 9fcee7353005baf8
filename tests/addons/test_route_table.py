"""Rules of the route table: a changed file takes effect while requests go on, and a faulty one never does."""

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
import structlog
from mitmproxy import http

from addons.admission import Admission
from addons.allowlist import Allowlist
from addons.breakers import Breakers
from addons.call import Calls
from addons.credentials import Credentials
from addons.gate import Gate
from addons.holds import Holds
from addons.outage import Outage
from addons.redaction import Redaction
from addons.route_table import RouteTable
from addons.store import Store
from addons.targets import Targets
from shared import redis_schema, sealing, tokens
from shared.models import Project, Token, UpstreamKey
from shared.providers import ProviderTableError
from tests.addons.conftest import PEPPER, pass_through, request

type Log = list[MutableMapping[str, Any]]

ACME = """
[providers.acme]
base_url = "https://api.acme.example/base"
dialect = "opaque"
credential = { header = "X-Acme-Key", scheme = "Acme" }
routes = [
    { name = "things", path = "/v2/things", methods = ["GET", "POST"], body = "any" },
]
"""
OTHER = ACME.replace("acme", "zenith").replace("X-Acme-Key", "X-Zenith-Key").replace("/v2/things", "/v3/stars")
FAULTY = ACME.replace('"opaque"', '"klingon"')
BROKEN = ACME.replace("dialect =", "dialect = =")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A provider table of one's own."""
    made = tmp_path / "providers.toml"
    made.write_text(ACME)
    return made


@pytest.fixture
def log() -> Iterator[Log]:
    """What has been logged."""
    with structlog.testing.capture_logs() as lines:
        yield lines


def put(file: Path, text: str) -> None:
    """Put another file in its place at one stroke, as configuration tools do."""
    beside = file.with_name("beside.toml")
    beside.write_text(text)
    beside.replace(file)


def settle(table: RouteTable) -> None:
    """Look until the file has come to rest."""
    table.check()
    table.check()


def events(log: Log) -> list[str]:
    return [line["event"] for line in log]


def names(table: RouteTable) -> list[str]:
    return list(table.current.providers)


# Loading


def test_the_table_is_there_at_once(file: Path) -> None:
    assert names(RouteTable(file)) == ["acme"]


def test_without_a_file_it_is_the_bundled_one_and_stays_so(log: Log) -> None:
    table = RouteTable()
    before = table.current

    settle(table)

    assert names(table) == ["openai", "anthropic"]
    assert table.current is before and log == []


@pytest.mark.parametrize("text", [None, FAULTY, BROKEN], ids=["missing", "faulty", "broken"])
def test_a_first_table_that_is_wrong_is_an_error(file: Path, text: str | None) -> None:
    file.unlink()
    if text is not None:
        file.write_text(text)

    with pytest.raises(ProviderTableError, match="needs attention"):
        RouteTable(file)


# Reloading


def test_a_changed_file_is_the_table_from_then_on(file: Path, log: Log) -> None:
    table = RouteTable(file)

    put(file, ACME + OTHER)
    settle(table)

    assert names(table) == ["acme", "zenith"]
    assert [(line["event"], line["log_level"], line["providers"]) for line in log] == [
        ("providers_in_force", "info", ["acme", "zenith"])
    ]
    assert log[0]["file"] == str(file)


def edited_in_place(file: Path) -> None:
    file.write_text(OTHER)


def replaced(file: Path) -> None:
    put(file, OTHER)


def replaced_by_one_of_the_same_size_and_time(file: Path) -> None:
    status = file.stat()
    text = ACME.replace("acme", "zeal")
    put(file, text)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (file.stat().st_mtime_ns, file.stat().st_size) == (status.st_mtime_ns, status.st_size)


def linked_elsewhere(file: Path) -> None:
    other = file.with_name("other.toml")
    other.write_text(OTHER)
    file.unlink()
    file.symlink_to(other)


@pytest.mark.parametrize(
    "change", [edited_in_place, replaced, replaced_by_one_of_the_same_size_and_time, linked_elsewhere]
)
def test_a_change_is_noticed_however_it_was_made(file: Path, change: Callable[[Path], None]) -> None:
    table = RouteTable(file)

    change(file)
    settle(table)

    assert names(table) != ["acme"]


def test_a_file_is_not_taken_while_it_is_still_being_written(file: Path, log: Log) -> None:
    table = RouteTable(file)

    for length in range(0, len(OTHER), 50):
        file.write_text(OTHER[:length])
        table.check()
    assert names(table) == ["acme"]

    file.write_text(OTHER)
    settle(table)
    assert names(table) == ["zenith"]
    assert events(log) == ["providers_in_force"]


def test_a_file_that_is_gone_for_a_moment_is_no_fault(file: Path, log: Log) -> None:
    table = RouteTable(file)

    file.unlink()
    table.check()
    file.write_text(OTHER)
    settle(table)

    assert names(table) == ["zenith"]
    assert events(log) == ["providers_in_force"]


def test_an_unchanged_file_is_not_read_again(file: Path, log: Log) -> None:
    table = RouteTable(file)
    before = table.current

    for _ in range(5):
        table.check()

    assert table.current is before and log == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (FAULTY, "providers.acme.dialect: Must be one of: openai, anthropic, opaque."),
        (BROKEN, "is not TOML: Invalid value (at line 4, column 11)"),
        ("", "providers: Missing data for required field."),
    ],
    ids=["faulty", "broken", "empty"],
)
def test_a_faulty_file_is_refused_with_place_and_reason_and_the_old_table_stays(
    file: Path, log: Log, text: str, reason: str
) -> None:
    table = RouteTable(file)
    before = table.current

    put(file, text)
    settle(table)

    assert table.current is before
    [line] = log
    assert (line["event"], line["log_level"], line["in_force"]) == ("providers_refused", "error", ["acme"])
    assert line["reason"] == f"{file} needs attention:\n  {reason}"


def test_a_file_that_is_gone_is_refused_and_the_old_table_stays(file: Path, log: Log) -> None:
    table = RouteTable(file)

    file.unlink()
    settle(table)

    assert names(table) == ["acme"]
    assert "cannot be read" in log[0]["reason"]


def test_a_fault_is_told_once_for_each_change(file: Path, log: Log) -> None:
    table = RouteTable(file)

    for text in (FAULTY, BROKEN):
        put(file, text)
        for _ in range(5):
            table.check()

    assert events(log) == ["providers_refused", "providers_refused"]


def test_a_mended_file_takes_effect(file: Path, log: Log) -> None:
    table = RouteTable(file)

    for text in (FAULTY, OTHER):
        put(file, text)
        settle(table)

    assert names(table) == ["zenith"]
    assert events(log) == ["providers_refused", "providers_in_force"]


def test_a_header_in_which_tokens_may_still_come_stays_known(file: Path) -> None:
    table = RouteTable(file)

    put(file, OTHER)
    settle(table)

    assert table.credential_headers == {"x-acme-key", "x-zenith-key"}


# Watching


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def test_the_file_is_watched_from_start_to_end(file: Path) -> None:
    table = RouteTable(file, pause=0.001)
    table.running()

    put(file, OTHER)
    await until(lambda: names(table) == ["zenith"])
    await table.done()

    assert len(asyncio.all_tasks()) == 1


async def test_watching_goes_on_after_a_fault(file: Path, log: Log) -> None:
    table = RouteTable(file, pause=0.001)
    table.running()

    put(file, FAULTY)
    await until(lambda: "providers_refused" in events(log))
    put(file, OTHER)
    await until(lambda: names(table) == ["zenith"])
    await table.done()


class FailingOnce(RouteTable):
    """Stumbles over something that nobody has thought of."""

    has_failed = False

    def check(self) -> None:
        if not self.has_failed:
            self.has_failed = True
            raise RuntimeError("unheard of")
        super().check()


async def test_watching_goes_on_after_the_unforeseen(file: Path, log: Log) -> None:
    table = FailingOnce(file, pause=0.001)
    table.running()

    put(file, OTHER)
    await until(lambda: names(table) == ["zenith"])
    await table.done()

    assert events(log) == ["providers_not_checked", "providers_in_force"]


async def test_the_bundled_table_is_not_watched() -> None:
    table = RouteTable()

    table.running()
    assert len(asyncio.all_tasks()) == 1
    await table.done()


async def test_a_table_that_was_never_watched_can_be_closed(file: Path) -> None:
    await RouteTable(file).done()


# What requests see of it


class Tenant:
    """A project of a provider that stands in no code, with one key and one token, as they are published."""

    def __init__(self, client: redis.Redis, keyring: sealing.Keyring, token: str) -> None:
        self._client = client
        self._digest = tokens.digest(token, PEPPER)
        key = UpstreamKey("key-1", keyring.seal("acme-key-0123456789", "upstream_keys:key-1"))
        self._publish("publish_project", redis_schema.encode_project(Project("p1", "acme", True, "", (key,), 1)))
        later = datetime(2100, 1, 1, tzinfo=UTC)
        published = Token("t1", self._digest, "p1", "label", True, later, None, 0, None, 1)
        self._publish("publish_token", redis_schema.encode_token(published))
        client.set(redis_schema.EPOCH, "epoch")

    def _publish(self, script: str, record: tuple[list[str], list[str | int]]) -> None:
        self._client.register_script(redis_schema.script(script))(*record)

    def requests(self) -> int:
        return int(self._client.hget(redis_schema.token_key(self._digest), "requests"))


@pytest.fixture
def tenant(redis_client: redis.Redis, keyring: sealing.Keyring, token: str) -> Tenant:
    return Tenant(redis_client, keyring, token)


class Rooms:
    """The rooms between a request's head and the provider, over a real store."""

    def __init__(self, table: RouteTable, valkey_url: str, keyring: sealing.Keyring) -> None:
        self.calls = Calls()
        self.store = Store.connect(valkey_url, 5000)
        targets = Targets(Breakers(lambda change: None, always, lambda kind, state: None))
        self.first = [Redaction(self.calls, table), Allowlist(self.calls, table)]
        self.admission = Admission(self.calls, Gate(self.store, table, Holds(), Outage(self.calls, 1)), table, PEPPER)
        self.credentials = Credentials(self.calls, targets, keyring)

    async def pass_all(self, flow: http.HTTPFlow) -> None:
        await pass_through("requestheaders", flow, *self.first, self.admission)
        await pass_through("request", flow, self.credentials)


async def always(subject: str, seconds: float) -> bool:
    return True


async def served(rooms: Rooms, flow: http.HTTPFlow) -> int | None:
    """Status of the refusal, if there was one."""
    await rooms.pass_all(flow)
    await rooms.store.done()
    return flow.response.status_code if flow.response else None


@pytest.mark.parametrize("scheme", ["Acme ", "acme ", "Bearer ", ""])
async def test_a_provider_that_exists_only_in_a_file_works(
    file: Path, valkey_url: str, keyring: sealing.Keyring, tenant: Tenant, token: str, scheme: str
) -> None:
    rooms = Rooms(RouteTable(file), valkey_url, keyring)
    flow = request("POST", "/v2/things", body=b"anything", x_acme_key=scheme + token)

    assert await served(rooms, flow) is None

    call = rooms.calls.of(flow)
    assert call.provider is not None and (call.provider.name, call.dialect) == ("acme", "opaque")
    assert call.credential is not None
    assert (call.credential.header, call.credential.value) == ("x-acme-key", "Acme acme-key-0123456789")
    assert flow.request.url == "https://api.acme.example/base/v2/things"
    assert "x-acme-key" not in flow.request.headers and token not in str(flow.get_state())


@pytest.mark.parametrize("value", ["Token {}", "Acme", "acme", "Bearer"])
async def test_the_scheme_of_a_stranger_is_no_token(
    file: Path, valkey_url: str, keyring: sealing.Keyring, token: str, value: str
) -> None:
    flow = request("GET", "/v2/things", x_acme_key=value.format(token))

    assert await served(rooms := Rooms(RouteTable(file), valkey_url, keyring), flow) == 401
    assert rooms.calls.of(flow).refused_with == "missing_token"


@pytest.mark.parametrize("path", ["/v1/models", "/v2/things/1", "/v2"])
async def test_what_its_file_does_not_offer_is_refused(
    file: Path, valkey_url: str, keyring: sealing.Keyring, tenant: Tenant, token: str, path: str
) -> None:
    assert await served(Rooms(RouteTable(file), valkey_url, keyring), request("GET", path, x_acme_key=token)) == 404
    assert tenant.requests() == 0


async def test_a_provider_that_comes_with_a_change_works_at_once(
    file: Path, valkey_url: str, keyring: sealing.Keyring, tenant: Tenant, token: str
) -> None:
    shutil.copy(file, file.with_name("acme.toml"))
    put(file, OTHER)
    table = RouteTable(file)
    rooms = Rooms(table, valkey_url, keyring)
    before = request("GET", "/v2/things", x_acme_key=token)
    await rooms.pass_all(before)

    file.with_name("acme.toml").replace(file)
    settle(table)
    status = await served(rooms, after := request("GET", "/v2/things", x_acme_key=token))

    assert before.response is not None and before.response.status_code == 404
    assert status is None and rooms.calls.of(after).credential is not None


@pytest.mark.parametrize("path", ["/v2/things", "/v3/stars"])
@pytest.mark.parametrize("header", ["x_acme_key", "x_zenith_key", "authorization"])
async def test_a_token_whose_provider_vanished_gets_a_plain_404(
    file: Path, valkey_url: str, keyring: sealing.Keyring, tenant: Tenant, token: str, path: str, header: str
) -> None:
    table = RouteTable(file)
    rooms = Rooms(table, valkey_url, keyring)
    put(file, OTHER)
    settle(table)
    flow = request("GET", path, **{header: token})

    assert await served(rooms, flow) == 404
    assert rooms.calls.of(flow).refused_with == "endpoint_not_found"
    assert tenant.requests() == 0 and token not in str(flow.get_state())


async def test_a_provider_that_vanishes_in_the_middle_of_a_request_is_a_404_that_costs_nothing(
    file: Path, valkey_url: str, keyring: sealing.Keyring, tenant: Tenant, token: str
) -> None:
    table = RouteTable(file)
    rooms = Rooms(table, valkey_url, keyring)
    flow = request("GET", "/v2/things", x_acme_key=token)
    await pass_through("requestheaders", flow, *rooms.first)

    put(file, OTHER)
    settle(table)
    await pass_through("requestheaders", flow, rooms.admission)
    await rooms.store.done()

    assert flow.response is not None and flow.response.status_code == 404
    assert tenant.requests() == 0


async def test_an_admitted_request_keeps_its_route_when_the_table_changes(
    file: Path, valkey_url: str, keyring: sealing.Keyring, tenant: Tenant, token: str
) -> None:
    table = RouteTable(file)
    rooms = Rooms(table, valkey_url, keyring)
    flow = request("GET", "/v2/things", x_acme_key=token)
    await pass_through("requestheaders", flow, *rooms.first, rooms.admission)
    route = rooms.calls.of(flow).route

    put(file, OTHER)
    settle(table)
    await pass_through("request", flow, rooms.credentials)
    await rooms.store.done()

    call = rooms.calls.of(flow)
    assert route is not None and call.route is route and call.provider is not None and call.provider.name == "acme"
    assert flow.response is None and flow.request.url == "https://api.acme.example/base/v2/things"
