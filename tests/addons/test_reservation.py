"""What is reserved for a request, and when."""

import json
from dataclasses import replace

import pytest
from mitmproxy import http

from addons.asked import DEFAULT_COMPLETION
from addons.call import Call, Calls
from addons.gate import Gate
from addons.holds import Holds
from addons.outage import Outage
from addons.price_list import PriceList
from addons.reservation import DEFAULT_PROMPT, Reservation
from addons.route_table import RouteTable
from shared.models import NOTHING, Amounts, Caller, LimitState, Measure, Scope, Window
from shared.prices import Price, PriceTable
from shared.providers import ProviderTable
from tests.addons.conftest import pass_through
from tests.addons.fakes import FakeStore

BUDGET = LimitState(Scope.TOKEN, Measure.TOKENS, Window.DAY, 1000, 1000, 1)
MONEY = LimitState(Scope.TOKEN, Measure.COST, Window.DAY, 1000, 1000, 1)
PRICES = PriceTable((Price("openai", "gpt-4o", prompt=2_000_000, completion=3_000_000),))


class World:
    """A pending request before a room that reserves for it."""

    def __init__(
        self, calls: Calls, table: RouteTable, caller: Caller, admitted: tuple[http.HTTPFlow, Call], state: LimitState
    ) -> None:
        self.flow, self.call = admitted
        self.pending = replace(caller, sequence=0, standing=(state,))
        self.call.caller, self.call.standing = self.pending, self.pending.standing
        self.call.is_admitted, self.call.model = False, "gpt-4o"
        self.store = FakeStore(replace(self.pending, sequence=1, hold=b"held"))
        self.store.table = PRICES
        self.prices = PriceList(self.store)  # type: ignore[arg-type]
        gate = Gate(self.store, table, Holds(), Outage(calls, 1))  # type: ignore[arg-type]
        self.room = Reservation(calls, gate, self.prices)


@pytest.fixture
def budget(calls: Calls, route_table: RouteTable, caller: Caller, admitted: tuple[http.HTTPFlow, Call]) -> World:
    return World(calls, route_table, caller, admitted, BUDGET)


@pytest.fixture
def money(calls: Calls, route_table: RouteTable, caller: Caller, admitted: tuple[http.HTTPFlow, Call]) -> World:
    return World(calls, route_table, caller, admitted, MONEY)


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (b'{"model":"gpt-4o","messages":[{"role":"user","content":"12345678"}],"max_tokens":50}', 3 + 50),
        (b'{"model":"gpt-4o","input":"12345678"}', 4 + DEFAULT_COMPLETION),
        (b'{"model":"gpt-4o","input":"12345678","n":100}', 4 + 100 * DEFAULT_COMPLETION),
        (b'{"model":"gpt-4o","input":"12345678","max_tokens":null}', 4 + DEFAULT_COMPLETION),
        (b"", 1 + DEFAULT_COMPLETION),
    ],
    ids=["bounded", "unbounded", "many answers", "null", "empty"],
)
async def test_a_request_reserves_its_prompt_and_the_longest_answer(budget: World, body: bytes, tokens: int) -> None:
    budget.flow.request.raw_content = body

    await pass_through("requestheaders", budget.flow, budget.room)
    assert budget.store.amounts == []
    await pass_through("request", budget.flow, budget.room)

    [amounts] = budget.store.amounts
    assert amounts.tokens is not None and abs(amounts.tokens - tokens) <= 3 and amounts.cost == 0
    assert budget.call.is_admitted and budget.flow.response is None
    await pass_through("request", budget.flow, budget.room)
    assert len(budget.store.amounts) == 1


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"model":"gpt-4o","max_tokens":100000,"max_tokens":1}', None),
        (b'{"model":"gpt-4o","model":"cheap"}', None),
        (b'{"model":"gpt-4o","Max_Tokens":100000,"max_tokens":1}', None),
        (b'{"model":"gpt-4o","max_output_tokens":"many"}', "max_output_tokens"),
        (b'{"model":"gpt-4o","max_tokens":-1}', "max_tokens"),
        (b'{"model":"gpt-4o","n":1099511627777}', "n"),
        (b"no JSON", None),
    ],
)
async def test_what_may_hide_how_much_is_asked_for_is_refused(budget: World, body: bytes, param: str | None) -> None:
    budget.flow.request.raw_content = body

    await pass_through("request", budget.flow, budget.room)

    assert budget.call.refused_with == "invalid_request" and budget.store.amounts == []
    assert budget.flow.response is not None and budget.flow.response.status_code == 400
    assert json.loads(budget.flow.response.content or b"")["error"]["param"] == param


