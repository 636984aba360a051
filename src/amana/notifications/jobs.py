"""What runs by itself: requests that nobody may claim any more are settled, and what is open is measured.

Nothing depends on its being on time: a claim looks at the clock itself.
"""

import asyncio
from collections.abc import Collection, Mapping
from functools import partial
from uuid import UUID, uuid4

from prometheus_client import Gauge

from amana.gateway import settled
from amana.gateway.settled import Asked, Remove
from amana.infra.breaker import pause
from amana.infra.postgres import Connection, DatabaseUnavailable, Pool, in_transaction, reading
from amana.infra.telemetry import logger
from amana.notifications.holds import Holds, Key
from amana.notifications.store import SWEEP_MAX, count_open, leave, prune, sweep

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


def requests_but_held(pool: Pool, holds: Holds, days: int) -> Asked:
    """Removes requests settled more than `days` days ago, but none about a customer whom a legal hold keeps.

        whom?  →  BEGIN, out of sight, COMMIT  →  whom?  →  BEGIN, theirs back in sight, the others go, COMMIT

    A hold that is acknowledged before the first COMMIT is in the second answer; one that comes later finds nothing in
    sight that goes. What a process leaves out of sight when it dies comes back by itself.
    """

    async def asked() -> Mapping[str, Remove]:
        leaving, held = uuid4(), await holds.held()
        async with reading(pool) as connection:
            left = await leave(connection, leaving, days, settled.PRUNE_MAX, held)
        return {"requests": partial(_prune, leaving, await holds.held()) if left else _nothing}

    return asked


async def _prune(leaving: UUID, held: Collection[Key], connection: Connection, _days: int, _limit: int) -> int:
    return await prune(connection, leaving, held)


async def _nothing(_connection: Connection, _days: int, _limit: int) -> int:
    return 0
