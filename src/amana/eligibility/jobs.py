"""What runs by itself: starts of policies and steps of legal holds are told as events, and who is due is erased.

What decides follows from the clock; a teller that was dead for a day changes nothing but the time of the events.
"""

import asyncio
import time

from amana.eligibility import erasure_store
from amana.eligibility.erasing import TRY_AGAIN_S, Eraser, advance, remind
from amana.eligibility.legal_holds import tell_untold
from amana.eligibility.lifecycle import DUE_MAX, tell_starts
from amana.infra.postgres import DatabaseUnavailable, Pool, reading
from amana.infra.telemetry import logger

TELL_EVERY_S = 1.0
ERASE_EVERY_S = 5.0
ERASE_MAX = 50
"""Customers who are looked at in one turn."""
REMIND_EVERY_S = 300.0
"""How often the two databases are compared: one of them may have been restored while this ran."""

_log = logger(__name__)


async def tell_starts_forever(pool: Pool) -> None:
    """Until cancelled. A database that is away is tried again at the next turn."""
    while True:
        told = 0
        try:
            told = await tell_starts(pool)
        except DatabaseUnavailable as error:
            _log.warning("starts of policies not told", error=type(error).__name__)
        except Exception as error:
            _log.error("starts of policies not told", exc_info=error)
        if told < DUE_MAX:
            await asyncio.sleep(TELL_EVERY_S)


async def erase_forever(eraser: Eraser) -> None:
    """Until cancelled. First of all, what a restored database forgot is said again; what fails is tried again."""
    reminded_s = -REMIND_EVERY_S
    while True:
        try:
            if time.monotonic() - reminded_s >= REMIND_EVERY_S:
                await _remind(eraser)
                reminded_s = time.monotonic()
            await erase_due(eraser)
            await tell_untold(eraser.flow)
        except DatabaseUnavailable as error:
            _log.warning("customers not erased", error=type(error).__name__, detail=str(error))
        except Exception as error:
            _log.error("customers not erased", exc_info=error)
        await asyncio.sleep(ERASE_EVERY_S)


async def erase_due(eraser: Eraser) -> int:
    """Looks at the customers whose time has come, at most `ERASE_MAX`; how many. Raises `DatabaseUnavailable`."""
    async with reading(eraser.flow.pool) as connection:
        due = await erasure_store.due_erasures(connection, ERASE_MAX)
    for where in due:
        try:
            await advance(eraser, where)
        except Exception:
            async with reading(eraser.flow.pool) as connection:
                await erasure_store.postpone_erasure(connection, where, TRY_AGAIN_S)
            raise
    return len(due)


async def _remind(eraser: Eraser) -> None:
    count = await remind(eraser.flow)
    if count:
        _log.warning("a restored database had forgotten customers who are erased or restricted", customers=count)
