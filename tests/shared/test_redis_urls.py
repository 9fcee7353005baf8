"""Rules of URLs that name several servers: what they mean, and that a bad one says why without quoting itself."""

import pytest

from shared import redis_urls
from shared.redis_urls import Servers, Topology

SECRET = "Hunter2secret"


def test_a_sentinel_url_names_sentinels_master_database_and_credentials() -> None:
    servers = redis_urls.parse(
        "redis+sentinel://app:p%40ss@one:26380,two/my%20master/3?sentinel_username=s&sentinel_password=t%26"
    )

    assert servers == Servers(
        Topology.SENTINEL,
        has_tls=False,
        seeds=(("one", 26380), ("two", 26379)),
        master="my master",
        db=3,
        login={"username": "app", "password": "p@ss"},
        seed_login={"username": "s", "password": "t&"},
        options={},
    )


def test_a_cluster_url_names_some_of_its_nodes() -> None:
    servers = redis_urls.parse("rediss+cluster://:pw@10.0.0.1:7000,[::1]:7001,node-3.cache/?ssl_cert_reqs=none")

    assert servers == Servers(
        Topology.CLUSTER,
        has_tls=True,
        seeds=(("10.0.0.1", 7000), ("::1", 7001), ("node-3.cache", 6379)),
        master="",
        db=0,
        login={"password": "pw"},
        seed_login={"password": "pw"},
        options={"ssl_cert_reqs": "none"},
    )


@pytest.mark.parametrize(
    ("url", "db"),
    [
        ("redis+sentinel://one/m", 0),
        ("redis+sentinel://one/m/", 0),
        ("redis+sentinel://one/m/0", 0),
        ("redis+sentinel://one/m/7", 7),
        ("redis+sentinel://one/m/7?db=8", 8),
        ("redis+cluster://one/0", 0),
    ],
)
def test_the_database_stands_in_path_or_query(url: str, db: int) -> None:
    assert redis_urls.parse(url).db == db


@pytest.mark.parametrize(
    ("url", "several"),
    [
        ("redis://one", False),
        ("rediss://one", False),
        ("unix:///run/redis.sock", False),
        ("redis+sentinel://one/m", True),
        ("rediss+sentinel://one/m", True),
        ("redis+cluster://one", True),
        ("rediss+cluster://one", True),
        ("redis+clusters://one", False),
    ],
)
def test_urls_of_one_server_are_left_to_others(url: str, several: bool) -> None:
    assert redis_urls.names_several(url) is several


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        (f"redis+sentinel://:{SECRET}@one", "must name the master"),
        (f"redis+sentinel://:{SECRET}@one/", "must name the master"),
        (f"redis+sentinel://:{SECRET}@/m", "host:port"),
        (f"redis+sentinel://:{SECRET}@one,/m", "host:port"),
        (f"redis+sentinel://one:{SECRET}/m", "host:port"),
        (f"redis+sentinel://{SECRET}:{SECRET}/m", "host:port"),
        (f"redis+sentinel://one/m/{SECRET}", "database by a number"),
        (f"redis+sentinel://one/m?{SECRET}=1", "no other options than"),
        (f"redis+sentinel://one/m?ssl_password={SECRET}", "no other options than"),
        (f"redis+sentinel://one/m#{SECRET}", "not a valid URL"),
        (f"redis+sentinel://:{SECRET}[@one/m", "not a valid URL"),
        (f"redis+sentinel://:{SECRET}\u2100@one/m", "not a valid URL"),
        (f"redis+sentinel:{SECRET}", "not a valid URL"),
        (f"redis+cluster://one?protocol={SECRET}", "option protocol"),
        (f"redis+cluster://:{SECRET}@one:0", "from 1 to 65535"),
        (f"redis+cluster://:{SECRET}@one:70000", "from 1 to 65535"),
        (f"redis+cluster://:{SECRET}@[{SECRET}]:1", "host:port"),
        (f"redis+cluster://:{SECRET}@one/1", "no database"),
        (f"redis+cluster://one?sentinel_password={SECRET}", "no other options than"),
        (f"rediss+cluster://one?ssl_check_hostname={SECRET}", "option ssl_check_hostname"),
    ],
)
def test_a_bad_url_says_why_and_quotes_nothing(url: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault) as told:
        redis_urls.parse(url)

    assert SECRET not in str(told.value)


def test_what_a_url_says_shows_no_password() -> None:
    url = f"rediss+sentinel://a:{SECRET}@one/m?sentinel_password={SECRET}&ssl_password={SECRET}"

    assert SECRET not in repr(redis_urls.parse(url))


@pytest.mark.parametrize(
    ("url", "standard"),
    [
        ("redis://a:b@one/1", "redis://a:b@one/1"),
        ("redis+sentinel://a:b@[::1]:1,[::2]:2/m/1?x=y", "redis+sentinel://a:b@servers/m/1?x=y"),
        ("redis+cluster://one,two", "redis+cluster://servers"),
    ],
)
def test_with_one_host_a_url_fits_the_standard(url: str, standard: str) -> None:
    assert redis_urls.with_one_host(url) == standard
