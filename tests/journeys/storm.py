"""Many clients at once, spread over all workers, each with a connection of its own for each request."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator

from tests.journeys.conftest import Installation

CLIENTS = 500


def chat(words: int = 2, **fields: object) -> bytes:
    """The body of a chat whose prompt has so many words, which are so many tokens to the mock provider."""
    said = " ".join(["word"] * words)
    return json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": said}], **fields}).encode()


async def one(port: int, secret: str, body: bytes, patience: float = 60) -> int:
    """Send one chat and wait so many seconds for its end.

    Returns the status; 0 if the connection broke before, or the client has gone.
    """
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: proxy\r\nauthorization: Bearer {secret}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    writer = None
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head.encode() + body)
            answer = await reader.read()
    except (OSError, TimeoutError):
        return 0
    finally:
        if writer is not None:
            writer.close()
    return int(answer[9:12]) if answer else 0


def storm(
    running: Installation,
    secrets: list[str],
    count: int,
    clients: int = CLIENTS,
    body_of: Callable[[int], bytes] = lambda number: chat(),
    patience: float = 60,
) -> Counter[int]:
    """Send so many chats with these tokens, by so many clients at once; returns how often each status came."""
    ports = [int(url.rpartition(":")[2]) for url in running.proxy_urls]

    async def client(numbers: Iterator[int], statuses: Counter[int]) -> None:
        for number in numbers:
            secret = secrets[number // len(ports) % len(secrets)]
            statuses[await one(ports[number % len(ports)], secret, body_of(number), patience)] += 1

    async def everybody() -> Counter[int]:
        numbers, statuses = iter(range(count)), Counter[int]()
        await asyncio.gather(*(client(numbers, statuses) for _ in range(clients)))
        return statuses

    return asyncio.run(everybody())
