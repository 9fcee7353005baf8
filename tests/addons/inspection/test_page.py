"""Rules of the page: flows appear live, what is harmless can be reached, and what clients send is text and no more."""

import asyncio
import gzip
import json
from io import BytesIO
from typing import Any
from urllib.parse import quote

import pytest
import redis
from mitmproxy import io
from tornado.httpclient import HTTPClientError

from addons.inspection import updates
from addons.inspection.guard import Guarded
from addons.inspection.page import ROUTES
from shared.flow_schema import Message
from tests.addons.inspection.conftest import Page, Start, until
from tests.addons.inspection.fake_manager import OPERATOR
from tests.flow_records import ASKED, ended, held, hold, record, request_id, streaming, tell

SCRIPT = "<script>alert(1)</script>"


# Who may ask


def test_every_route_stands_behind_the_guard() -> None:
    assert [pattern for pattern, handler in ROUTES if not issubclass(handler, Guarded)] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", path) for path in ("/flows", "/flows.json", "/flows/dump", "/events", "/options", "/state")),
        *(("GET", path) for path in ("/commands", "/filter-help", "/updates", "/sign-out", "/nothing", "/processes")),
        *(("GET", f"/flows/{request_id(1)}/request/{end}") for end in ("content.data", "content/auto")),
        *(("POST", f"/flows/{request_id(1)}/{end}") for end in ("resume", "kill", "revert", "replay", "duplicate")),
        *(("POST", path) for path in ("/flows/kill", "/flows/resume", "/clear", "/flows/dump", "/commands/export")),
        *(("PUT", path) for path in ("/options", f"/flows/{request_id(1)}")),
    ],
    ids=lambda value: value.replace(request_id(1), "1"),
)
async def test_nothing_is_told_to_nobody(page: Page, redis_client: redis.Redis, method: str, path: str) -> None:
    tell(redis_client, ended())
    await until(lambda: len(page.master.book))
    await page.get("/")  # A browser that has the form.

    answer = await page.do(method, path) if method != "GET" else await page.get(path)

    assert (answer.code, answer.body) == (403, b"Sign in first.")


@pytest.mark.parametrize("path", ["/flows", "/", "/updates", "/static/favicon.ico"])
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "[::1", "", "10.0.0.1"])
async def test_a_name_that_is_not_ours_leads_nowhere(operator: Page, path: str, host: str) -> None:
    answer = await operator.get(path, Host=host)

    is_public = path.startswith("/static/")
    assert answer.code in ((200, 400) if is_public else (403, 400))


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost", "[::1]:8081", "mitmweb.example.org", "127.8.8.8"])
async def test_our_own_names_are_fine(start: Start, host: str) -> None:
    page = await start(LLM_PROXY_INSPECTOR_URL="https://mitmweb.example.org")
    await page.sign_in()

    assert (await page.get("/state", Host=host)).code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"},
    ],
    ids=["origin", "null", "port", "cross-site", "same-site", "link"],
)
async def test_other_sites_have_nothing_sent(operator: Page, headers: dict[str, str]) -> None:
    for path in ("/flows", f"/flows/{request_id(1)}/request/content.data", "/sign-out"):
        assert (await operator.get(path, **headers)).code == 403
    assert (await operator.send("POST", f"/flows/{request_id(1)}/kill", b"", **headers)).code == 403
    assert (await operator.send("POST", "/", b"token=x", **headers)).code == 403
    with pytest.raises(HTTPClientError, match="403"):
        await operator.watch(**headers)


async def test_a_link_of_another_site_leads_to_the_page_itself(operator: Page) -> None:
    answer = await operator.get("/", Sec_Fetch_Site="same-site", Sec_Fetch_Mode="navigate")

    assert answer.code == 200 and b'id="mitmproxy"' in answer.body


@pytest.mark.parametrize("path", ["/", "/flows", "/nothing", "/flows/kill", "/static/favicon.ico"])
async def test_every_answer_has_what_keeps_browsers_safe(operator: Page, path: str) -> None:
    headers = (await operator.get(path)).headers

    assert headers["X-Frame-Options"] == "DENY" and headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin" and "mitmproxy" not in headers["Server"]
    assert "default-src 'self'" in headers["Content-Security-Policy"] and "'unsafe-eval'" not in str(headers)


async def test_a_cookie_alone_does_nothing(operator: Page, redis_client: redis.Redis) -> None:
    del operator.cookies["_mitmproxy_xsrf"]
    tell(redis_client, record())
    await operator.flow()

    for path in (f"/flows/{request_id(1)}/kill", f"/flows/{request_id(1)}/resume", "/commands/export"):
        assert (await operator.do("POST", path)).code == 403
    assert (await operator.do("PUT", f"/flows/{request_id(1)}", {"comment": "x"})).code == 403


