"""What an operator is about to remove, said in the log first: an event of its own stream, under a checkpoint.

Whoever removes anything says so, waits until that is signed, and only then begins. A run that breaks off in between
has said more than it did; the next one says it again.
"""

import asyncio
from datetime import datetime
from typing import Any

from amana.audit.leaf import ACCESSES, read_leaf
from amana.audit.store import Rows, Store
from amana.domain.event_types import VERSIONS
from amana.domain.events import Aggregate, Event, event_bytes
from amana.domain.ids import TENANT_PLATFORM, uuid7
from amana.infra import clock
from amana.infra.postgres import Pool

SIGNED_WITHIN_S = 30.0
SIGNED_POLL_S = 0.2


class HeldBack(Exception):
    """Nothing may go now; the message says why."""


async def announce(rows: Rows, type_: str, data: dict[str, Any], by: str, now: datetime) -> int:
    """Writes that the operator `by` removes what `data` says, in the caller's transaction; its position."""
    id_ = uuid7(clock.unix_ms(), clock.random_74_bits())
    event = Event(
        event_id=id_,
        tenant=TENANT_PLATFORM,
        type=type_,
        version=VERSIONS[type_],
        occurred_at=now,
        aggregate=Aggregate("retention", id_, 1),
        actor=f"operator:{by}",
        trace="",
        data=data,
    )
    await rows.lock_appending(ACCESSES)
    position = await rows.highest_position(ACCESSES) + 1
    stored = await rows.add_leaves(ACCESSES, [read_leaf(position, event_bytes(event))])
    assert stored == {position}, "somebody wrote to the stream without its lock"
    return position


async def until_signed(pool: Pool, position: int) -> None:
    """Until a checkpoint covers what was announced: the audit service makes one within a second.

    Raises `HeldBack` after `SIGNED_WITHIN_S`, and `DatabaseUnavailable`.
    """
    until = asyncio.get_running_loop().time() + SIGNED_WITHIN_S
    while True:
        async with Store(pool).rows() as rows:
            signed = await rows.newest_checkpoint(ACCESSES)
        if signed is not None and position < signed.size:
            return
        if asyncio.get_running_loop().time() > until:
            raise HeldBack("no checkpoint signs the event that says what goes: let the audit service run, then go on")
        await asyncio.sleep(SIGNED_POLL_S)
