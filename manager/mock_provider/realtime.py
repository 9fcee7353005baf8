"""The WebSocket at ``GET /v1/realtime?model=...``: from the handshake to the end of the connection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import orjson

from manager.mock_provider import keys
from manager.mock_provider.answers.question import Question
from manager.mock_provider.answers.realtime import Conversation
from manager.mock_provider.behaviour import Behaviour
from manager.mock_provider.client import Message, Receive, Send
from manager.mock_provider.errors import ProviderError, openai_body
from manager.mock_provider.keys import Header, Presented
from manager.mock_provider.ledger import Entry, Outcome
from manager.mock_provider.mailbox import Mailbox
from manager.mock_provider.provider import Provider
from manager.mock_provider.replies import Reply, bare_reply, json_reply

PATH = "/v1/realtime"
_SUBPROTOCOL = "realtime"


async def converse(provider: Provider, scope: Message, receive: Receive, send: Send) -> None:
    """Serves one WebSocket; who is refused gets an HTTP answer instead of the handshake."""
    caller = keys.presented([*scope["headers"], *_offered(scope["subprotocols"])])
    entry = provider.ledger.open("GET", scope["path"], caller)
    outcome = Outcome.ABORTED
    mailbox = Mailbox(receive)
    try:
        await mailbox.take()
        outcome = await _admit_and_serve(provider, scope, caller, entry, mailbox, send)
    except OSError:  # The client has gone: ClientLeft, or what uvicorn raises on sending.
        outcome = Outcome.DISCONNECTED
    finally:
        mailbox.close()
        provider.ledger.close(entry, outcome)


def _offered(subprotocols: Sequence[str]) -> list[Header]:
    """The header of the subprotocols, which uvicorn takes away from the others."""
    return [(keys.SUBPROTOCOLS, ", ".join(subprotocols).encode("latin-1"))] if subprotocols else []


async def _admit_and_serve(
    provider: Provider, scope: Message, caller: Presented, entry: Entry, mailbox: Mailbox, send: Send
) -> Outcome:
    try:
        behaviour = _admitted(provider, scope, caller, entry)
    except ProviderError as error:
        return await _refuse(send, entry, json_reply(error.status, openai_body(error), error.headers))
    await mailbox.pause(behaviour.latency_ms / 1000)
    if behaviour.status is not None:
        return await _refuse(send, entry, bare_reply(behaviour.status))
    chosen = _SUBPROTOCOL if _SUBPROTOCOL in scope["subprotocols"] else None
    own = [(b"x-request-id", entry.id.encode())]
    await send({"type": "websocket.accept", "subprotocol": chosen, "headers": own})
    entry.status, entry.stream = 101, True
    conversation = Conversation(entry.model or "", entry.number, behaviour.chunks)
    return await Session(provider, behaviour, conversation, entry, mailbox, send).serve()


def _admitted(provider: Provider, scope: Message, caller: Presented, entry: Entry) -> Behaviour:
    """The behaviour towards this caller. Raises ProviderError for a fault in path, key or model, or one that is due."""
    keys.refuse_leaked(caller)
    if scope["path"] != PATH:
        raise ProviderError(404, f"Invalid URL (GET {scope['path']})", code="unknown_url")
    provider.require_key(caller.bearer)
    override = dict(scope["headers"]).get(b"x-mock-behaviour")
    behaviour = provider.behaviour_for(override, caller.bearer)
    entry.model = Question(dict(parse_qsl(scope["query_string"].decode("latin-1"))), entry.id).model
    provider.fail_if_due(behaviour, caller.bearer, override)
    return behaviour


async def _refuse(send: Send, entry: Entry, reply: Reply) -> Outcome:
    entry.status = reply.status
    headers = [*reply.headers, (b"x-request-id", entry.id.encode())]
    await send({"type": "websocket.http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": reply.pieces[0]})
    entry.wrote(reply.pieces[0])
    return Outcome.FINISHED


@dataclass(slots=True)
class Session:
    """An open WebSocket.

    Besides the API's events, a client may ask for its end: ``{"type": "mock.close", "code"?: 1000..4999, "reason"?:
    text}`` closes it in order, ``{"type": "mock.abort"}`` drops the connection without a close frame.
    """

    provider: Provider
    behaviour: Behaviour
    conversation: Conversation
    entry: Entry
    mailbox: Mailbox
    send: Send

    async def serve(self) -> Outcome:
        """Reacts to messages until either side ends it; FINISHED if it was closed by itself or with code 1000."""
        await self._say([self.conversation.opening()])
        while (message := await self.mailbox.take())["type"] != "websocket.disconnect":
            ended = await self._react(message)
            if ended is not None:
                return ended
        return Outcome.FINISHED if message["code"] == 1000 else Outcome.DISCONNECTED

    async def _react(self, message: Message) -> Outcome | None:
        raw = _bytes_of(message)
        self.entry.heard(raw)
        self.entry.events_received += 1
        event = _event_in(raw)
        if event is None:
            return await self._respond([self.conversation.fault("An event must be a JSON object with a type.")])
        if event["type"] == "mock.abort":
            return Outcome.ABORTED
        if event["type"] == "mock.close":
            return await self._close(event)
        return await self._respond(self.conversation.reactions(event))

    async def _respond(self, events: Sequence[bytes]) -> Outcome | None:
        """Says it all, or, if by chance it is to be cut, the first half."""
        if len(events) > 1 and self.provider.cuts_by_chance(self.behaviour):
            await self._say(events[: len(events) // 2])
            return Outcome.ABORTED
        await self._say(events)
        return None

    async def _say(self, events: Sequence[bytes]) -> None:
        for at, event in enumerate(events):
            if at:
                await self.mailbox.pause(self.behaviour.chunk_interval_ms / 1000)
            await self.send({"type": "websocket.send", "text": event.decode()})
            self.entry.wrote(event)

    async def _close(self, event: Mapping[str, Any]) -> Outcome | None:
        code, reason = event.get("code", 1000), event.get("reason", "")
        if type(code) is not int or not 1000 <= code <= 4999 or not isinstance(reason, str):
            fault = "mock.close takes a code from 1000 to 4999 and a reason."
            return await self._respond([self.conversation.fault(fault)])
        await self.send({"type": "websocket.close", "code": code, "reason": reason})
        return Outcome.FINISHED


def _bytes_of(message: Message) -> bytes:
    text = message.get("text")
    return text.encode() if text is not None else bytes(message["bytes"])


def _event_in(raw: bytes) -> Mapping[str, Any] | None:
    """The event in a message, None if there is none."""
    try:
        event = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("type"), str) else None
