"""What runs by itself: requests that nobody may claim any more are settled, and what is open is measured.

Nothing depends on its being on time: a claim looks at the clock itself.
"""

import asyncio
from collections.abc import Mapping
from functools import partial

from prometheus_client import Gauge

from amana.gateway.settled import Asked, Remove
from amana.infra.breaker import pause
from amana.infra.postgres import DatabaseUnavailable, Pool, in_transaction, reading
from amana.infra.telemetry import logger
from amana.notifications.holds import Holds
from amana.notifications.store import SWEEP_MAX, count_open, prune, sweep

SWEEP_EVERY_S = 5.0
PRUNED_TYPE = "SettledPruned"
"""The event that says how much of what was settled long ago went."""

OPEN = Gauge("amana_notifications_open", "Notification requests not settled yet.", ["state"])

log = logger(__name__)


async def sweep_forever(pool: Pool, stop: asyncio.Event) -> None:
    """Until `stop`. A database that is away is tried again at the next turn."""
    while not stop.is_set():
        swept = 0
        try:
            swept = await in_transaction(pool, sweep)
            async with reading(pool) as connection:
                counts = await count_open(connection)
            for state in ("waiting", "claimed"):
                OPEN.labels(state).set(counts.get(state, 0))
        except DatabaseUnavailable as error:
            log.warning("not_swept", detail=str(error))
        except Exception:
            log.exception("not_swept")
        if swept < SWEEP_MAX:
            await pause(SWEEP_EVERY_S, stop)


def requests_but_held(holds: Holds) -> Asked:
    """Removes settled requests, but none about a customer whom a legal hold keeps: whom, is asked anew each time. One
    that is placed while a transaction deletes what was asked about just before may come too late for that."""

    async def asked() -> Mapping[str, Remove]:
        return {"requests": partial(prune, held=await holds.held())}

    return asked
