"""What runs by itself: starts of policies are told as events.

What decides follows from the clock; a teller that was dead for a day changes nothing but the time of the events.
"""

import asyncio

from amana.eligibility.lifecycle import DUE_MAX, tell_starts
from amana.infra.postgres import DatabaseUnavailable, Pool
from amana.infra.telemetry import logger

TELL_EVERY_S = 1.0

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
