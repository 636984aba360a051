"""A channel of Redis or Valkey, heard for as long as it can be: whoever depends on it is told when it can't.

Messages are lost while a process is away from the server. `lost` and `back` say when that began and that it is over,
so that what hangs on the messages can be thrown away.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from amana.infra.breaker import Backoff
from amana.infra.telemetry import logger

POLL_S = 0.25
SILENCE_MAX_S = 1.0
"""A server that answers no ping for so long is away."""
BACKOFF_MAX_S = 1.0

_log = logger(__name__)


async def listen(
    url: str,
    channel: str,
    *,
    heard: Callable[[bytes], None],
    lost: Callable[[], None],
    back: Callable[[], None],
    silence_max_s: float = SILENCE_MAX_S,
) -> None:
    """Until cancelled. `back` is called whenever the channel begins to be heard, `lost` when it no longer is: also when
    it was silent for `silence_max_s`."""
    backoff = Backoff(max_s=BACKOFF_MAX_S)
    while True:
        client = Redis.from_url(
            url, socket_timeout=silence_max_s, socket_connect_timeout=silence_max_s, retry=Retry(NoBackoff(), 0)
        )
        hearing = False
        try:
            async with client, client.pubsub() as subscription:
                await subscription.subscribe(channel)
                async with aclosing(_messages(subscription, silence_max_s)) as messages:
                    async for kind, data in messages:
                        if kind == "subscribe":
                            hearing = True
                            backoff.reset()
                            back()
                        elif kind == "message":
                            heard(data)
        except (RedisError, OSError, TimeoutError):
            _log.info("channel lost", channel=channel)
        finally:
            if hearing:
                lost()
        await asyncio.sleep(backoff.next_s())


async def _messages(subscription: PubSub, silence_max_s: float) -> AsyncGenerator[tuple[str, bytes], None]:
    """(kind, data) of whatever comes. Raises `TimeoutError` when even a ping brings nothing."""
    heard_s = time.monotonic()
    while True:
        message = await subscription.get_message(timeout=POLL_S)
        if message is not None:
            heard_s = time.monotonic()
            yield message["type"], message["data"]
        elif time.monotonic() > heard_s + silence_max_s:
            raise TimeoutError
        else:
            await subscription.ping()