# What can be looked at


async def test_a_flow_appears_grows_and_ends_while_somebody_watches(operator: Page, redis_client: redis.Redis) -> None:
    socket = await operator.watch()
    seen = []

    for told in (record(), streaming(body=b"data: a\n\n"), ended(revision=4)):
        tell(redis_client, told)
        message = json.loads(str(await asyncio.wait_for(socket.read_message(), 10)))
        flow = message["payload"]["flow"]
        seen.append((message["type"], flow["intercepted"], flow.get("response", {}).get("contentLength")))

    assert seen == [("flows/add", True, None), ("flows/update", True, 9), ("flows/update", False, 11)]
    assert flow["id"] == request_id(1) and "token=nightly" in flow["comment"]
    socket.close()


@pytest.mark.parametrize("is_eager", [False, True], ids=["lazy tasks", "eager tasks"])
async def test_a_filter_on_a_token_finds_its_flows_now_and_later(
    operator: Page, redis_client: redis.Redis, is_eager: bool
) -> None:
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory if is_eager else None)
    tell(redis_client, ended(1), ended(2, token_label="daily"))
    await until(lambda: len(operator.master.book) == 2)
    socket = await operator.watch()

    async def wanted(expression: str) -> list[str]:
        asked = {"type": "flows/updateFilter", "payload": {"name": "search", "expr": expression}}
        await socket.write_message(json.dumps(asked))
        while True:
            message = json.loads(str(await asyncio.wait_for(socket.read_message(), 10)))
            if message["type"] == "flows/filterUpdate":
                found: list[str] = message["payload"]["matching_flow_ids"]
                return found

    assert await wanted("~comment token=nightly") == [request_id(1)]
    tell(redis_client, ended(3))
    message = json.loads(str(await asyncio.wait_for(socket.read_message(), 10)))
    assert message["payload"]["matching_filters"] == {"search": True}
    assert await wanted("") is None
    assert await wanted("~b '(?=a)'") == []
    assert await wanted("") is None
    socket.close()


async def test_a_filter_that_takes_long_is_let_go_and_says_so(operator: Page, redis_client: redis.Redis) -> None:
    slow = "~b a[ab]{900}c"
    tell(redis_client, ended(1))
    await until(lambda: len(operator.master.book) == 1)
    socket = await operator.watch()
    told: list[dict[str, Any]] = []

    async def next_of(kind: str) -> Any:
        while not (found := [message for message in told if message["type"] == kind]):
            told.append(json.loads(str(await asyncio.wait_for(socket.read_message(), 10))))
        told.remove(found[0])
        return found[0]["payload"]

    await socket.write_message(json.dumps({"type": "flows/updateFilter", "payload": {"name": "search", "expr": slow}}))
    assert await next_of("flows/filterUpdate") == {"name": "search", "matching_flow_ids": []}
    tell(redis_client, ended(2, body=b"ab" * 100_000))
    assert (await next_of("flows/add"))["matching_filters"] == {"search": False}
    assert "takes too long" in (await next_of("events/add"))["message"]
    assert await next_of("flows/filterUpdate") == {"name": "search", "matching_flow_ids": []}
    tell(redis_client, ended(3))
    assert (await next_of("flows/add"))["matching_filters"] == {}

    await socket.write_message(json.dumps({"type": "flows/updateFilter", "payload": {"name": "search", "expr": slow}}))
    assert "takes too long" in (await next_of("events/add"))["message"]
    refused = await operator.get("/flows/dump?filter=" + quote(slow))
    assert refused.code == 400 and b"takes too long" in refused.body
    socket.close()


async def test_what_has_to_go_goes_from_the_browsers_as_well(start: Start, redis_client: redis.Redis) -> None:
    page = await start(LLM_PROXY_INSPECTOR_FLOWS="10")
    await page.sign_in()
    tell(redis_client, *(record(number) for number in range(1, 11)))
    await page.flow(lambda flow: flow["id"] == request_id(10))
    socket = await page.watch()

    tell(redis_client, record(11))
    page.master.events.add("warn", "Something is to be said.")
    told = [json.loads(str(await asyncio.wait_for(socket.read_message(), 10))) for _ in range(3)]
    by_type = {message["type"]: message["payload"] for message in told}

    assert set(by_type) == {"events/add", "flows/add", "flows/remove"} and by_type["flows/remove"] == request_id(1)
    assert "Something is to be said." in by_type["events/add"]["message"]
    socket.close()


