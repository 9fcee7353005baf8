"""What every Lua script asks of a server: commands of Redis 7.0, no globals, keys of one slot."""

import re

import pytest
import redis

from shared import redis_schema

SCRIPTS = [
    *("admit", "bury", "extend", "leases", "publish_project", "publish_token", "purge_project", "purge_token"),
    *("restore", "settle", "take_refusals", "drop_refusals"),
]
SINCE = {
    "DEL": 1, "EXISTS": 1, "GET": 1, "HDEL": 2, "HEXISTS": 2, "HGET": 2, "HGETALL": 2, "HMGET": 2, "HSET": 2,
    "HSETNX": 2, "PEXPIREAT": 2.6, "PTTL": 2.6, "PUBLISH": 2, "RENAME": 1, "SET": 1,
    "TIME": 2.6, "XADD": 5, "ZADD": 1.2, "ZRANGE": 1.2, "ZREM": 1.2,
}  # fmt: skip
WRITES = {"DEL", "HDEL", "HSET", "HSETNX", "PEXPIREAT", "PUBLISH", "RENAME", "SET", "XADD", "ZADD", "ZREM"}


def without_comments(name: str) -> str:
    return re.sub(r"--.*", "", redis_schema.script(name))


def names(lists: list[str]) -> set[str]:
    return {name.strip() for each in lists for name in each.split(",")}


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_use_only_commands_of_redis_7_0(name: str) -> None:
    source = without_comments(name)

    commands = re.findall(r"redis\.call\('([A-Z]+)'", source)

    assert set(commands) <= set(SINCE)
    assert len(commands) == len(re.findall(r"redis\.|server\.", source)), "every call names its command in plain text"
    assert not re.search(r"\b(cjson|bit|os|loadstring)\b", source)


def test_the_list_of_commands_agrees_with_the_servers_own_documentation(redis_client: redis.Redis) -> None:
    documented = redis_client.execute_command("COMMAND DOCS", *SINCE)

    for command, since in SINCE.items():
        major, minor, _ = documented[command.lower().encode()][b"since"].decode().split(".")
        assert float(f"{major}.{minor}") == since <= 7.0, command


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_do_not_write_globals(name: str) -> None:
    source = without_comments(name)

    assigned = names(re.findall(r"^\s*([a-z_]+(?:, [a-z_]+)*)\s*=[^=]", source, re.MULTILINE))
    declared = names(re.findall(r"(?:local function [a-z_]+\(|local |for )([A-Za-z_]+(?:, [A-Za-z_]+)*)", source))

    assert assigned <= declared


@pytest.mark.parametrize("name", ["admit", "bury", "extend", "publish_project", "publish_token", "settle"])
def test_all_reads_come_before_all_writes(name: str) -> None:
    # What is settled already, or was never held, is done with before.
    _, _, main = without_comments(name).rpartition("return 0\nend")

    calls = re.findall(r"redis\.call\('([A-Z]+)'", main)

    assert [call in WRITES for call in calls] == sorted(call in WRITES for call in calls)


@pytest.mark.parametrize(("part", "used"), [("clock", "clock()"), ("counters", "read_counter(")])
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_part_stands_once_before_the_scripts_that_use_it(name: str, part: str, used: str) -> None:
    before, _, rest = redis_schema.script(name).partition(redis_schema.script(part))

    assert used not in before
    assert redis_schema.script(part) not in rest


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_come_with_the_package(name: str) -> None:
    assert "redis.call" in redis_schema.script(name)


def test_an_unknown_script_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        redis_schema.script("unheard_of")
