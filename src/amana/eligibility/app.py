"""Composes the eligibility service: settings → pool, cache, ledger → flow → routes and consumer."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Protocol

from litestar import Litestar
from litestar.datastructures import State

from amana.eligibility.cache import CHANNEL, AssessmentCache
from amana.eligibility.consumer import make_runtime
from amana.eligibility.erasing import Eraser
from amana.eligibility.erasure_store import holds_clear_text
from amana.eligibility.flow import Flow
from amana.eligibility.http import ROUTES
from amana.eligibility.jobs import erase_forever, tell_starts_forever
from amana.eligibility.memory import Memory
from amana.eligibility.policies import Policies
from amana.eligibility.projection import STREAM
from amana.eligibility.quotes import Quotes
from amana.eligibility.reversal_ledger import UndoingLedger
from amana.eligibility.standings import Ledger
from amana.eligibility.undoing import Undoing
from amana.eligibility.validator import validate_forever
from amana.eligibility.watermark import Watermark
from amana.gateway.edge import build_app
from amana.gateway.keyring import KeyRing
from amana.gateway.quota import Quotas
from amana.gateway.read_log import ReadLog
from amana.gateway.settled import prune_settled_forever
from amana.gateway.source import Source
from amana.gateway.store import KeyStore
from amana.infra.arrival import Arrival
from amana.infra.cache import Cache
from amana.infra.channel import listen
from amana.infra.consuming.runtime import Runtime
from amana.infra.http import HttpClient
from amana.infra.http_server import serve_as_set
from amana.infra.kafka import Brokers
from amana.infra.latencies import latencies_told
from amana.infra.postgres import Connection, DatabaseUnavailable
from amana.infra.settings import Settings
from amana.infra.tasks import end
from amana.vault.vault import Vault

UNHEARD_S = 1.0
"""How long memory may answer from what it has while other processes can't tell it what to forget."""
BATCH_BODY_MAX_BYTES = 2 << 20
"""The most customers that a batch may have, with all that may be said of each."""


class Closable(Protocol):
    """What is closed at the end."""

    async def close(self) -> None:
        """Gives back what it holds."""


def build(settings: Settings) -> Litestar:
    """The application; everything that it opens is opened at start and closed at the end. Its database may come later;
    where that is there and holds personal data in clear, start fails with `ClearText`.

    Without a `redis_url` nothing is cached, and quotas are local; without `kafka_bootstrap` the ledger is always asked.
    """
    keys = KeyRing(KeyStore(settings.gateway_database_url))
    database = Arrival(settings.eligibility_database_url, "eligibility", _refuse_clear_text)

    return build_app(
        service="eligibility",
        routes=ROUTES,
        keys=keys,
        quotas=Quotas.of(settings, "eligibility"),
        lifespan=[lambda app: _opened(settings, database, app.state)],
        ready=database.is_there,
        body_max_by_path={"/v1/customers:batch": BATCH_BODY_MAX_BYTES},
    )


@asynccontextmanager
async def _opened(settings: Settings, database: Arrival, state: State) -> AsyncIterator[None]:
    """Opens what the routes find in `state` and what runs beside them; closes it all at the end."""
    pool = await database.pool(settings.pool_connections)
    cache, vault = Cache(settings.redis_url), Vault.of(settings)
    assessments = _assessments(cache, settings)
    async with _closing(pool, vault, cache), HttpClient() as client:
        ledger = Ledger(client, settings.transactions_url, settings.internal_key)
        flow = Flow(pool, ledger, assessments, Policies(pool), vault)
        eraser = Eraser(flow, timedelta(days=settings.retention_days))
        undoing = Undoing(pool, UndoingLedger(client, settings.transactions_url, settings.internal_key))
        state.update({"flow": flow, "quotes": Quotes(flow), "eraser": eraser, "undoing": undoing})
        source = Source(STREAM, settings.transactions_url, settings.internal_key, client)
        consumer = make_runtime(Brokers.of(settings), pool, assessments, source)
        state.update({"outbox_pool": pool, "consumer": consumer})
        state.read_log = ReadLog(pool, "CustomerRecordRead")
        async with (
            database.awaited(pool, fatal=ClearText),
            _beside(*_jobs(eraser, settings), undoing.run(), _prune_letters(settings, consumer)),
            _consuming(consumer, source, is_fed=bool(settings.kafka_bootstrap)),
            latencies_told(settings.metrics_database_url, "eligibility"),
        ):
            yield
        await flow.drain()
        await state.read_log.drain()


@asynccontextmanager
async def _closing(*opened: Closable) -> AsyncIterator[None]:
    """Closes what was opened, the last first, also where start fails."""
    async with AsyncExitStack() as closing:
        for one in opened:
            closing.push_async_callback(one.close)
        yield


def _assessments(server: Cache, settings: Settings) -> AssessmentCache:
    ttl_s = settings.assessment_ttl_ms / 1000
    memory = Memory(settings.assessments_in_memory, ttl_s, min(ttl_s, UNHEARD_S))
    return AssessmentCache(server, memory, settings.assessment_ttl_ms)


def _jobs(eraser: Eraser, settings: Settings) -> Iterator[Coroutine[Any, Any, None]]:
    """What runs beside the requests, until it is cancelled."""
    flow = eraser.flow
    yield erase_forever(eraser)
    yield tell_starts_forever(flow.pool)
    yield flow.policies.keep_recent()
    if settings.assessments_validated_per_s:
        yield validate_forever(flow, settings.assessments_validated_per_s)
    if settings.redis_url:
        yield _listening(settings.redis_url, flow.cache)


def _prune_letters(settings: Settings, consumer: Runtime) -> Coroutine[Any, Any, None]:
    kinds = {"letters": consumer.taker.store.prune}
    return prune_settled_forever(settings, consumer.taker.pool, "DeadLettersPruned", kinds, asyncio.Event())


@asynccontextmanager
async def _beside(*jobs: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs jobs, and cancels them at the end."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        yield
    finally:
        await end(tasks)


class ClearText(DatabaseUnavailable):
    """Rows of an older version may hold personal data in clear."""


async def _refuse_clear_text(connection: Connection) -> None:
    """Persons are found by what sealing makes, so with rows in clear debts would be overlooked."""
    if await holds_clear_text(connection):
        raise ClearText("rows of an older version are here in clear: run `amana privacy encrypt` first")


async def serve(settings: Settings) -> None:
    """Serves until SIGTERM."""
    await serve_as_set(build(settings), settings)


async def _listening(url: str, cache: AssessmentCache) -> None:
    """What other processes forget, this one forgets; and everything, whenever it could not be told."""
    await listen(
        url,
        CHANNEL,
        heard=cache.heard,
        lost=partial(cache.memory.clear, hears=False),
        back=partial(cache.memory.clear, hears=True),
    )


@asynccontextmanager
async def _consuming(consumer: Runtime, source: Source, *, is_fed: bool) -> AsyncIterator[None]:
    """Takes the ledger's events; without brokers there are none, and the projection is never level with the ledger."""
    if not is_fed:
        yield
        return
    stop = asyncio.Event()
    watermark = Watermark(consumer.taker.pool, source)
    tasks = [asyncio.create_task(consumer.run(stop)), asyncio.create_task(watermark.keep(stop))]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)
