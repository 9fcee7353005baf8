"""Rules of fallbacks and of origins of web pages. Those of single base URLs are in test_projects.py."""

from dataclasses import replace

import pytest

from addons.cors import is_origin
from manager import addresses
from manager.errors import Invalid
from manager.rules import Rules
from shared import providers
from shared.sealing import Keyring, generate_key

STRICT = Rules(Keyring.parse(f"k1:{generate_key()}"), providers.load(), allow_http_upstream=False)
FIVE = [f"https://{number}.example.org" for number in range(5)]


def fallback_refusal(urls: list[str]) -> str:
    with pytest.raises(Invalid) as refused:
        addresses.check_fallbacks(urls, STRICT)
    assert refused.value.field == "fallback_urls"
    return str(refused.value)


def origin_refusal(origins: list[str]) -> str:
    with pytest.raises(Invalid) as refused:
        addresses.check_origins(origins)
    assert refused.value.field == "cors_origins"
    return str(refused.value)


@pytest.mark.parametrize("urls", [[], FIVE], ids=["none", "five"])
def test_there_are_up_to_five_fallbacks_in_the_order_given(urls: list[str]) -> None:
    assert addresses.check_fallbacks([f" {url}/" for url in urls], STRICT) == urls


@pytest.mark.parametrize(
    ("urls", "reason"),
    [
        ([*FIVE, "https://5.example.org"], "at most 5"),
        (["https://eu.example.org", "https://eu.example.org/"], "twice"),
        (["https://eu.example.org", " / "], "empty"),
        (["http://example.org"], "https://"),
        (["https://user:password@example.org"], "no user"),
    ],
    ids=["six", "twice", "empty", "http", "user"],
)
def test_any_other_list_of_fallbacks_is_refused(urls: list[str], reason: str) -> None:
    assert reason in fallback_refusal(urls)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.0.1:8443",
        "2852039166",
        "0xa9fea9fe",
        "169.254.43518",
        "[fe80::1]",
        "[febf::1]",
        "[::ffff:169.254.169.254]",
        "[fd00:ec2::254]",
        "100.100.100.200",
    ],
)
@pytest.mark.parametrize("rules", [STRICT, replace(STRICT, allow_http_upstream=True)], ids=["strict", "relaxed"])
def test_no_provider_is_on_the_link_or_where_a_cloud_tells_its_secrets(host: str, rules: Rules) -> None:
    for url in (f"https://{host}", f"http://{host}/latest"):
        with pytest.raises(Invalid) as refused:
            addresses.check_base(url, rules)
        assert refused.value.field == "base_url" and addresses.check_base("https://169.253.1.1", rules)


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.org",
        "https://app.example.org:8443",
        "https://xn--bcher-kva.example",
        "https://my_app.internal",
        "https://10.0.0.1",
        "https://[2001:db8::1]:8443",
        "http://localhost",
        "http://localhost:3000",
        "http://127.0.0.1:65535",
        "http://[::1]:3000",
        "https://app.example.org:80",
    ],
)
def test_an_origin_is_taken_as_browsers_send_it(origin: str) -> None:
    assert addresses.check_origins([origin]) == [origin]
    assert is_origin(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "*",
        "null",
        "https://*.example.org",
        "https://app.example.org/",
        "https://app.example.org/page",
        "https://App.example.org",
        "HTTPS://app.example.org",
        "https://app.example.org:443",
        "http://localhost:80",
        "https://app.example.org:0",
        "https://app.example.org:65536",
        "https://app.example.org:",
        "https://bücher.example",
        "https://user@app.example.org",
        "https://[::0001]",
        "https://[::1",
        "https://[1.2.3]",
        "http://app.example.org",
        "http://localhost.example.org",
        "chrome-extension://abc",
        "file://",
        "https://app.example.org\n",
        " https://app.example.org",
        "https://" + "a" * 2048,
    ],
    ids=lambda origin: ascii(origin)[:40],
)
def test_what_no_browser_sends_or_many_would_match_is_no_origin(origin: str) -> None:
    assert "no origin" in origin_refusal([origin])


def test_origins_are_few_and_distinct() -> None:
    many = [f"https://{number}.example.org" for number in range(51)]

    assert addresses.check_origins(many[:50]) == many[:50]
    assert "at most 50" in origin_refusal(many)
    assert "twice" in origin_refusal(["https://app.example.org"] * 2)
