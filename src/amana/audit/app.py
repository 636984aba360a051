"""Composes the audit service: settings → key and pools → store → loops (consume, pull, seal, publish, watch, cosign,
index, write who read) → routes.

The loops (`loops`) run beside the routes for as long as the application does. Without a broker in the settings events
come from the sources alone.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from litestar import Litestar
from litestar.datastructures import State

from amana.audit import meters
from amana.audit.accesses import WRITE_EVERY_S, AccessLog
from amana.audit.consumer import GROUP, TOPICS, Puller, consume
from amana.audit.cosigning import cosigning_steps
from amana.audit.custody import Custody
from amana.audit.http import ROUTES
from amana.audit.index_store import Index
from amana.audit.indexer import Indexer
from amana.audit.leaf import LOGS, SOURCES
from amana.audit.loops import Step, Steps, running
from amana.audit.metrics.http import ROUTES as METRICS_ROUTES
from amana.audit.metrics.loops import metrics_steps
from amana.audit.metrics.store import MetricsStore
from amana.audit.places import CustodyError
from amana.audit.sealer import STEP_LEAVES_MAX, LogBroken, Sealer
from amana.audit.store import Store
from amana.audit.tile_routes import TILE_ROUTES
from amana.audit.topic import CheckpointTopic
from amana.gateway.edge import build_app
from amana.gateway.keyring import KeyRing
from amana.gateway.quota import Quotas
from amana.gateway.source import Source, url_of
from amana.gateway.store import KeyStore
from amana.infra.arrival import Arrival
from amana.infra.http import HttpClient
from amana.infra.http_server import serve_as_set
from amana.infra.kafka import Brokers, Consumer
from amana.infra.latencies import latencies_told
from amana.infra.settings import Settings

LOOK_EVERY_S = 1.0
"""The same where none came to this process: another one may have stored some."""
SEARCH_CONNECTIONS = 4
"""Of a pool of its own: a search never waits for a connection that a write has, nor the other way round."""


def build(settings: Settings) -> Litestar:
    """The application; what it opens is closed at the end. Start fails with `CustodyError` without a signing key. The
    database may come later."""
    database = Arrival(settings.audit_database_url, "audit")

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with _opened(settings, app.state, database) as steps, running(steps, app.state.store.arrivals):
            yield

    keys, quotas = KeyRing(KeyStore(settings.gateway_database_url)), Quotas.of(settings, "audit")
    routes = (*ROUTES, *TILE_ROUTES, *METRICS_ROUTES)
    return build_app(
        service="audit", routes=routes, keys=keys, quotas=quotas, lifespan=[lifespan], ready=database.is_there
    )


async def serve(settings: Settings) -> None:
    """Serves until SIGTERM."""
    await serve_as_set(build(settings), settings)


@asynccontextmanager
async def _opened(settings: Settings, state: State, database: Arrival) -> AsyncIterator[Steps]:
    """Opens what the routes find in `state` and the loops work with; gives the loops, and closes it all at the end."""
    custody = Custody.of(settings)
    for stream in LOGS:
        custody.keys(stream)
    async with AsyncExitStack() as opened:
        pool = await database.pool(settings.pool_connections, closing=opened)
        search_pool = await database.pool(SEARCH_CONNECTIONS, batches=True, closing=opened)
        await opened.enter_async_context(database.awaited(pool))
        store, index, metrics = Store(pool), Index(search_pool), MetricsStore(settings.metrics_database_url)
        opened.push_async_callback(metrics.close)
        accesses, topics, refusals = AccessLog(store), _topics(settings, custody), dict[str, str]()
        for topic in topics.values():
            opened.push_async_callback(topic.close)
        opened.push_async_callback(accesses.close)
        client = await opened.enter_async_context(HttpClient())
        await opened.enter_async_context(latencies_told(settings.metrics_database_url, "audit"))
        state.update(store=store, index=index, accesses=accesses, custody=custody, refusals=refusals, metrics=metrics)
        work = _Work(settings, store, custody, client, topics, refusals)
        cosigning = cosigning_steps(settings, store, custody, client)

        def steps(stop: asyncio.Event) -> dict[str, Step]:
            feeding = metrics_steps(metrics, store, pool) if settings.metrics_database_url else {}
            return work.steps(stop) | _search_steps(store, index, accesses) | cosigning | feeding

        yield steps


def _topics(settings: Settings, custody: Custody) -> dict[str, CheckpointTopic]:
    """The topic of each stream at the broker; none without a broker."""
    brokers = Brokers.of(settings)
    return {stream: CheckpointTopic(brokers, stream, custody) for stream in LOGS} if brokers.bootstrap else {}


class _Work(NamedTuple):
    """What the loops work with. `refusals` says, by stream, why nothing is signed."""

    settings: Settings
    store: Store
    custody: Custody
    client: HttpClient
    topics: dict[str, CheckpointTopic]
    refusals: dict[str, str]

    def steps(self, stop: asyncio.Event) -> dict[str, Step]:
        """The loops by name, each as its step."""
        settings = self.settings

        async def consume_step() -> float:
            await consume(self.store, Consumer(Brokers.of(settings), GROUP, TOPICS), stop)
            return 0.0

        made: dict[str, Step] = {"consume": consume_step} if settings.kafka_bootstrap else {}
        for stream in SOURCES:
            source = Source(stream, url_of(settings, stream), settings.internal_key, self.client)
            made[f"pull {stream}"] = Puller(source, self.store).pull
        for stream in LOGS:
            made[f"seal {stream}"] = self._seal_step(Sealer(stream, self.store, self.custody))
        for stream, topic in self.topics.items():
            made[f"publish {stream}"], made[f"watch {stream}"] = topic.publish, topic.watch
        return made

    def _seal_step(self, sealer: Sealer) -> Step:
        stream, store, topic = sealer.stream, self.store, self.topics.get(sealer.stream)

        async def step() -> float:
            if topic:
                await topic.first_look()
            try:
                sealed = await sealer.seal()
            except (LogBroken, CustodyError) as error:
                self.refusals[stream] = str(error)
                meters.REFUSING.labels(stream).set(1)
                raise
            self.refusals.pop(stream, None)
            meters.REFUSING.labels(stream).set(0)
            if sealed == STEP_LEAVES_MAX:
                return 0.0
            meters.all_sealed(stream)
            async with store.rows() as rows:
                given = max(await rows.highest_position(stream), await rows.source_last(stream) or -1) + 1
                missing = await rows.missing(stream, sealer.size, max(given, sealer.size))
            meters.UNSEALED.labels(stream).set(given - sealer.size)
            meters.MISSING.labels(stream).set(missing)
            return LOOK_EVERY_S

        return step


def _search_steps(store: Store, index: Index, accesses: AccessLog) -> dict[str, Step]:
    """The loops that make the log searchable and write who read it."""

    async def write_accesses() -> float:
        await accesses.flush()
        return WRITE_EVERY_S

    indexing = {f"index {stream}": index_step(Indexer(stream, index), store) for stream in LOGS}
    return {"record accesses": write_accesses, **indexing}


def index_step(indexer: Indexer, store: Store) -> Step:
    """A step of the index. Where it is behind, as when it is made anew, a thread of it has half of the process at most:
    sealing and answering have the rest."""

    async def step() -> float:
        await indexer.step()
        if indexer.is_behind:
            return indexer.took_s
        async with store.rows() as rows:
            received = await rows.highest_position(indexer.stream) + 1
        meters.UNINDEXED.labels(indexer.stream).set(max(0, received - indexer.size))
        return LOOK_EVERY_S

    return step
