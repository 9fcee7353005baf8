"""The provider as an ASGI application: from one HTTP request to one delivered answer and one ledger entry."""

import time
from collections.abc import Collection
from urllib.parse import parse_qsl

from manager.mock_provider import control, keys, routes
from manager.mock_provider.answers.files import Content
from manager.mock_provider.answers.question import Question
from manager.mock_provider.behaviour import WELL_BEHAVED, Behaviour
from manager.mock_provider.client import Client, ClientGone, Message, Receive, Send
from manager.mock_provider.connection import BEHAVIOUR
from manager.mock_provider.delivery import Delivery
from manager.mock_provider.errors import ProviderError
from manager.mock_provider.keys import Presented
from manager.mock_provider.ledger import Entry, Outcome
from manager.mock_provider.provider import Provider
from manager.mock_provider.realtime import converse
from manager.mock_provider.repertoire import Worked
from manager.mock_provider.replies import (
    Reply,
    accepts_gzip,
    bare_reply,
    download_reply,
    json_reply,
    plain_reply,
    stream_reply,
    without_body,
)
from manager.mock_provider.routes import Answer, Route

_OVERRIDE = b"x-mock-behaviour"


def create_app(behaviour: Behaviour = WELL_BEHAVED, accepted_keys: Collection[str] = ()) -> "MockProvider":
    """A provider that accepts these keys; without any, every key but a withering token."""
    return MockProvider(Provider(behaviour, frozenset(accepted_keys)))


class MockProvider:
    """An ASGI 3 application for HTTP and WebSocket, no lifespan. ``provider`` holds its state."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serves one request or WebSocket. Raises NotImplementedError for anything else."""
        if scope["type"] == "websocket":
            await converse(self.provider, scope, receive, send)
        elif scope["type"] != "http":
            raise NotImplementedError(f"the mock provider serves no {scope['type']}")
        elif scope["path"].startswith(control.PREFIX):
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
            reply, behaviour = await self._reply(scope, client, entry, caller)
            scope.setdefault("state", {})[BEHAVIOUR] = behaviour
            outcome = await delivery.deliver(without_body(reply) if entry.method == "HEAD" else reply, behaviour)
        except ClientGone:
            outcome = Outcome.DISCONNECTED
        finally:
            client.forget()
            self.provider.ledger.close(entry, outcome)

    async def _reply(
        self,
        scope: Message,
        client: Client,
        entry: Entry,
        caller: Presented,
    ) -> tuple[Reply, Behaviour]:
        """The reply and the behaviour to deliver it with; who is refused at the door is refused at once."""
        behaviour, headers = WELL_BEHAVED, dict(scope["headers"])
        try:
            body = await _hear(client, entry, int(headers.get(b"content-length", 0)))
            keys.refuse_leaked(caller)
            route = routes.find(entry.method, entry.path)
            self.provider.require_key(key := route.dialect.key_of(caller))
            behaviour = self.provider.behaviour_for(headers.get(_OVERRIDE), key)
            worked = self._answer(route, entry, body, behaviour, scope.get("query_string", b""))
            self.provider.fail_if_due(behaviour, key, headers.get(_OVERRIDE))
            entry.used, answer = worked.used if behaviour.status is None else None, worked.answer
            return self._worded(answer, behaviour, headers), behaviour
        except ProviderError as error:
            return _refusal(error, entry.path), behaviour

    def _answer(self, route: Route, entry: Entry, body: bytes, behaviour: Behaviour, query: bytes) -> Worked:
        if not route.asks:
            fields = {**dict(parse_qsl(query.decode("latin-1"))), "request_bytes": entry.request_bytes}
            return Worked(None, route.answer(Question(fields, str(entry.number))))
        worked = self.provider.repertoire.answer(route, body, behaviour.chunks, entry.number)
        entry.model = worked.model
        return worked

    def _worded(self, answer: Answer, behaviour: Behaviour, headers: dict[bytes, bytes]) -> Reply:
        if behaviour.status is not None:
            return bare_reply(behaviour.status)
        cut = self.provider.cuts_by_chance(behaviour)
        if isinstance(answer, Content):
            return download_reply(answer, cut=cut)
        squeeze = behaviour.compress is not None and accepts_gzip(headers.get(b"accept-encoding", b""))
        if isinstance(answer, bytes):
            return plain_reply(answer, behaviour, squeeze=squeeze, cut=cut)
        return stream_reply(answer, squeeze=squeeze, cut=cut)


async def _hear(client: Client, entry: Entry, declared: int) -> bytes:
    """The request body, noted in the entry; of an upload nothing is kept, and nothing returned."""
    if not routes.takes_uploads(entry.method, entry.path):
        entry.heard(body := await client.body(declared))
        return body
    async for piece in client.pieces():
        entry.heard(piece)
    return b""


def _refusal(error: ProviderError, path: str) -> Reply:
    return json_reply(error.status, routes.dialect_of(path).error_body(error), error.headers)
