"""Composes the audit service: settings → key and pools → store → loops (consume, pull, seal, publish, watch, cosign,
index, write who read) → routes.

The loops run beside the routes for as long as the application does. None of them ends on an error: what is away is
tried again, and what is broken is logged and shown in the metrics while everything else goes on. Without a broker in
the settings events come from the sources alone.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from litestar import Litestar
from litestar.datastructures import State

from amana.audit import meters
from amana.audit.accesses import WRITE_EVERY_S, AccessLog
from amana.audit.arrivals import Arrivals
from amana.audit.consumer import GROUP, TOPICS, Puller, consume
from amana.audit.cosigning import cosigning_steps
from amana.audit.custody import Custody
from amana.audit.http import ROUTES
from amana.audit.index_store import Index
from amana.audit.indexer import Indexer
from amana.audit.leaf import LOGS, STREAMS
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
from amana.gateway.source import Source
from amana.gateway.store import KeyStore
from amana.infra.arrival import Arrival
from amana.infra.breaker import pause
from amana.infra.http import HttpClient, UpstreamUnavailable
from amana.infra.http_server import serve_as_set
from amana.infra.kafka import Brokers, Consumer
from amana.infra.latencies import latencies_told
from amana.infra.postgres import DatabaseUnavailable
from amana.infra.settings import Settings
from amana.infra.telemetry import logger

REST_S = 0.2
"""Between two checkpoints of a stream, and between two looks for what to index, where leaves keep coming."""
LOOK_EVERY_S = 1.0
"""The same where none came to this process: another one may have stored some."""
WOKEN = ("seal", "index")
"""Loops that leaves wake, by the first word of their names; the second one is the stream."""
SEARCH_CONNECTIONS = 4
"""Of a pool of its own: a search never waits for a connection that a write has, nor the other way round."""
AWAY_PAUSE_S = 1.0
BROKEN_PAUSE_S = 5.0
STOP_TIMEOUT_S = 10.0

Step = Callable[[], Awaitable[float]]
"""A bit of a loop's work; gives the seconds to wait before the next."""
Steps = Callable[[asyncio.Event], dict[str, Step]]
"""The loops by name, which are to end when the event is set."""

log = logger("amana.audit.app")


def build(settings: Settings) -> Litestar:
    """The application; what it opens is closed at the end. Start fails with `CustodyError` without a signing key. The
    database may come later."""
    database = Arrival(settings.audit_database_url, "audit")

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with _opened(settings, app.state, database) as steps, _running(steps, app.state.store.arrivals):
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
        urls = {"eligibility": settings.eligibility_url, "transactions": settings.transactions_url}

        async def consume_step() -> float:
            await consume(self.store, Consumer(Brokers.of(settings), GROUP, TOPICS), stop)
            return 0.0

        made: dict[str, Step] = {"consume": consume_step} if settings.kafka_bootstrap else {}
        for stream in STREAMS:
            source = Source(stream, urls[stream], settings.internal_key, self.client)
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

    indexing = {f"index {stream}": _index_step(Indexer(stream, index), store) for stream in LOGS}
    return {"record accesses": write_accesses, **indexing}


def _index_step(indexer: Indexer, store: Store) -> Step:
    async def step() -> float:
        if await indexer.step():
            return 0.0
        async with store.rows() as rows:
            received = await rows.highest_position(indexer.stream) + 1
        meters.UNINDEXED.labels(indexer.stream).set(max(0, received - indexer.size))
        return LOOK_EVERY_S

    return step


@asynccontextmanager
async def _running(steps: Steps, arrivals: Arrivals) -> AsyncIterator[None]:
    """Runs the loops around the block; at its end they are asked to stop, and after a while made to."""
    stop = asyncio.Event()
    tasks = [
        asyncio.create_task(_loop(name, step, stop, _bell_of(name, arrivals) or stop), name=name)
        for name, step in steps(stop).items()
    ]
    try:
        yield
    finally:
        stop.set()
        arrivals.ring_all()
        _, late = await asyncio.wait(tasks, timeout=STOP_TIMEOUT_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _bell_of(loop: str, arrivals: Arrivals) -> asyncio.Event | None:
    """Of a loop that works on the leaves of a stream."""
    work, _, stream = loop.partition(" ")
    return arrivals.bell(stream) if work in WOKEN else None


async def _loop(name: str, step: Step, stop: asyncio.Event, bell: asyncio.Event) -> None:
    """Each step after the seconds that the last one gave; or, where that went well, as soon after `REST_S` as the bell
    rings."""
    while not stop.is_set():
        if bell is not stop:
            bell.clear()
        wakes = stop
        try:
            pause_s, wakes = await step(), bell
        except (DatabaseUnavailable, UpstreamUnavailable) as error:
            log.warning("loop_waits", loop=name, detail=str(error))
            pause_s = AWAY_PAUSE_S
        except (LogBroken, CustodyError) as error:
            log.critical("refuses_to_sign", loop=name, detail=str(error))
            pause_s = BROKEN_PAUSE_S
        except Exception:
            log.exception("loop_failed", loop=name)
            pause_s = BROKEN_PAUSE_S
        await pause(min(pause_s, REST_S), stop)
        await pause(pause_s - REST_S, wakes)
