"""Composes the transactions service: settings → pool → store → flow → routes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar

from amana.gateway.edge import build_app
from amana.gateway.keyring import KeyRing
from amana.gateway.quota import Quotas
from amana.gateway.store import KeyStore
from amana.infra.arrival import Arrival
from amana.infra.http import HttpClient
from amana.infra.http_server import serve_as_set
from amana.infra.latencies import latencies_told
from amana.infra.settings import Settings
from amana.infra.tasks import end
from amana.transactions.flow import Flow
from amana.transactions.http import ROUTES
from amana.transactions.jobs import sweep_holds
from amana.transactions.offers import Offers
from amana.transactions.reads import Reads
from amana.transactions.store import Store

TRANSFERS_BODY_MAX_BYTES = 4 << 20


def build(settings: Settings) -> Litestar:
    """The application; everything that it opens is opened at start and closed at the end. Its database may come
    later."""
    keys = KeyRing(KeyStore(settings.gateway_database_url))
    database = Arrival(settings.transactions_database_url, "transactions")

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        batches = await database.pool(settings.pool_connections, batches=True)
        pool = await database.pool(settings.pool_connections)
        async with (
            database.awaited(pool),
            HttpClient() as client,
            latencies_told(settings.metrics_database_url, "transactions"),
        ):
            flow = Flow(batches, Store(settings.ledger_shards))
            app.state.flow = flow
            app.state.reads = Reads(pool, settings.ledger_shards)
            app.state.outbox_pool = pool
            app.state.offers = Offers(client, settings.eligibility_url, settings.internal_key)
            sweeper = asyncio.create_task(sweep_holds(flow))
            yield
            await end([sweeper])
            await flow.drain()
        await pool.close()
        await batches.close()

    return build_app(
        service="transactions",
        routes=ROUTES,
        keys=keys,
        quotas=Quotas.of(settings, "transactions"),
        lifespan=[lifespan],
        ready=database.is_there,
        body_max_by_path={"/v1/transfers": TRANSFERS_BODY_MAX_BYTES, "/v1/accounts": TRANSFERS_BODY_MAX_BYTES},
    )


async def serve(settings: Settings) -> None:
    """Serves until SIGTERM."""
    await serve_as_set(build(settings), settings)
