"""The provider as an ASGI application: from one HTTP request to one delivered answer and one ledger entry."""

import time
from collections.abc import Collection
from typing import Any

import orjson

from manager.mock_provider import control, keys, routes
from manager.mock_provider.answers.question import Question
from manager.mock_provider.behaviour import WELL_BEHAVED, Behaviour
from manager.mock_provider.client import Client, ClientGone, Message, Receive, Send
from manager.mock_provider.delivery import Delivery
from manager.mock_provider.errors import ProviderError
from manager.mock_provider.ledger import Entry, Outcome
from manager.mock_provider.provider import Provider
from manager.mock_provider.replies import Reply, accepts_gzip, json_reply, plain_reply, stream_reply
from manager.mock_provider.routes import Route


def create_app(behaviour: Behaviour = WELL_BEHAVED, accepted_keys: Collection[str] = ()) -> "MockProvider":
    """A provider that accepts these keys; without any, every key but a withering token."""
    return MockProvider(Provider(behaviour, frozenset(accepted_keys)))


class MockProvider:
    """An ASGI 3 application; only HTTP, no lifespan. ``provider`` holds its state."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serves one request. Raises NotImplementedError for anything but HTTP."""
        if scope["type"] != "http":
            raise NotImplementedError(f"the mock provider serves no {scope['type']}")
        if scope["path"].startswith(control.PREFIX):
            await self._control(scope, Client(receive), send)
        else:
            await self._provide(scope, Client(receive), send)

    async def _control(self, scope: Message, client: Client, send: Send) -> None:
        try:
            body = await client.body()
            reply = control.reply(self.provider, scope["method"], scope["path"], body)
        except ProviderError as error:
            reply = _refusal(error, scope["path"])
        except ClientGone:
            return
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
        await send({"type": "http.response.body", "body": reply.pieces[0]})

    async def _provide(self, scope: Message, client: Client, send: Send) -> None:
        began = time.perf_counter()
        caller = keys.presented(scope["headers"])
        entry = self.provider.ledger.open(scope["method"], scope["path"], caller)
        delivery = Delivery(send, client, entry, self.provider.holds, began)
        outcome = Outcome.ABORTED
        try:
            outcome = await delivery.deliver(*await self._reply(scope, client, entry))
        except ClientGone:
            outcome = Outcome.DISCONNECTED
        finally:
            client.forget()
            self.provider.ledger.close(entry, outcome)

    async def _reply(self, scope: Message, client: Client, entry: Entry) -> tuple[Reply, Behaviour]:
        """The reply and the behaviour to deliver it with; who is refused at the door is refused at once."""
        behaviour, headers = WELL_BEHAVED, dict(scope["headers"])
        try:
            entry.asked(body := await client.body(int(headers.get(b"content-length", 0))))
            keys.refuse_leaked(entry.caller)
            route = routes.find(entry.method, entry.path)
            keys.require_key(route.dialect.key_of(entry.caller), self.provider.accepted_keys)
            behaviour = self.provider.behaviour_for(headers.get(b"x-mock-behaviour"))
            return self._answer(route, entry, body, behaviour, headers), behaviour
        except ProviderError as error:
            return _refusal(error, entry.path), behaviour

    def _answer(
        self, route: Route, entry: Entry, body: bytes, behaviour: Behaviour, headers: dict[bytes, bytes]
    ) -> Reply:
        fields = _fields(body) if route.asks else {}
        entry.model = str(fields["model"]) if "model" in fields else None
        answer = route.answer(Question(fields, entry.number, behaviour.chunks))
        self.provider.fail_by_chance(behaviour)
        cut = self.provider.cuts_by_chance(behaviour)
        squeeze = behaviour.compress is not None and accepts_gzip(headers.get(b"accept-encoding", b""))
        if isinstance(answer, bytes):
            return plain_reply(answer, behaviour, squeeze=squeeze, cut=cut)
        return stream_reply(answer, squeeze=squeeze, cut=cut)


def _fields(body: bytes) -> dict[str, Any]:
    """The request's JSON object. Raises ProviderError 400 for anything else."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        fields = None
    if not isinstance(fields, dict):
        raise ProviderError(400, "We could not parse the JSON body of your request.")
    return fields


def _refusal(error: ProviderError, path: str) -> Reply:
    return json_reply(error.status, routes.dialect_of(path).error_body(error), error.headers)
