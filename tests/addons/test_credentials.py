"""Rules of the key swap: the right key, the right place, and never a trace of it in the flow."""

import pytest
from mitmproxy import http

from addons.breakers import Breakers
from addons.call import Call, Calls
from addons.credentials import Credentials, direct
from addons.engine import quick_headers
from addons.stream_answers import Worn
from addons.targets import Targets
from shared.models import Caller, Project, UpstreamKey
from shared.sealing import Keyring
from tests.addons.conftest import PROVIDER_KEY, request


async def free_probe(subject: str, seconds: float) -> bool:
    return True


def equipping(calls: Calls, keyring: Keyring) -> Credentials:
    breakers = Breakers(lambda change: None, free_probe, lambda *change: None)
    return Credentials(calls, Targets(breakers), keyring)


@pytest.mark.parametrize(
    ("base_url", "url", "host"),
    [
        ("https://api.openai.com", "https://api.openai.com/v1/models", "api.openai.com"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/v1/models", "127.0.0.1:9000"),
        ("https://gateway.example/openai/", "https://gateway.example/openai/v1/models", "gateway.example"),
        ("https://gateway.example:8443", "https://gateway.example:8443/v1/models", "gateway.example:8443"),
        ("http://[::1]:9000", "http://::1:9000/v1/models", "[::1]:9000"),  # mitmproxy writes it without brackets
    ],
)
def test_a_request_goes_to_its_base_url(base_url: str, url: str, host: str) -> None:
    made = request("GET", "/v1/models", host="proxy.internal:8080").request

    direct(made, base_url, made.path)

    assert (made.url, made.headers["host"]) == (url, host)


async def test_the_flow_is_directed_but_never_holds_the_key(
    calls: Calls, keyring: Keyring, admitted: tuple[http.HTTPFlow, Call]
) -> None:
    flow, call = admitted
    flow.request.headers["authorization"] = flow.request.headers["x-api-key"] = "Bearer masked"

    await equipping(calls, keyring).request(flow)

    assert call.credential is not None and call.credential.value == f"Bearer {PROVIDER_KEY}"
    assert flow.request.pretty_url == "https://api.openai.com/v1/chat/completions"
    assert "authorization" not in flow.request.headers and "x-api-key" not in flow.request.headers
    assert PROVIDER_KEY not in str(flow.get_state()) and PROVIDER_KEY not in repr(call)


async def test_the_key_is_worn_only_while_the_head_is_written(
    calls: Calls, keyring: Keyring, admitted: tuple[http.HTTPFlow, Call]
) -> None:
    flow, call = admitted
    await equipping(calls, keyring).request(flow)
    assert call.credential is not None

    with pytest.raises(ZeroDivisionError), Worn(call.credential, flow.request):
        assert quick_headers.get_item(flow.request.headers, "authorization") == f"Bearer {PROVIDER_KEY}"
        raise ZeroDivisionError

    assert "authorization" not in flow.request.headers
    assert PROVIDER_KEY not in str(vars(flow.request.headers)), "the engine's index of headers must forget it, too"


async def test_a_projects_base_url_wins_over_the_providers(
    calls: Calls, keyring: Keyring, admitted: tuple[http.HTTPFlow, Call], caller: Caller
) -> None:
    flow, call = admitted
    project = Project("p", "openai", True, "http://127.0.0.1:9", caller.project.keys, 1)
    call.caller = Caller("t", "l", project, 1)

    await equipping(calls, keyring).request(flow)

    assert flow.request.url == "http://127.0.0.1:9/v1/chat/completions"


async def test_a_key_that_does_not_open_is_passed_over(
    calls: Calls, keyring: Keyring, admitted: tuple[http.HTTPFlow, Call], caller: Caller
) -> None:
    flow, call = admitted
    moved = UpstreamKey("elsewhere", caller.project.keys[0].sealed)
    call.caller = Caller("t", "l", Project("p", "openai", True, "", (moved, *caller.project.keys), 1), 1)

    await equipping(calls, keyring).request(flow)

    assert call.credential is not None and call.credential.key_id == "key-1"


@pytest.mark.parametrize("keys", [(), (UpstreamKey("k", "v1.other.AAAA"),), (UpstreamKey("k", "rubbish"),)])
async def test_without_a_usable_key_nobody_gets_through(
    calls: Calls, keyring: Keyring, admitted: tuple[http.HTTPFlow, Call], keys: tuple[UpstreamKey, ...]
) -> None:
    flow, call = admitted
    call.caller = Caller("t", "l", Project("p", "openai", True, "", keys, 1), 1)

    await equipping(calls, keyring).request(flow)

    assert flow.response is not None and flow.response.status_code == 503 and call.credential is None


async def test_a_request_that_was_never_admitted_gets_no_key(calls: Calls, keyring: Keyring) -> None:
    flow = request()

    await equipping(calls, keyring).request(flow)

    assert flow.response is not None and flow.response.status_code == 503
