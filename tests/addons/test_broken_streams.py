"""Streams that are cut, by whomever and wherever: recorded once, with an estimate of what the provider did not say."""

import asyncio
from dataclasses import dataclass, field

import pytest
from mitmproxy.master import Master

from addons.dialects.answer import Answer, Said
from addons.dialects.openai import read
from shared.models import Outcome, Usage, UsageEvent
from tests.addons.dialects.recordings import RECORDINGS, TOLD
from tests.addons.test_proxy import Provider, Tenant, post, provided
from tests.addons.test_proxy import configuration as configuration  # a fixture
from tests.addons.test_proxy import proxy as proxy  # a fixture
from tests.addons.test_proxy import runner as runner  # a fixture
from tests.addons.test_proxy import tenant as tenant  # a fixture

BODY = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "%b"}], "stream": true}' % (b"four" * 50)
PROMPT = 53  # The content, and the names of role and model.
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
ASKED = [event + b"\n\n" for event in RECORDINGS["openai"].asked.split(b"\n\n")[:-1]]
UNASKED = [event + b"\n\n" for event in RECORDINGS["openai"].unasked.split(b"\n\n")[:-1]]
UNASKED.insert(len(ASKED) - 2, b"")
CUTS = range(len(ASKED) + 1)


def mark(number: int) -> bytes:
    """A comment that comes through whatever becomes of the events before it."""
    return b": %d\n\n" % number


@dataclass
class Stage:
    """A provider that sends so many events of its stream, and then waits or breaks off."""

    events: int = 0
    breaks_off: bool = False
    seen: list[bytes] = field(default_factory=list)

    def provider(self) -> Provider:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.seen.append(await reader.readuntil(b'"stream": true}'))
            writer.write(HEAD)
            for number, event in enumerate([b"", *ASKED][: self.events + 1]):
                chunk = event + mark(number)
                writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                await writer.drain()
            if not self.breaks_off:
                await reader.read()
            writer.close()

        return answer

    @property
    def passed(self) -> bytes:
        """What the client has of it."""
        return b"".join(event + mark(number) for number, event in enumerate([b"", *UNASKED][: self.events + 1]))

    def expected(self) -> Usage:
        if self.events >= len(ASKED) - 1:
            return TOLD
        said = Said()
        for event in ASKED[: self.events]:
            read(Answer(), event[6:], said)
        return Usage(PROMPT, said.tokens, PROMPT + said.tokens, is_estimate=True)


def unchunked(body: bytes) -> bytes:
    plain = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        plain, body = plain + body[: int(size, 16)], body[int(size, 16) + 2 :]
    return plain


async def events_of(tenant: Tenant, count: int) -> list[UsageEvent]:
    """All events, once there are so many; none may follow."""
    async with asyncio.timeout(10):
        while len(tenant.events()) < count:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    return tenant.events()


async def begun(port: int, tenant: Tenant, stage: Stage) -> tuple[bytes, asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask, and read what the stage has before its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(post(tenant, BODY))
    received = await asyncio.wait_for(reader.readuntil(mark(stage.events) + b"\r\n"), 10)
    return received.partition(b"\r\n\r\n")[2], reader, writer


async def test_a_stream_that_its_client_leaves_is_estimated(proxy: tuple[Master, int], tenant: Tenant) -> None:
    stage = Stage()
    async with provided(stage.provider()) as base_url:
        tenant.publish(base_url)
        for stage.events in CUTS:
            body, _, writer = await begun(proxy[1], tenant, stage)
            writer.close()
            events = await events_of(tenant, stage.events + 1)

            assert unchunked(body) == stage.passed
            assert len(events) == stage.events + 1
            assert (events[-1].outcome, events[-1].usage) == (Outcome.CLIENT_ABORTED, stage.expected())

    assert all(b'{"stream_options":{"include_usage":true},"model": "gpt-4o"' in request for request in stage.seen)


async def test_a_stream_that_its_provider_breaks_off_is_estimated(proxy: tuple[Master, int], tenant: Tenant) -> None:
    stage = Stage(breaks_off=True)
    async with provided(stage.provider()) as base_url:
        tenant.publish(base_url)
        for stage.events in CUTS:
            body, reader, writer = await begun(proxy[1], tenant, stage)
            rest = unchunked(body + await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10))
            writer.close()
            events = await events_of(tenant, stage.events + 1)

            assert rest.startswith(stage.passed) and rest[len(stage.passed) :].startswith(b'data: {"error"')
            assert len(events) == stage.events + 1
            assert (events[-1].outcome, events[-1].usage) == (Outcome.UPSTREAM_ABORTED, stage.expected())


@pytest.mark.parametrize("cut", CUTS)
async def test_a_stream_that_is_cut_here_is_estimated(proxy: tuple[Master, int], tenant: Tenant, cut: int) -> None:
    stage = Stage(cut)
    async with provided(stage.provider()) as base_url:
        tenant.publish(base_url)
        body, reader, writer = await begun(proxy[1], tenant, stage)
        tenant.revoke("token")
        rest = unchunked(body + await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 10))
        writer.close()
        [event] = await events_of(tenant, 1)

    assert rest.startswith(stage.passed) and b"token_inactive" in rest[len(stage.passed) :]
    assert (event.outcome, event.usage) == (Outcome.CUT, stage.expected())
