"""Which product a movement belongs to. A leg names the command that it is of; the loan's own event, a few places later,
names that command and the loan, and the event that booked the loan names the product.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias
from uuid import UUID

from amana.audit.metrics.trail import Data, Seen, commands_of, data_of, short_text, uuid_in
from amana.infra.postgres import Pool, reading
from amana.infra.sql import load_queries

LOAN_WITHIN = 500
"""Places after a leg within which its loan's event comes: both are written by one batch."""

SQL = load_queries("amana.audit.metrics", "leaves.sql")

Key: TypeAlias = tuple[int, UUID]
"""Tenant and id."""


class Told(NamedTuple):
    """An event, its data, and what may name a loan: the command that a movement is a leg of; of a loan's own event the
    ids under which its legs may have moved.
    """

    seen: Seen
    data: Data
    command: Key | None
    commands: Sequence[UUID]


def told(seen: Seen) -> Told:
    """Reads an event."""
    data = data_of(seen.body)
    command = uuid_in(data.command)
    of_loan = seen.aggregate_type == "loan"
    return Told(seen, data, (seen.tenant, command) if command else None, commands_of(seen.body) if of_loan else ())


def find_loans(events: Iterable[Told]) -> dict[Key, Key]:
    """The loan of each command that an event of a loan names."""
    return {
        (event.seen.tenant, command): (event.seen.tenant, event.seen.aggregate_id)
        for event in events
        for command in event.commands
    }


def loan_of(event: Told, loans: Mapping[Key, Key]) -> Key | None:
    """The loan that an event is of: its own, or that of the command that a movement is a leg of."""
    if event.seen.aggregate_type == "loan":
        return event.seen.tenant, event.seen.aggregate_id
    return loans.get(event.command) if event.command else None


def first_undecided(events: Sequence[Told], loans: Mapping[Key, Key]) -> int:
    """The index of the first leg whose loan is not known and may still come; if none, the number of events.

    A hold that was voided with an offer names a command, too, and waits for nothing: no event of a loan may name that.
    """
    for at in range(max(0, len(events) - LOAN_WITHIN), len(events)):
        event = events[at]
        if event.seen.type == "TransferPosted" and event.command is not None and event.command not in loans:
            return at
    return len(events)


async def read_unbroken(pool: Pool, stream: str, start: int, limit: int) -> list[Seen]:
    """The events of a stream from `start` up to its first gap, at most `limit`. Raises `DatabaseUnavailable`."""
    async with reading(pool) as connection:
        rows = await connection.fetch(SQL["events_from"], stream, start, limit)
    return [Seen(*row) for at, row in enumerate(rows, start) if row["position"] == at]


async def find_products(pool: Pool, loans: Iterable[Key]) -> dict[Key, str]:
    """The product of each loan, from the audit log. One round trip. Raises `DatabaseUnavailable`."""
    wanted = sorted(set(loans))
    if not wanted:
        return {}
    async with reading(pool) as connection:
        rows = await connection.fetch(SQL["loans_booked"], [key[0] for key in wanted], [key[1] for key in wanted])
    return {(row["tenant"], row["loan"]): short_text(data_of(row["bytes"]).product) for row in rows}