async def test_what_is_beyond_all_numbers_is_reserved_as_the_largest_exact_one(money: World) -> None:
    await money.prices.refresh()
    most = 1 << 40
    money.flow.request.raw_content = b'{"model":"gpt-4o","max_tokens":%d,"n":%d}' % (most, most)

    await pass_through("request", money.flow, money.room)

    assert money.store.amounts == [Amounts(1 << 53, 1 << 53)]


async def test_a_request_that_costs_nothing_reserves_nothing(money: World, table: ProviderTable) -> None:
    money.call.route = table.match("POST", "/v1/files").routes["openai"]
    money.flow.request.stream = True

    await pass_through("requestheaders", money.flow, money.room)

    assert money.store.amounts == [NOTHING] and money.call.is_admitted


@pytest.mark.parametrize(
    ("path", "kind", "is_held"),
    [
        ("/v1/audio/transcriptions", "multipart/form-data; boundary=b", True),
        ("/v1/images/edits", "application/json", True),
        ("/v1/images/edits", "image/png", False),
    ],
)
async def test_where_money_is_limited_a_body_that_names_its_model_is_held(
    money: World, table: ProviderTable, path: str, kind: str, is_held: bool
) -> None:
    money.call.route = table.match("POST", path).routes["openai"]
    money.flow.request.headers["content-type"] = kind
    money.flow.request.stream = True

    await pass_through("requestheaders", money.flow, money.room)

    assert money.flow.request.stream is not is_held


async def test_a_form_is_reserved_at_the_price_of_the_model_in_it(money: World, table: ProviderTable) -> None:
    await money.prices.refresh()
    money.call.route, money.call.model = table.match("POST", "/v1/images/edits").routes["openai"], None
    money.flow.request.headers["content-type"] = "multipart/form-data; boundary=b"
    part = b'--b\r\ncontent-disposition: form-data; name="%b"\r\n\r\n%b\r\n'
    money.flow.request.raw_content = part % (b"model", b"gpt-4o") + part % (b"n", b"3") + b"--b--\r\n"

    await pass_through("request", money.flow, money.room)

    prompt = money.call.prompt_estimate or 0
    assert money.store.amounts == [Amounts(prompt + 3 * 1024, prompt * 2 + 3 * 3 * 1024)]
    assert money.call.model == "gpt-4o"


async def test_a_streamed_body_reserves_before_it_comes(budget: World) -> None:
    budget.flow.request.stream = True

    await pass_through("requestheaders", budget.flow, budget.room)

    assert budget.store.amounts == [Amounts(DEFAULT_PROMPT + DEFAULT_COMPLETION, 0)] and budget.call.is_admitted


async def test_money_is_reserved_at_the_models_price(money: World) -> None:
    await money.prices.refresh()
    money.flow.request.raw_content = b'{"model":"gpt-4o","input":"1234","max_output_tokens":10}'

    await pass_through("request", money.flow, money.room)

    prompt = money.call.prompt_estimate or 0
    assert money.store.amounts == [Amounts(prompt + 10, prompt * 2 + 30)]


@pytest.mark.parametrize(("is_limited", "code"), [(True, "model_not_priced"), (False, None)])
async def test_a_model_without_a_price_is_refused_only_where_money_is_limited(
    money: World, budget: World, is_limited: bool, code: str | None
) -> None:
    world = money if is_limited else budget
    world.call.caller = world.pending
    world.flow.request.raw_content = b'{"model":"unheard-of"}'
    await world.prices.refresh()

    await pass_through("request", world.flow, world.room)

    assert world.call.refused_with == code
    assert world.call.is_admitted is not is_limited


async def test_before_any_prices_have_come_nobody_is_told_that_a_model_has_none(money: World) -> None:
    await pass_through("request", money.flow, money.room)

    assert money.call.refused_with == "service_unavailable"


async def test_what_is_admitted_already_is_left_alone(admitted: tuple[http.HTTPFlow, Call], budget: World) -> None:
    budget.call.is_admitted = True

    await pass_through("request", budget.flow, budget.room)

    assert budget.store.amounts == []
