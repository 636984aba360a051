"""What keeps the metrics store, beside the other loops of the audit service: feeds, and the upkeep of partitions.

While a database is away they try again after longer and longer pauses, and say so once. After an outage, or made anew,
the trail has all of the log before it: each step rests as long as it worked, so that half of the process is left to who
asks and to sealing meanwhile.
"""

import time
from collections.abc import Awaitable, Callable

from amana.audit.leaf import STREAMS
from amana.audit.metrics.feed import Feed
from amana.audit.metrics.store import MetricsStore
from amana.audit.store import Store
from amana.infra.breaker import Backoff
from amana.infra.postgres import DatabaseUnavailable, Pool
from amana.infra.telemetry import logger

UPKEEP_EVERY_S = 3_600.0
AWAY_FIRST_S, AWAY_MAX_S = 1.0, 30.0

Step = Callable[[], Awaitable[float]]
"""A bit of a loop's work; gives the seconds to wait before the next."""

log = logger("amana.audit.metrics")


def metrics_steps(metrics: MetricsStore, leaves: Store, pool: Pool) -> dict[str, Step]:
    """The loops by name. `pool` is of the audit database, as `leaves` is."""

    async def upkeep() -> float:
        made, dropped = await metrics.upkeep()
        return 0.0 if made or dropped else UPKEEP_EVERY_S

    steps: dict[str, Step] = {f"trail {stream}": Feed(stream, leaves, pool, metrics).step for stream in STREAMS}
    return {name: patient(name, step) for name, step in {**steps, "metrics upkeep": upkeep}.items()}


def patient(name: str, step: Step) -> Step:
    """The same step, which waits for a database that is away, and rests as long as it worked at least."""
    backoff = Backoff(AWAY_FIRST_S, AWAY_MAX_S)
    away = False

    async def waiting() -> float:
        nonlocal away
        began_s = time.monotonic()
        try:
            pause_s = await step()
        except DatabaseUnavailable as error:
            if not away:
                log.warning("metrics_wait", loop=name, detail=str(error))
            away = True
            return backoff.next_s()
        if away:
            log.info("metrics_go_on", loop=name)
            backoff.reset()
        away = False
        return max(pause_s, time.monotonic() - began_s)

    return waiting