@pytest.mark.parametrize("asked", ["nonsense", '{"type": "options/update"}', "many filters"])
async def test_a_browser_that_asks_for_something_else_is_let_go(operator: Page, asked: str) -> None:
    socket = await operator.watch()

    names = range(updates.MOST_FILTERS + 1) if asked == "many filters" else ()
    for name in names:
        wanted = {"type": "flows/updateFilter", "payload": {"name": str(name), "expr": "~all"}}
        await socket.write_message(json.dumps(wanted))
    if not names:
        await socket.write_message(asked)
    while await asyncio.wait_for(socket.read_message(), 10) is not None:
        pass

    assert socket.close_code == 1011
    socket.close()


async def test_the_page_and_what_it_loads_is_there(operator: Page) -> None:
    index = (await operator.get("/")).body.decode()
    script = index.partition('src="./')[2].partition('"')[0]

    assert (await operator.get(f"/{script}")).headers["Content-Type"] == "text/javascript"
    state = await operator.json("/state")
    assert state["servers"] == {} and "auto" in state["contentViews"]
    assert not {"grpc", "protobuf", "zip archive", "javascript"} & set(state["contentViews"])
    options = await operator.json("/options")
    assert "comment" in options["web_columns"]["value"] and not any("password" in name for name in options)
    assert await operator.json("/commands") == {} and await operator.json("/events") == []
    assert (await operator.json("/filter-help"))["commands"]


async def test_bodies_are_shown_in_views_and_what_is_missing_is_explained(
    operator: Page, redis_client: redis.Redis
) -> None:
    cut = Message([("content-type", "text/plain")], 900, b"only the beginning", is_cut=True)
    tell(redis_client, ended(1, request=Message([], 70, note="metadata only"), response=cut))
    await operator.flow()

    request = await operator.json(f"/flows/{request_id(1)}/request/content/auto")
    response = await operator.json(f"/flows/{request_id(1)}/response/content/auto?lines=10")

    assert request["text"] == "[metadata only]"
    assert response["text"] == "only the beginning" and "cut: 18 of 900 bytes" in response["description"]
    for path in ("request/content.data", "messages/content/auto", "response/content/auto?lines=x"):
        assert (await operator.get(f"/flows/{request_id(1)}/{path}")).code == 404
    assert (await operator.get(f"/flows/{request_id(9)}/request/content/auto")).code == 404


async def test_flows_can_be_taken_home_as_a_file(operator: Page, redis_client: redis.Redis) -> None:
    tell(redis_client, *(ended(number, token_label=f"t{number % 2}") for number in range(1, 251)))
    await until(lambda: len(operator.master.book) == 250)

    whole = await operator.get("/flows/dump")
    some = await operator.get("/flows/dump?filter=~comment%20token=t1")

    assert len(list(io.FlowReader(BytesIO(whole.body)).stream())) == 250 == len(await operator.flows())
    assert len(list(io.FlowReader(BytesIO(some.body)).stream())) == 125
    assert "attachment" in whole.headers["Content-Disposition"]
    assert (await operator.get("/flows/dump?filter=~b%20'('")).code == 400


async def test_a_flow_can_be_copied_as_a_command(operator: Page, redis_client: redis.Redis) -> None:
    tell(redis_client, ended())
    await operator.flow()

    async def command(name: str, *words: object) -> dict[str, Any]:
        answer = await operator.do("POST", f"/commands/{name}", {"arguments": words})
        found: dict[str, Any] = json.loads(answer.body)
        return found

    curl = await command("export", "curl", f"@{request_id(1)}")
    assert curl["value"].startswith("curl") and "api.openai.com" in curl["value"]
    assert "HTTP/1.1 200 OK" in (await command("export", "raw_response", f"@{request_id(1)}"))["value"]
    assert "error" in await command("export", "curl", "@all")
    assert "error" in await command("export", "nonsense", f"@{request_id(1)}")
    assert await command("commands.history.get") == {"value": []}
    assert await command("commands.history.add", "x") == {"value": None}
    assert (await operator.do("POST", "/commands/export", {"arguments": [1]})).code == 400


# What cannot be done


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("POST", path) for path in ("/flows/kill", "/flows/resume", "/clear", "/options/save", "/flows/dump")),
        *(("POST", f"/commands/{name}") for name in ("view.clear", "replay.client", "save.file", "script.run")),
        *(("POST", f"/flows/{request_id(1)}/{end}") for end in ("replay", "duplicate")),
        ("DELETE", f"/flows/{request_id(1)}"),
        ("PUT", "/options"),
        ("GET", "/processes"),
        ("GET", "/executable-icon?path=/bin/sh"),
    ],
    ids=lambda value: value.replace(request_id(1), "1"),
)
async def test_what_mitmweb_could_do_besides_is_refused(
    operator: Page, redis_client: redis.Redis, method: str, path: str
) -> None:
    tell(redis_client, record())
    await operator.flow()

    answer = await operator.do(method, path, {"mode": ["regular"]}) if method != "GET" else await operator.get(path)

    assert answer.code == 403 and b"here" in answer.body
    assert len(await operator.flows()) == 1 and operator.master.options.mode == ["regular"]


