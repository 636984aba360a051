"""Rows of the projection against the ledger: what no event accounts for is counted by its cause, and asked again.

The ledger may say something else because an event is on its way. So a row that differs is a suspect first; it is wrong
if it still stands once the watermark has passed the instant at which the ledger was asked.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

import msgspec
from prometheus_client import Counter as Metric

from amana.domain.aging import aged
from amana.domain.facts import CustomerStanding
from amana.eligibility import projection_store
from amana.eligibility.cache import AssessmentCache
from amana.eligibility.projection import StandingKey
from amana.eligibility.records import Customer, Key
from amana.infra.postgres import Pool, reading
from amana.infra.telemetry import logger

KEPT_FOR = timedelta(seconds=30)
"""A suspect of whom nothing was proven by then is let go: the projection is not believed meanwhile."""
SUSPECTS_MAX = 1_000

COMPARED = Metric("amana_eligibility_projection_compared_total", "Rows of the projection compared with the ledger.")
WRONG = Metric(
    "amana_eligibility_projection_wrong_total", "Rows that differed, and of which no event told.", ("cause",)
)

_log = logger(__name__)


class Cause(StrEnum):
    """What a row got wrong, the first that applies."""

    EXPOSURE = "exposure"
    LATENESS = "lateness"
    HISTORY = "history"


class Suspect(NamedTuple):
    """A row that had `moves` and differed from the ledger before the instant `asked_at`."""

    moves: int
    asked_at: datetime
    cause: Cause


class Suspects:
    """Those of one process."""

    def __init__(self, pool: Pool, cache: AssessmentCache) -> None:
        self._pool = pool
        self._cache = cache
        self._held: dict[StandingKey, Suspect] = {}

    async def compare(self, customers: Mapping[Key, Customer], numbers: Mapping[StandingKey, CustomerStanding]) -> None:
        """Holds the rows that were read with `customers` against what the ledger said after."""
        found: dict[StandingKey, tuple[int, Cause]] = {}
        for (tenant, _), customer in customers.items():
            for row in customer.projection.rows:
                key = StandingKey(tenant, row.customer, row.currency)
                kept, told = row.standing(), numbers.get(key)
                if kept is None or told is None or not told.lasts:
                    continue
                COMPARED.inc()
                cause = difference(aged(kept, told.as_of), told)
                if cause is not None:
                    found[key] = row.moves, cause
        if found:
            async with reading(self._pool) as connection:
                asked_at = await projection_store.read_clock(connection)
            self._held |= {key: Suspect(moves, asked_at, cause) for key, (moves, cause) in found.items()}

    async def judge(self) -> dict[str, int]:
        """Makes those stale that are wrong beyond doubt, and forgets what was cached of them; how many, by cause."""
        if not self._held:
            return {}
        async with reading(self._pool) as connection:
            now = await projection_store.read_clock(connection)
            wrong = await projection_store.make_wrong_stale(
                connection, {key: (one.moves, one.asked_at) for key, one in self._held.items()}
            )
        causes = Counter(str(self._held[key].cause) for key in wrong)
        for cause, count in causes.items():
            WRONG.labels(cause).inc(count)
        for key in wrong:
            await self._cache.forget(key.tenant, key.customer)
        left = {key: one for key, one in self._held.items() if key not in wrong and now - one.asked_at < KEPT_FOR}
        self._held = dict(list(left.items())[-SUSPECTS_MAX:])
        if causes:
            _log.error("the projection differed from the ledger, and no event told of it", **causes)
        return dict(causes)


def difference(kept: CustomerStanding, told: CustomerStanding) -> Cause | None:
    """What `kept` gets wrong of what the ledger told, if anything."""
    if kept.exposure != told.exposure:
        return Cause.EXPOSURE
    late = ("worst_days_past_due", "current_days_past_due", "open_due_on")
    if any(getattr(kept, name) != getattr(told, name) for name in late):
        return Cause.LATENESS
    return None if msgspec.structs.replace(kept, as_of=told.as_of) == told else Cause.HISTORY
