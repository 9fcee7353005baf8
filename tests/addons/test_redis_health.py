"""While Redis does not answer, nobody has to wait to learn that; when it answers again, that is noticed."""

import asyncio

from addons.redis_health import RedisHealth


class Server:
    """Fails as often as told, then answers."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.pings = 0

    async def ping(self) -> None:
        self.pings += 1
        if self.pings <= self.failures:
            raise OSError("away")


async def up_again(health: RedisHealth) -> None:
    async with asyncio.timeout(5):
        while health.is_down:
            await asyncio.sleep(0.005)


async def test_it_is_down_from_the_first_failure_until_a_ping_succeeds() -> None:
    server = Server(failures=3)
    health = RedisHealth(server.ping, (OSError,), pause_seconds=0.01)
    assert not health.is_down

    health.failed("away")
    health.failed("away")
    assert health.is_down
    await up_again(health)

    assert server.pings == 4
    health.failed("away again")
    assert health.is_down
    await up_again(health)


async def test_the_end_of_the_worker_ends_the_looking() -> None:
    health = RedisHealth(Server(failures=1000).ping, (OSError,), pause_seconds=0.01)
    await health.close()

    health.failed("away")
    await health.close()


async def test_a_fault_does_not_end_the_looking() -> None:
    class Faulty(Server):
        async def ping(self) -> None:
            self.pings += 1
            if self.pings <= self.failures:
                raise ValueError("a fault")

    server = Faulty(failures=1)
    health = RedisHealth(server.ping, (OSError,), pause_seconds=0.01)

    health.failed("away")
    await up_again(health)

    assert server.pings == 2
