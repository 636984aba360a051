"""What runs by itself: holds whose time is over are released.

Nobody depends on it being on time: a batch releases what is over on the accounts that it touches before anything else,
and reads leave it out. A sweeper that was dead for a day changes nothing but the time of the events.
"""

import asyncio

from amana.infra.postgres import DatabaseUnavailable, reading
from amana.infra.telemetry import logger
from amana.transactions.flow import Flow
from amana.transactions.work import ExpireHolds

SWEEP_EVERY_S = 1.0
SWEEP_MAX = 200
"""Holds released together; while there are as many, the next chunk follows at once."""

_log = logger(__name__)


async def sweep_holds(flow: Flow) -> None:
    """Until cancelled. A database that is away is tried again at the next turn."""
    while True:
        try:
            swept = await sweep_once(flow)
        except DatabaseUnavailable as error:
            swept = 0
            _log.warning("holds not swept", error=type(error).__name__)
        except Exception as error:
            swept = 0
            _log.error("holds not swept", exc_info=error)
        if swept < SWEEP_MAX:
            await asyncio.sleep(SWEEP_EVERY_S)


async def sweep_once(flow: Flow) -> int:
    """One chunk, like any other commands of the tenants whose holds they are. Returns how many were looked at.

    What fails of it is logged and left for the next turn; then 0 is returned, so that the next turn is not at once.
    """
    async with reading(flow.pool) as connection:
        overdue = await flow.store.list_overdue_holds(connection, SWEEP_MAX)
    units = [[ExpireHolds(tenant, [id_])] for tenant, id_ in overdue]  # each its own, so that one fails alone
    swept = await asyncio.gather(*(flow.submit(unit) for unit in units), return_exceptions=True)
    failures = [error for error in swept if isinstance(error, Exception)]
    for error in failures:
        _log.warning("holds not swept", error=type(error).__name__, detail=str(error))
    return 0 if failures else len(overdue)
