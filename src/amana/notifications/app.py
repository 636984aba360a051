"""Composes the notifications service: settings → pool → consumer, sweeper, pruning, record of reads → routes.

Ready once both streams have a beginning: a new installation tells nobody of what happened before it.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar

from amana.gateway.edge import build_app
from amana.gateway.keyring import KeyRing
from amana.gateway.quota import Quotas
from amana.gateway.read_log import ReadLog
from amana.gateway.settled import prune_settled_forever
from amana.gateway.store import KeyStore
from amana.infra.arrival import Arrival
from amana.infra.consuming.runtime import Runtime
from amana.infra.http import HttpClient
from amana.infra.http_server import serve as serve_http
from amana.infra.latencies import latencies_told
from amana.infra.settings import Settings
from amana.notifications.consumer import make_runtime
from amana.notifications.flow import READ_TYPE
from amana.notifications.holds import Holds
from amana.notifications.http import ROUTES
from amana.notifications.jobs import PRUNED_TYPE, requests_but_held, sweep_forever

STOP_TIMEOUT_S = 10.0


def build(settings: Settings) -> Litestar:
    """The application; everything that it opens is opened at start and closed at the end. Its database may come
    later."""
    keys = KeyRing(KeyStore(settings.gateway_database_url))
    database = Arrival(settings.notifications_database_url, "notifications")
    runtimes: list[Runtime] = []

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        pool = await database.pool(settings.pool_connections)
        app.state.pool = pool
        stop = asyncio.Event()
        async with (
            database.awaited(pool),
            HttpClient() as client,
            latencies_told(settings.metrics_database_url, "notifications"),
        ):
            runtime = make_runtime(settings, pool, client)
            runtimes[:] = [runtime]
            app.state.consumer = runtime
            app.state.outbox_pool = pool
            app.state.read_log = ReadLog(pool, READ_TYPE)
            kinds = {"letters": runtime.taker.store.prune}
            asked = requests_but_held(pool, Holds(client, settings), settings.settled_days)
            pruning = prune_settled_forever(settings, pool, PRUNED_TYPE, kinds, stop, asked)
            async with _beside(stop, runtime.run(stop), sweep_forever(pool, stop), pruning):
                yield
            await app.state.read_log.drain()
        await pool.close()

    return build_app(
        service="notifications",
        routes=ROUTES,
        keys=keys,
        quotas=Quotas.of(settings, "notifications"),
        lifespan=[lifespan],
        ready=lambda: any(runtime.started for runtime in runtimes),
    )


@asynccontextmanager
async def _beside(stop: asyncio.Event, *work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs what ends with `stop` around the block; at its end it is asked to, and after a while made to."""
    tasks = [asyncio.create_task(one) for one in work]
    yield
    stop.set()
    _, late = await asyncio.wait(tasks, timeout=STOP_TIMEOUT_S)
    for task in late:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def serve(settings: Settings) -> None:
    """Serves until SIGTERM."""
    await serve_http(
        build(settings), settings.listen_host, settings.listen_port, drain_pause_s=settings.drain_pause_ms / 1000
    )
