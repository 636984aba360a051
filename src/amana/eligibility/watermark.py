"""Moves the projection's watermark: up to which instant of the ledger everything is applied, events or none.

Each beat asks the ledger where its stream ends, and up to which instant everything that was committed has a position
there. Once the consumer has taken everything up to that end, everything up to that instant is here. Each span is
measured by one clock: how far back the instant lies by the ledger's, how long ago that was asked by this database's.
"""

import asyncio
from datetime import timedelta
from typing import NamedTuple

from prometheus_client import Gauge

from amana.eligibility import projection_store
from amana.eligibility.consumer import NAME
from amana.gateway.source import Source
from amana.infra.breaker import pause
from amana.infra.http import UpstreamUnavailable
from amana.infra.postgres import DatabaseUnavailable, Pool, reading
from amana.infra.telemetry import logger
from amana.wire.consuming import StreamEnd

BEAT_EVERY_S = 1.0
TAKEN_WITHIN = 20
"""How often one beat looks whether everything up to the end was taken, before the end is asked for again."""
LOOK_EVERY_S = 0.1

LAG = Gauge(
    "amana_eligibility_projection_lag_seconds",
    "How far the projection of standings may be behind the ledger; not a number where it was never level.",
)

_log = logger(__name__)


class Beat(NamedTuple):
    """What was asked: this database's look before, and the ledger's answer."""

    before: projection_store.Before
    end: StreamEnd


class Watermark:
    """Moves the watermark of one process's database; several processes may."""

    def __init__(self, pool: Pool, source: Source) -> None:
        self._pool = pool
        self._source = source

    async def keep(self, stop: asyncio.Event) -> None:
        """Until `stop` is set. What is away is asked again at the next beat."""
        while not stop.is_set():
            try:
                await self._beat(stop)
                await self._measure()
            except (DatabaseUnavailable, UpstreamUnavailable) as error:
                _log.info("watermark not moved", error=type(error).__name__, detail=str(error))
            except Exception as error:
                _log.error("watermark not moved", exc_info=error)
            await pause(BEAT_EVERY_S, stop)

    async def ask(self) -> Beat | None:
        """One question to the ledger; None where nothing can follow from it."""
        async with reading(self._pool) as connection:
            before = await projection_store.look_before(connection, NAME)
        if before is None:
            return None
        end = await self._source.end()
        if end.last + 1 < before.below:
            # Its database lost what was consumed here: positions will name other events than before.
            _log.error("the ledger's stream went back", last=end.last, taken_below=before.below)
            return None
        return Beat(before, end)

    async def advance(self, beat: Beat) -> timedelta | None:
        """Moves the watermark if everything up to the beat's end was taken: the lag. None where it was not, or the
        ledger could not say up to which instant its stream goes."""
        settled_at = beat.end.settled_at
        if settled_at is None:
            return None
        proven_at = beat.before.at - (beat.end.now - settled_at)
        async with reading(self._pool) as connection:
            return await projection_store.advance(connection, NAME, beat.end.last, proven_at, settled_at)

    async def _beat(self, stop: asyncio.Event) -> None:
        beat = await self.ask()
        if beat is None or beat.end.settled_at is None:
            return
        for _ in range(TAKEN_WITHIN):
            if stop.is_set() or await self.advance(beat) is not None:
                return
            await pause(LOOK_EVERY_S, stop)

    async def _measure(self) -> None:
        async with reading(self._pool) as connection:
            lag = await projection_store.find_lag(connection)
        LAG.set(float("nan") if lag is None else lag.total_seconds())
