"""Composes the eligibility service: settings → pool, cache, ledger → flow → routes and consumer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar

from amana.eligibility import consumer
from amana.eligibility.cache import AssessmentCache
from amana.eligibility.flow import Flow
from amana.eligibility.http import ROUTES
from amana.eligibility.jobs import tell_starts_forever
from amana.eligibility.policies import Policies
from amana.eligibility.standings import Ledger
from amana.gateway.edge import build_app
from amana.gateway.keyring import KeyRing
from amana.gateway.quota import Quotas
from amana.gateway.store import KeyStore
from amana.infra.cache import Cache
from amana.infra.http import HttpClient
from amana.infra.http_server import serve as serve_http
from amana.infra.postgres import open_pool
from amana.infra.settings import Settings

BATCH_BODY_MAX_BYTES = 2 << 20
"""The most customers that a batch may have, with all that may be said of each."""


def build(settings: Settings) -> Litestar:
    """The application; everything that it opens is opened at start and closed at the end.

    Without a `redis_url` nothing is cached, and quotas are local; without `kafka_bootstrap` no events are consumed.
    """
    keys = KeyRing(KeyStore(settings.gateway_database_url))

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        pool = await open_pool(settings.eligibility_database_url, "eligibility", settings.pool_connections)
        cache = Cache(settings.redis_url)
        assessments = AssessmentCache(cache)
        async with HttpClient() as client:
            ledger = Ledger(client, settings.transactions_url, settings.internal_key)
            flow = Flow(pool, ledger, assessments, Policies(pool))
            app.state.flow = flow
            app.state.outbox_pool = pool
            teller = asyncio.create_task(tell_starts_forever(pool))
            async with _consuming(settings.kafka_bootstrap, assessments):
                yield
            teller.cancel()
            await asyncio.wait([teller])
            await flow.drain()
        await cache.close()
        await pool.close()

    return build_app(
        service="eligibility",
        routes=ROUTES,
        keys=keys,
        quotas=Quotas.of(settings, "eligibility"),
        lifespan=[lifespan],
        body_max_by_path={"/v1/customers:batch": BATCH_BODY_MAX_BYTES},
    )


async def serve(settings: Settings) -> None:
    """Serves until SIGTERM."""
    await serve_http(
        build(settings), settings.listen_host, settings.listen_port, drain_pause_s=settings.drain_pause_ms / 1000
    )


@asynccontextmanager
async def _consuming(bootstrap: str, cache: AssessmentCache) -> AsyncIterator[None]:
    if not bootstrap:
        yield
        return
    stop = asyncio.Event()
    task = asyncio.create_task(consumer.run(bootstrap, cache, stop))
    try:
        yield
    finally:
        stop.set()
        await task
