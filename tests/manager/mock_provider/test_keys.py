"""Keys: found, shown only in part, refused if they are a withering token of the proxy."""

import pytest

from manager.mock_provider.errors import ProviderError
from manager.mock_provider.keys import masked, presented, refuse_leaked, require_key

TOKEN = b"sk-llmp-0123456789abcdef0123456789"


@pytest.mark.parametrize(
    ("key", "shown"),
    [("sk-abcdefgh1234", "sk-a****1234"), ("12345678", "****"), ("", "")],
)
def test_a_key_is_shown_by_its_ends_alone(key: str, shown: str) -> None:
    assert masked(key) == shown


def test_headers_are_kept_in_order_with_keys_masked() -> None:
    caller = presented(
        [
            (b"host", b"api"),
            (b"authorization", b"bearer  sk-abcdefgh1234"),
            (b"x-api-key", b"anthropic-key-5678"),
            (b"accept", b"*/*"),
        ]
    )

    assert caller.bearer == "sk-abcdefgh1234"
    assert caller.api_key == "anthropic-key-5678"
    assert caller.shown == "sk-a****1234"
    assert caller.headers.split(b"\n") == [
        b"host: api",
        b"authorization: Bearer sk-a****1234",
        b"x-api-key: anth****5678",
        b"accept: */*",
    ]


@pytest.mark.parametrize("value", [b"Basic c29tZWJvZHk6c2VjcmV0", b"sk-abcdefgh1234", b"Bearer", b""])
def test_only_a_bearer_key_is_a_bearer_key(value: bytes) -> None:
    assert presented([(b"authorization", value)]).bearer == ""


@pytest.mark.parametrize(
    "header",
    [
        (b"authorization", b"Bearer " + TOKEN),
        (b"authorization", TOKEN),
        (b"proxy-authorization", b"Basic " + TOKEN),
        (b"x-api-key", TOKEN),
        (b"api-key", TOKEN),
        (b"x-goog-api-key", TOKEN),
        (b"sec-websocket-protocol", b"realtime,openai-insecure-api-key." + TOKEN),
    ],
)
def test_a_withering_token_is_refused_in_whatever_header_it_comes(header: tuple[bytes, bytes]) -> None:
    caller = presented([(b"authorization", b"Bearer sk-a-good-key"), header])

    with pytest.raises(ProviderError) as refused:
        refuse_leaked(caller)

    assert (refused.value.status, refused.value.code) == (401, "withering_token_leaked")
    assert TOKEN not in caller.headers


@pytest.mark.parametrize(
    ("offers", "bearer", "shown"),
    [
        (b"realtime, openai-insecure-api-key.sk-abcdefgh1234, x", "sk-abcdefgh1234", b"realtime, {}sk-a****1234, x"),
        (b"realtime", "", b"realtime"),
    ],
)
def test_a_browsers_key_comes_as_a_subprotocol(offers: bytes, bearer: str, shown: bytes) -> None:
    caller = presented([(b"sec-websocket-protocol", offers)])

    assert (caller.bearer, caller.leaked) == (bearer, False)
    assert caller.headers == b"sec-websocket-protocol: " + shown.replace(b"{}", b"openai-insecure-api-key.")


def test_a_provider_key_is_no_leak() -> None:
    refuse_leaked(presented([(b"authorization", b"Bearer sk-proj-llmp-1")]))


@pytest.mark.parametrize(("key", "accepted"), [("any", ()), ("this", ("this", "that"))])
def test_an_accepted_key_passes(key: str, accepted: tuple[str, ...]) -> None:
    require_key(key, accepted)


@pytest.mark.parametrize(("key", "accepted"), [("", ()), ("", ("this",)), ("other-key-0000", ("this",))])
def test_any_other_key_is_refused(key: str, accepted: tuple[str, ...]) -> None:
    with pytest.raises(ProviderError) as refused:
        require_key(key, accepted)

    assert (refused.value.status, refused.value.code) == (401, "invalid_api_key")
    assert "other-key-0000" not in str(refused.value)