# Hostile input


async def test_what_clients_send_comes_as_text_and_as_a_download_only(
    operator: Page, redis_client: redis.Redis
) -> None:
    headers = [
        ("content-type", "text/html"),
        ("content-disposition", f'filename="{SCRIPT}.html"'),
        ("x", "a\r\nb\x00\x1b\ud83d"),
    ]
    body = f"<html>{SCRIPT}\x1b[31m</html>".encode()
    page = Message([(name, value.encode("utf-8", "replace").decode()) for name, value in headers], len(body), body)
    url = f"http://h/{SCRIPT}\r\nset-cookie: a=b"
    tell(redis_client, ended(1, request=page, response=page, url=url, model=SCRIPT, token_label=SCRIPT))
    await operator.flow()

    for message in ("request", "response"):
        shown = await operator.get(f"/flows/{request_id(1)}/{message}/content/auto")
        data = await operator.get(f"/flows/{request_id(1)}/{message}/content.data")

        assert shown.headers["Content-Type"].startswith("application/json") and "\\u001b" not in shown.body.decode()
        assert data.body == body and data.headers["Content-Type"] == "application/octet-stream"
        assert data.headers["Content-Disposition"] == f"attachment; filename={request_id(1)}-{message}"
        assert data.headers["X-Content-Type-Options"] == "nosniff" and "Set-Cookie" not in data.headers
    listed = await operator.get("/flows")
    assert listed.headers["Content-Type"].startswith("application/json")
    assert json.loads(listed.body)[0]["request"]["headers"][2] == ["x", "a\r\nb\x00\x1b?"]


async def test_a_body_is_not_unpacked_to_any_size(operator: Page, redis_client: redis.Redis) -> None:
    bomb = gzip.compress(b"\0" * (50 << 20))
    tell(redis_client, ended(1, response=Message([("content-encoding", "gzip")], len(bomb), bomb)))
    await operator.flow()

    data = await operator.get(f"/flows/{request_id(1)}/response/content.data")
    shown = await operator.get(f"/flows/{request_id(1)}/response/content/raw")

    assert data.body == bomb and len(shown.body) < 10 * len(bomb)


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b'{"request":{"path":"/x"}}', b'{"<b>":1}'])
async def test_what_cannot_be_understood_is_answered_in_plain_text(
    operator: Page, redis_client: redis.Redis, body: bytes
) -> None:
    tell(redis_client, record())
    await operator.flow()

    answer = await operator.send("PUT", f"/flows/{request_id(1)}", body, Content_Type="application/json")

    assert 400 <= answer.code < 500 and answer.headers["Content-Type"] == "text/plain; charset=UTF-8"
    assert b"<b>" not in answer.body


# Bounds


async def test_a_browser_that_does_not_read_is_let_go(
    operator: Page, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updates, "MOST_BYTES", 300_000)
    reading = await operator.watch()
    slow = await operator.watch_without_reading()
    await until(lambda: len(updates.Updates.connections) == 2)

    received: list[object] = []

    async def drain() -> None:
        while (message := await reading.read_message()) is not None:
            received.append(message)

    draining = asyncio.get_running_loop().create_task(drain())
    for number in range(2000):
        tell(redis_client, record(number, url=f"http://h/{'x' * 30_000}"))
        await until(lambda: len(received) == number + 1)  # noqa: B023 - it is called at once
        if len(updates.Updates.connections) == 1:
            break

    assert len(updates.Updates.connections) == 1 and not draining.done()
    slow.close()
    reading.close()
    await draining


async def test_flows_are_bounded_as_the_settings_say(start: Start, redis_client: redis.Redis) -> None:
    page = await start(LLM_PROXY_INSPECTOR_FLOWS="10", LLM_PROXY_INSPECTOR_MB="1")
    await page.sign_in()

    tell(redis_client, *(record(number) for number in range(1, 31)))
    await page.flow(lambda flow: flow["id"] == request_id(30))
    few = [flow["id"] for flow in await page.flows()]
    tell(redis_client, *(ended(number, body=b"x" * (300 << 10)) for number in range(31, 41)))
    await page.flow(lambda flow: flow["id"] == request_id(40))

    assert few == [request_id(number) for number in range(21, 31)]
    assert [flow["id"] for flow in await page.flows()] == [request_id(number) for number in (38, 39, 40)]


async def test_a_held_request_is_shown_whole_and_as_held(operator: Page, redis_client: redis.Redis) -> None:
    hold(redis_client, held())

    flow = await operator.flow(lambda flow: flow["request"]["contentLength"] == len(ASKED))

    assert flow["intercepted"] and flow["marked"] == "✋" and flow["comment"].endswith("held")
    assert OPERATOR not in str(flow)
