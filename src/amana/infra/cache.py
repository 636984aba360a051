"""A cache in Redis or Valkey that can only help: every operation has a deadline, and any trouble is a miss.

After a failure the cache is left alone for a moment (a breaker), so that a dead server costs one deadline a second and
not one for each request. Nothing here raises for the server's sake.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import Any, TypeVar, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.connection import HiredisRespSerializer
from redis.exceptions import RedisError

DEADLINE_MS = 50
"""How long an operation may take, waiting for a connection included."""
REST_MS = 1_000
"""How long the cache is left alone after a failure."""
CONNECTIONS_MAX = 32

T = TypeVar("T")


class Cache:
    """Values and scripts on one server. An empty `url` is a cache that never holds anything.

    `failures` counts operations that met trouble, for the metrics.
    """

    def __init__(self, url: str, *, deadline_ms: int = DEADLINE_MS, rest_ms: int = REST_MS) -> None:
        self._deadline_s = deadline_ms / 1000
        self._rest_s = rest_ms / 1000
        self._resting_until_s = 0.0
        self._client = _client(url, self._deadline_s) if url else None
        self._scripts: dict[str, AsyncScript] = {}
        self.failures = 0

    @property
    def rests(self) -> bool:
        """Whether an operation would not even be tried just now."""
        return self._client is None or time.monotonic() < self._resting_until_s

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None] | None:
        """The values of these keys, in order; None for no answer at all. One round trip."""
        return await self._try(lambda client: cast("Awaitable[list[bytes | None]]", client.mget(keys)))

    async def put_many(self, values: Sequence[tuple[str, bytes]], ttl_ms: int) -> bool:
        """Writes values that the server forgets after `ttl_ms`; whether it answered. One round trip."""
        written = await self.run_on(
            "amana.infra", "cache_put.lua", [key for key, _ in values], [ttl_ms, *(value for _, value in values)]
        )
        return written is not None

    async def run(self, package: str, script: str, key: str, *arguments: str | bytes | int) -> Any:
        """Runs the Lua file `script` of `package` on one key; its answer, or None for no answer at all."""
        return await self.run_on(package, script, [key], arguments)

    async def run_on(
        self, package: str, script: str, keys: Sequence[str], arguments: Sequence[str | bytes | int]
    ) -> Any:
        """As `run`, on many keys at once, for which one server is needed."""
        return await self._try(lambda client: self._script(client, package, script)(list(keys), list(arguments)))

    async def close(self) -> None:
        """Closes every connection. Safe to call twice."""
        if self._client is not None:
            await self._client.aclose()

    def _script(self, client: Redis, package: str, name: str) -> AsyncScript:
        """Registered once: sent by its digest, and whole only to a server that does not know it."""
        if name not in self._scripts:
            self._scripts[name] = client.register_script(files(package).joinpath(name).read_text(encoding="utf-8"))
        return self._scripts[name]

    async def _try(self, operation: Callable[[Redis], Awaitable[T]]) -> T | None:
        if self._client is None or self.rests:
            return None
        try:
            async with asyncio.timeout(self._deadline_s):
                return await operation(self._client)
        except (RedisError, OSError, TimeoutError):
            self.failures += 1
            self._resting_until_s = time.monotonic() + self._rest_s
            return None


class _PacksInC:
    """A connection that spells commands in C, as the client's own do where there is no asyncio. In Python a look-up of
    hundreds of keys is copied again for each of them, and goes out in as many pieces as it has kilobytes."""

    _packer = HiredisRespSerializer()

    def pack_command(self, *words: Any) -> list[bytes]:
        packed: list[bytes] = self._packer.pack(*words)
        return packed


def _client(url: str, deadline_s: float) -> Redis:
    """A client that gives up instead of trying again: the caller has a better use for the time."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS_MAX,
        timeout=deadline_s,
        socket_timeout=deadline_s,
        socket_connect_timeout=deadline_s,
        retry=Retry(NoBackoff(), 0),
    )
    pool.connection_class = type("Connection", (_PacksInC, pool.connection_class), {})  # with TLS or without
    return Redis(connection_pool=pool)
