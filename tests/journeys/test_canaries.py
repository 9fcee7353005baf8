"""A provider key, a withering token and the e-mail address of a patient are driven through everything; security staff
see none of them anywhere, and the provider has had the real ones.
"""

import base64
import io
import json
import sqlite3
import threading
import zipfile
from contextlib import closing, suppress
from urllib.parse import urlsplit

import openai
import pytest
import requests
from wsproto import events

from tests.journeys.conftest import Inspector, Installation, StartInspector, Token, kill, until
from tests.journeys.parrot import Parrot, serving
from tests.journeys.test_resilience import Asked
from tests.journeys.test_secrets import written
from tests.journeys.test_watching import MAIL, WATCHED, chat, streaming
from tests.manager.mock_provider.conftest import Socket

# As many providers have them: nothing tells that it is one.
BARE_KEY = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"

type Sinks = dict[str, bytes]


def spellings(secret: str) -> list[bytes]:
    """A secret as it is, and as it might stand somewhere without being recognised at once."""
    plain = secret.encode()
    cut = [base64.b64encode(plain[start:])[3:-4] for start in range(3)]
    return [plain, plain.hex().encode(), json.dumps(secret)[1:-1].encode(), *[each for each in cut if len(each) > 12]]


# (What mitmproxy saves by its own options is the traffic itself: the engine has none.)
@pytest.mark.parametrize("runner", ["engine"], indirect=True, scope="session")
def test_no_sink_has_a_key_a_token_or_what_is_to_be_hidden(
    fresh_installation: Installation, runner: str, start: StartInspector
) -> None:
    product = fresh_installation
    token = product.token(product.project("canary", inspection=WATCHED), label="canary")
    inspector = start(product=product)
    updates = Updates(inspector, str(product.session.headers["authorization"]))
    client, said = product.client(token), f"I am {MAIL}, my token is {token.secret}, the key {product.provider_key}"
    asked = chat(said)

    answer = client.chat.completions.create(**asked)
    pieces = client.chat.completions.create(**asked, stream=True)
    streamed = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    for behaviour in ({"error_rate": 1}, {"abort_rate": 1}, {"fail_first": 1, "seed": 1}):
        headers = {"x-mock-behaviour": json.dumps(behaviour)}
        with suppress(openai.APIError):
            list(client.chat.completions.create(**asked, stream=True, extra_headers=headers))
    with serving(Parrot) as url:
        spelled_out(
            product, product.token(product.project("parrot", inspection=WATCHED, base_url=url, api_key=BARE_KEY)), said
        )
    client.files.create(file=("notes.txt", f"of {MAIL}".encode()), purpose="assistants")
    product.send(token.secret, path=f"/v1/models/{MAIL}?user={MAIL}")
    product.send(token.secret, "POST", "/v1/chat/completions", data=b"{" + said.encode())
    endless = Asked(product, token, chunks=100_000, chunk_interval_ms=20)
    until(lambda: streaming(product, token))
    kill(product.supervisor.pids()["proxy-0"])
    endless.join()

    assert MAIL in str(answer.choices[0].message.content) and MAIL in streamed
    assert token.secret in streamed and product.provider_key in streamed  # The provider says what it has heard.
    sinks = gathered(product, inspector, token)
    sinks["updates"] = updates.end()
    sinks |= {f"before the crash: {name}": content for name, content in written(product.folder).items()}
    sinks |= crashed(product, (token.secret, product.provider_key, MAIL))
    product.supervisor.stop()
    sinks |= written(product.folder)
    assert b"flows/update" in sinks["updates"]
    assert sum("flow " in name for name in sinks) >= 10 and any(
        "[email]" in text.decode(errors="replace") for text in sinks.values()
    )
    for secret in (product.provider_key, BARE_KEY, token.secret, MAIL):
        forms = spellings(secret)
        assert [name for name, content in sinks.items() if any(form in content for form in forms)] == []


def spelled_out(product: Installation, token: Token, said: str) -> None:
    """Ask a provider that says it again letter by letter, packed, or both; it has had the real ones."""
    for number, (is_stream, coding) in enumerate([(True, "identity"), (True, "gzip"), (False, "gzip")]):
        headers = {"authorization": f"Bearer {token.secret}", "accept-encoding": coding}
        url = f"{product.proxy_urls[number % 2]}/v1/chat/completions"
        answer = requests.post(url, json=chat(said, stream=is_stream), headers=headers, timeout=20)
        events = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
        parts = [json.loads(event)["choices"][0]["delta"] for event in events] or [
            json.loads(answer.text)["choices"][0]["message"]
        ]
        heard = "".join(part["content"] for part in parts)
        assert said in heard and heard.endswith(f"with {BARE_KEY}"), coding


