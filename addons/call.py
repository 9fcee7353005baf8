"""What has been learned about one flow, kept beside it: mitmproxy would try to save anything put into the flow."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import uuid_utils
from mitmproxy import http
from mitmproxy.connection import Server

from addons.dialects.answer import Answer, Said
from addons.ending import Interruption, Refusal
from shared.models import Caller, LimitState, Project, UsageEvent
from shared.providers import Provider, Route

_BESIDE = "_llm_proxy_call"


@dataclass(frozen=True, slots=True)
class UpstreamCredential:
    """The header that authenticates one attempt at the provider. `value` is the real key: it never enters a flow."""

    key_id: str
    header: str
    value: str = field(repr=False)


@dataclass(slots=True)
class Attempts:
    """How the provider is being tried. `started` is on the monotonic clock; `pause` in seconds, before the next one.

    `waiter` is set while that pause lasts and ends it early. `connecting` is what is being connected to, also only so
    long. `probes` are the open breakers that have let this call in to try. A client that retries by itself may have
    `wanted` False.
    """

    count: int = 0
    retries: int = 0
    started: float = 0.0
    base_url: str = ""
    failed_urls: set[str] = field(default_factory=set)
    failed_keys: set[str] = field(default_factory=set)
    probes: set[str] = field(default_factory=set)
    pause: float = 0.0
    waiter: asyncio.Event | None = None
    connecting: Server | None = None
    wanted: bool = True


@dataclass(frozen=True, slots=True)
class Line:
    """Where a call can be reached while it lives: its client's connection, and its stream within that."""

    client_id: str
    stream_id: int


@dataclass(slots=True)
class Call:
    """One request on its way through the rooms; each room fills in what it found out.

    `head` are the client's headers, credentials masked. The `project` is known of those that were denied, too.
    Once it `is_judged`, rules have been asked: they gave it `tags`, and one `rule` has decided. `held_until` is there
    while it is held. If it `is_hidden`, none of its bodies is shown to anybody; `hidden` has what its shown body has
    placeholders for.
    `secrets` are all keys that it was tried with, which are never shown, whoever says them.
    `started` is on the monotonic clock.
    `offered` are the providers at the host that the client came for; None if it came to our own address.
    """

    request_id: str = field(default_factory=lambda: uuid_utils.uuid7().hex)
    correlation_id: str = ""
    occurred_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: float = field(default_factory=time.monotonic)
    presented: list[tuple[str, str]] = field(default_factory=list, repr=False)
    head: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    candidates: Mapping[str, Route] = field(default_factory=dict)
    offered: frozenset[str] | None = None
    dialect: str = "openai"
    token_id: str = ""
    token_label: str = ""
    project_id: str = ""
    project: Project | None = None
    caller: Caller | None = None
    is_admitted: bool = False
    standing: tuple[LimitState, ...] = ()
    prompt_estimate: int | None = None
    provider: Provider | None = None
    route: Route | None = None
    model: str | None = None
    is_stream: bool = False
    path: str = ""
    credential: UpstreamCredential | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)
    attempts: Attempts = field(default_factory=Attempts)
    line: Line | None = None
    digest: str = ""
    interruption: Interruption | None = None
    request_bytes: int = 0
    refused_with: str | None = None
    ending: Refusal | None = None
    ended_by_client: bool = False
    head_sent: bool = False
    chunks: int = 0
    response_bytes: int = 0
    first_byte_ms: float | None = None
    answer: Answer = Answer()
    said: Said | None = None
    hides_usage: bool = False
    provider_request_id: str | None = None
    provider_ms: float | None = None
    tags: list[str] = field(default_factory=list)
    rule: str = ""
    held_until: datetime | None = None
    is_hidden: bool = False
    hidden: dict[str, str] = field(default_factory=dict, repr=False)
    is_edited: bool = False
    is_judged: bool = False
    event: UsageEvent | None = None
    is_settled: bool = False
    is_logged: bool = False
    is_counted: bool = False

    def use(self, credential: UpstreamCredential) -> None:
        """Go to the provider with this credential from now on."""
        self.credential = credential
        secret = credential.value.rpartition(" ")[2]
        if secret not in self.secrets:
            self.secrets = (*self.secrets, secret)

    def elapsed_ms(self) -> float:
        """Milliseconds since the request's head arrived."""
        return (time.monotonic() - self.started) * 1000


class Calls:
    """Finds the call of a flow, opening one at first sight. Rooms ask dozens of times for each request.

    It hangs on the flow, beside the state that mitmproxy saves, copies and shows.
    """

    def of(self, flow: http.HTTPFlow) -> Call:
        """Return the call of this flow."""
        beside = flow.__dict__
        call: Call | None = beside.get(_BESIDE)
        if call is None:
            call = beside[_BESIDE] = Call()
        return call
