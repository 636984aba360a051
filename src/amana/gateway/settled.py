"""What a service has settled long ago goes, where the settings ask for it: bounded, and told in the service's stream.

What goes is no event and nothing is derived from it. The event that says how much went is of the same transaction, so
nothing goes untold. A trigger keeps what is not settled, or not for `SETTLED_DAYS_MIN` days (see the migrations).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from amana.domain.event_types import VERSIONS
from amana.domain.events import Aggregate, Event, event_bytes
from amana.domain.ids import TENANT_PLATFORM, uuid7
from amana.infra import clock
from amana.infra.breaker import pause
from amana.infra.http import UpstreamUnavailable
from amana.infra.outbox import OutboxRow, append
from amana.infra.postgres import Connection, DatabaseUnavailable, Pool, in_transaction
from amana.infra.settings import Settings
from amana.infra.telemetry import logger

PRUNE_MAX = 1_000
"""Rows of each kind in one transaction."""
PRUNE_EVERY_S = 60.0
PRUNE_PAUSE_S = 0.05
"""Between two transactions where there is more to go."""

Remove: TypeAlias = Callable[[Connection, int, int], Awaitable[int]]
"""Removes what was settled more than so many days ago, at most so many rows; how many."""

Asked: TypeAlias = Callable[[], Awaitable[Mapping[str, Remove]]]
"""Kinds and how each is removed, as somebody else says it now. May raise `UpstreamUnavailable`."""

log = logger("amana.settled")


async def nothing_more() -> Mapping[str, Remove]:
    """Nobody has to be asked."""
    return {}


async def prune_settled(pool: Pool, type_: str, kinds: Mapping[str, Remove], days: int) -> int:
    """Removes some of each kind, and says so as an event of `type_`; how many of the kind of which most went.

    Raises `DatabaseUnavailable`.
    """

    async def work(connection: Connection) -> int:
        went = {kind: await remove(connection, days, PRUNE_MAX) for kind, remove in kinds.items()}
        if any(went.values()):
            await append(connection, [pruned_row(type_, {**went, "settled_days": days})])
        return max(went.values())

    return await in_transaction(pool, work)


async def prune_settled_forever(
    settings: Settings,
    pool: Pool,
    type_: str,
    kinds: Mapping[str, Remove],
    stop: asyncio.Event,
    asked: Asked = nothing_more,
) -> None:
    """Until `stop`, or cancelled; at once over where nothing is ever to go, or a legal hold stands.

    `asked` gives more kinds, of which somebody has to be asked what may go: before each transaction, and in none. Where
    that fails nothing goes, of any kind.
    """
    if not settings.settled_days or settings.legal_hold:
        return
    while not stop.is_set():
        went = 0
        try:
            went = await prune_settled(pool, type_, {**kinds, **await asked()}, settings.settled_days)
        except (DatabaseUnavailable, UpstreamUnavailable) as error:
            log.warning("not_pruned", detail=str(error))
        except Exception:
            log.exception("not_pruned")
        await pause(PRUNE_PAUSE_S if went >= PRUNE_MAX else PRUNE_EVERY_S, stop)


def pruned_row(type_: str, data: dict[str, Any]) -> OutboxRow:
    """The event that says what went, new at each call."""
    id_ = uuid7(clock.unix_ms(), clock.random_74_bits())
    event = Event(
        event_id=id_,
        tenant=TENANT_PLATFORM,
        type=type_,
        version=VERSIONS[type_],
        occurred_at=clock.now(),
        aggregate=Aggregate("retention", id_, 1),
        actor="system:retention",
        trace="",
        data=data,
    )
    return OutboxRow(TENANT_PLATFORM, id_, id_, type_, event_bytes(event))
