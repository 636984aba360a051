"""A channel on a real Valkey: heard while it can be, and told apart from silence when it can't."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis

from amana.infra import channel
from amana.infra.channel import listen
from amana.infra.embedded.ports import find_free
from amana.infra.embedded.valkey import Valkey

PATIENCE_S = 10.0


class Heard:
    """What a listener was told, in order."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @asynccontextmanager
    async def on(self, url: str) -> AsyncIterator["Heard"]:
        task = asyncio.create_task(
            listen(
                url,
                "news",
                heard=lambda message: self.told.append(message.decode()),
                lost=lambda: self.told.append("-"),
                back=lambda: self.told.append("+"),
            )
        )
        try:
            await self.has("+")
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def has(self, *last: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while tuple(self.told[-len(last) :]) != last:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


@asynccontextmanager
async def valkey(tmp_path: Path) -> AsyncIterator[Valkey]:
    (port,) = find_free(1)
    server = Valkey(tmp_path / "valkey", port, tmp_path / "valkey.log", "secret")
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def publish(url: str, message: str) -> None:
    async with Redis.from_url(url) as client:
        await client.publish("news", message)


async def test_what_is_published_is_heard_by_all(tmp_path: Path) -> None:
    async with valkey(tmp_path) as server, Heard().on(server.url) as one, Heard().on(server.url) as other:
        for message in ("a", "b"):
            await publish(server.url, message)
        await one.has("+", "a", "b")
        await other.has("+", "a", "b")
        await asyncio.sleep(channel.SILENCE_MAX_S + 3 * channel.POLL_S)
        assert one.told == ["+", "a", "b"]  # silence is no loss
    assert (one.told[-1], other.told[-1]) == ("-", "-")


async def test_a_server_that_hangs_is_lost_within_moments_and_heard_again_when_it_goes_on(tmp_path: Path) -> None:
    async with valkey(tmp_path) as server, Heard().on(server.url) as one:
        pid = server.process.pid if server.process else None
        assert pid
        os.kill(pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(channel.SILENCE_MAX_S + 2):
                await one.has("-")
        finally:
            os.kill(pid, signal.SIGCONT)
        await one.has("-", "+")
        await publish(server.url, "again")
        await one.has("again")


async def test_a_server_that_ends_is_lost_and_waited_for(tmp_path: Path) -> None:
    async with valkey(tmp_path) as server, Heard().on(server.url) as one:
        await server.stop()
        await one.has("-")
        await server.start()
        await one.has("-", "+")
