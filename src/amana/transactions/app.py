"""Composes the transactions service: settings → pool, vault → store → flow → routes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar
from litestar.datastructures import State

from amana.gateway.edge import build_app
from amana.gateway.keyring import KeyRing
from amana.gateway.quota import Quotas
from amana.gateway.read_log import ReadLog
from amana.gateway.store import KeyStore
from amana.infra.arrival import Arrival
from amana.infra.http import HttpClient
from amana.infra.http_server import serve_as_set
from amana.infra.latencies import latencies_told
from amana.infra.postgres import Connection
from amana.infra.settings import Settings
from amana.infra.tasks import end
from amana.infra.telemetry import logger
from amana.transactions import note_store
from amana.transactions.flow import Flow
from amana.transactions.http import ROUTES
from amana.transactions.jobs import sweep_holds
from amana.transactions.note_jobs import NoteKeeper, keep_notes
from amana.transactions.offers import Offers
from amana.transactions.reads import Reads
from amana.transactions.store import Store
from amana.vault.vault import Vault

_log = logger(__name__)

TRANSFERS_BODY_MAX_BYTES = 4 << 20


def build(settings: Settings) -> Litestar:
    """The application; everything that it opens is opened at start and closed at the end. Its database may come
    later."""
    keys = KeyRing(KeyStore(settings.gateway_database_url))
    database = Arrival(settings.transactions_database_url, "transactions", _tell_of_clear_text)
    return build_app(
        service="transactions",
        routes=ROUTES,
        keys=keys,
        quotas=Quotas.of(settings, "transactions"),
        lifespan=[lambda app: _opened(settings, database, app.state)],
        ready=database.is_there,
        body_max_by_path={"/v1/transfers": TRANSFERS_BODY_MAX_BYTES, "/v1/accounts": TRANSFERS_BODY_MAX_BYTES},
    )


@asynccontextmanager
async def _opened(settings: Settings, database: Arrival, state: State) -> AsyncIterator[None]:
    """Opens what the routes find in `state` and the jobs that run beside them; closes it all at the end."""
    batches = await database.pool(settings.pool_connections, batches=True)
    pool = await database.pool(settings.pool_connections)
    vault = Vault.of_ledger(settings)
    async with (
        database.awaited(pool),
        HttpClient() as client,
        latencies_told(settings.metrics_database_url, "transactions"),
    ):
        flow = Flow(batches, Store(settings.ledger_shards), vault)
        state.flow = flow
        state.reads = Reads(pool, settings.ledger_shards, vault)
        state.outbox_pool = pool
        state.read_log = ReadLog(pool, "LedgerRecordRead")
        state.offers = Offers(client, settings.eligibility_url, settings.internal_key)
        keeper = NoteKeeper(vault, pool, settings.ledger_shards)
        jobs = [asyncio.create_task(sweep_holds(flow)), asyncio.create_task(keep_notes(keeper))]
        yield
        await end(jobs)
        await flow.drain()
        await state.read_log.drain()
    await vault.close()
    await pool.close()
    await batches.close()


async def _tell_of_clear_text(connection: Connection) -> None:
    """Money moves all the same: rows of an older version are read as they are until they are sealed."""
    if await note_store.holds_clear_text(connection):
        _log.warning("references and metadata of an older version are here in clear: run `amana privacy encrypt`")


async def serve(settings: Settings) -> None:
    """Serves until SIGTERM."""
    await serve_as_set(build(settings), settings)
