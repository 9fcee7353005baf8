"""Rules of admission: one token, well formed, and the store's verdict in the provider's words."""

import pytest
from mitmproxy import http

from addons.admission import Admission, presented_token
from addons.call import Calls
from addons.gate import Gate
from addons.holds import Holds
from addons.outage import Outage
from addons.refusal import Refused
from addons.route_table import RouteTable
from addons.store import StoreUnavailable
from shared import tokens
from shared.models import NOTHING, Amounts, Caller, Denial
from shared.redis_schema import Denied
from tests.addons.conftest import PEPPER, request
from tests.addons.fakes import FakeStore

KNOWN = tokens.generate(bytes(24))
SCHEMES = {"", "bearer"}


def waiting(
    calls: Calls, table: RouteTable, credential: str, path: str = "/v1/models", method: str = "GET"
) -> http.HTTPFlow:
    flow = request(method, path)
    call = calls.of(flow)
    call.candidates = table.current.match(method, path).routes
    call.presented = [("authorization", credential)]
    return flow


def admission(calls: Calls, table: RouteTable, store: FakeStore) -> Admission:
    return Admission(calls, gate(calls, table, store), table, PEPPER)


def gate(calls: Calls, table: RouteTable, store: FakeStore) -> Gate:
    return Gate(store, table, Holds(), Outage(calls, 1))


@pytest.mark.parametrize(
    ("presented", "code"),
    [
        ([], "missing_token"),
        ([("authorization", "")], "missing_token"),
        ([("authorization", "Bearer ")], "missing_token"),
        ([("authorization", "Basic dXNlcjpwYXNz")], "missing_token"),
        ([("authorization", "Bearer sk-proj-0123456789abcdef0123456789abcdef")], "invalid_token"),
        ([("authorization", f"Bearer {tokens.PREFIX}short")], "invalid_token"),
        ([("authorization", f"Bearer {tokens.generate(bytes(24), tokens.OPERATOR_PREFIX)}")], "invalid_token"),
        ([("authorization", f"Bearer {KNOWN}x")], "invalid_token"),
        ([("authorization", f"Bearer {KNOWN} {KNOWN}")], "invalid_token"),
        ([("authorization", f"Bearer {KNOWN[:-1]}9")], "invalid_token"),
        ([("authorization", "a"), ("x-api-key", "b")], "invalid_request"),
    ],
)
def test_what_is_not_one_well_formed_token_is_refused_without_a_look_up(
    presented: list[tuple[str, str]], code: str
) -> None:
    with pytest.raises(Refused) as refused:
        presented_token(presented, SCHEMES)

    assert refused.value.refusal.code == code


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  ", ""])
def test_a_token_is_taken_with_or_without_scheme(token: str, scheme: str) -> None:
    assert presented_token([("authorization", scheme + token)], SCHEMES) == token


async def test_an_admitted_caller_settles_the_route(
    calls: Calls, route_table: RouteTable, caller: Caller, token: str
) -> None:
    flow, store = waiting(calls, route_table, f"Bearer {token}"), FakeStore(caller)

    await admission(calls, route_table, store).requestheaders(flow)

    call = calls.of(flow)
    assert flow.response is None and call.caller == caller
    assert call.provider == route_table.current.providers["openai"]
    assert call.route is not None and call.route.path == "/v1/models"
    assert store.asked == [(tokens.digest(token, PEPPER), ["openai", "anthropic"])]


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        (Denial.NOT_READY, 503),
        (Denial.TOKEN_NOT_FOUND, 401),
        (Denial.TOKEN_INACTIVE, 401),
        (Denial.TOKEN_EXPIRED, 401),
        (Denial.PROJECT_INACTIVE, 403),
        (Denial.ENDPOINT_NOT_FOUND, 404),
        (Denial.QUOTA_EXCEEDED, 429),
    ],
)
async def test_each_denial_has_its_status_and_code(
    calls: Calls, route_table: RouteTable, token: str, reason: Denial, status: int
) -> None:
    flow = waiting(calls, route_table, token)

    await admission(calls, route_table, FakeStore(Denied(reason, "", "", None))).requestheaders(flow)

    assert flow.response is not None and flow.response.status_code == status
    assert calls.of(flow).refused_with == reason.value and calls.of(flow).caller is None


async def test_a_denial_is_worded_for_the_callers_provider(
    calls: Calls, route_table: RouteTable, caller: Caller, token: str
) -> None:
    project = caller.project.__class__("p", "anthropic", False, "", (), 1)
    flow, store = waiting(calls, route_table, token), FakeStore(Denied(Denial.PROJECT_INACTIVE, "t", "l", project))

    await admission(calls, route_table, store).requestheaders(flow)

    assert flow.response is not None and b'"type":"error"' in (flow.response.content or b"")


async def test_a_store_that_does_not_answer_closes_the_door(calls: Calls, route_table: RouteTable, token: str) -> None:
    flow = waiting(calls, route_table, token)

    await admission(calls, route_table, FakeStore(StoreUnavailable("timeout"))).requestheaders(flow)

    assert flow.response is not None and flow.response.status_code == 503
    assert flow.response.headers["retry-after"] == "1"


async def test_a_malformed_token_never_reaches_the_store(calls: Calls, route_table: RouteTable, caller: Caller) -> None:
    flow, store = waiting(calls, route_table, "Bearer nonsense"), FakeStore(caller)

    await admission(calls, route_table, store).requestheaders(flow)

    assert store.asked == []


@pytest.mark.parametrize(
    ("target", "amounts"),
    [
        ("GET /v1/models", NOTHING),
        ("POST /v1/files", NOTHING),
        ("POST /v1/responses/input_tokens", NOTHING),
        ("DELETE /v1/responses/r-1", NOTHING),
        ("GET /v1/realtime", Amounts()),
        ("POST /v1/responses", Amounts()),
    ],
)
async def test_what_costs_nothing_is_let_in_at_its_head(
    calls: Calls, route_table: RouteTable, caller: Caller, token: str, target: str, amounts: Amounts
) -> None:
    method, path = target.split()
    store = FakeStore(caller)

    await admission(calls, route_table, store).requestheaders(waiting(calls, route_table, token, path, method))

    assert store.amounts == [amounts]