def crashed(product: Installation, secrets: tuple[str, ...]) -> Sinks:
    """Break the database, and ask the manager for what it cannot know: its pages of an exception."""
    browser = signed_in(product)
    browser.headers["authorization"] = str(product.session.headers["authorization"])
    path = str(product.settings.database_url).removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as database:
        for table in ("tokens", "requests", "audit_events"):
            database.execute(f"ALTER TABLE {table} RENAME TO lost_{table}")
    asked = [f"{page}?{name}={secret}" for secret in secrets for page, name in _SEARCHES] + [
        "/ui/audit",
        "/ui/requests",
    ]
    answers = {path: browser.get(product.manager_url + path, timeout=20) for path in asked}
    assert [answer.status_code for answer in answers.values()] == [500] * len(asked)
    return {f"exception {number}": answer.content for number, answer in enumerate(answers.values())}


# (The forms of the admin UI bring back what was searched for, as any do.)
_SEARCHES = (("/manage/requests", "model"), ("/manage/audit", "text"))


def signed_in(product: Installation) -> requests.Session:
    """A browser's session with the admin UI."""
    session = requests.Session()
    page = session.get(f"{product.manager_url}/ui/sign-in", timeout=20).text
    secret = str(product.session.headers["authorization"]).removeprefix("Bearer ")
    form = {"token": secret, "csrf_token": page.partition('name="csrf_token" value="')[2].partition('"')[0]}
    session.post(f"{product.manager_url}/ui/sign-in", data=form, timeout=20).raise_for_status()
    return session


class Updates:
    """What mitmweb's WebSocket says from now on."""

    def __init__(self, inspector: Inspector, authorization: str) -> None:
        address = urlsplit(inspector.url)
        headers = [(b"authorization", authorization.encode()), (b"origin", inspector.url.encode())]
        self._socket = Socket(address.netloc, "/updates", headers, [])
        assert self._socket.refusal is None
        self._heard: list[str] = []
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        try:
            while not isinstance(event := self._socket.event(), events.CloseConnection):
                self._heard.append(str(getattr(event, "data", "")))
        except OSError:
            return

    def end(self) -> bytes:
        """Hear no more; everything that has been said."""
        self._socket.hang_up()
        self._thread.join(20)
        self._socket.drop()
        return "".join(self._heard).encode()


def gathered(product: Installation, inspector: Inspector, token: Token) -> Sinks:
    """What mitmweb, exports, the API, the admin UI and metrics show."""
    ended = lambda: len([f for f in inspector.flows().values() if "outcome=" in f["comment"]])  # noqa: E731
    until(lambda: ended() >= 8, 30)
    browser = signed_in(product)
    sinks: Sinks = {"flow list": inspector.ask("GET", "/flows").content}
    for flow_id, flow in inspector.flows().items():
        for side in ("request", "response"):
            if side not in flow:
                continue
            sinks[f"flow {flow_id} {side}"] = inspector.ask("GET", f"/flows/{flow_id}/{side}/content.data").content
            for view in ("Auto", "LLM conversation", "LLM answer", "LLM files", "JSON", "Raw"):
                path = f"/flows/{flow_id}/{side}/content/{view.replace(' ', '%20')}.json"
                sinks[f"flow {flow_id} {side} {view}"] = inspector.ask("GET", path).content
        sinks[f"api flow {flow_id}"] = json.dumps(product.manage("GET", f"/manage/flows/{flow_id}")).encode()
        for page in (f"/ui/requests/{flow_id}", f"/ui/flows/{flow_id}"):
            shown = browser.get(product.manager_url + page, timeout=20)
            assert flow_id in shown.text
            sinks[f"ui {page}"] = shown.content
    sinks["dump"] = inspector.ask("GET", "/flows/dump").content
    sinks["events"] = inspector.ask("GET", "/events").content
    exported = product.session.post(
        f"{product.manager_url}/manage/flows/export", json={"project_id": token.project_id}, timeout=60
    )
    with zipfile.ZipFile(io.BytesIO(exported.content)) as file:
        sinks |= {f"export {name}": file.read(name) for name in file.namelist()}
    for path in ("/ui/requests", "/ui/live", "/ui/audit", "/ui/tokens", "/ui/rules"):
        sinks[path] = browser.get(product.manager_url + path, timeout=20).content
    for path in ("/manage/requests", "/manage/audit", "/manage/flows", "/manage/live", "/manage/tokens", "/metrics"):
        sinks[path] = product.session.get(product.manager_url + path, timeout=20).content
    sinks["metrics"] = requests.get(f"{product.metrics_urls[1]}/metrics", timeout=20).content
    return sinks
