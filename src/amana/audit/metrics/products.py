"""Which product a movement belongs to. A leg names the command that it is of; the loan's own event, a few places later,
names that command and the loan, and the event that booked the loan names the product.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from amana.audit.leaf import Leaf, read_leaf
from amana.audit.metrics.trail import commands_of, data_of, uuid_in
from amana.infra.postgres import Pool, reading
from amana.infra.sql import load_queries

LOAN_WITHIN = 500
"""Places after a leg within which its loan's event comes: both are written by one batch."""

SQL = load_queries("amana.audit.metrics", "leaves.sql")

Key: TypeAlias = tuple[int, UUID]
"""Tenant and id."""


class Told(NamedTuple):
    """An event, and its data."""

    leaf: Leaf
    data: Mapping[str, Any]


def find_loans(events: Iterable[Told]) -> dict[Key, Key]:
    """The loan of each command that an event of a loan names."""
    return {
        (leaf.tenant, command): (leaf.tenant, leaf.aggregate_id)
        for leaf, data in events
        if leaf.aggregate_type == "loan"
        for command in commands_of(data)
    }


def loan_of(event: Told, loans: Mapping[Key, Key]) -> Key | None:
    """The loan that an event is of: its own, or that of the command that a movement is a leg of."""
    if event.leaf.aggregate_type == "loan":
        return event.leaf.tenant, event.leaf.aggregate_id
    command = _command_of(event)
    return loans.get(command) if command else None


def _command_of(event: Told) -> Key | None:
    command = uuid_in(event.data.get("command"))
    return (event.leaf.tenant, command) if command else None


def first_undecided(events: Sequence[Told], loans: Mapping[Key, Key]) -> int:
    """The index of the first leg whose loan is not known and may still come; if none, the number of events.

    A hold that was voided with an offer names a command, too, and waits for nothing: no event of a loan may name that.
    """
    for at in range(max(0, len(events) - LOAN_WITHIN), len(events)):
        command = _command_of(events[at])
        if events[at].leaf.type == "TransferPosted" and command is not None and command not in loans:
            return at
    return len(events)


async def find_products(pool: Pool, loans: Iterable[Key]) -> dict[Key, str]:
    """The product of each loan, from the audit log. One round trip. Raises `DatabaseUnavailable`."""
    wanted = sorted(set(loans))
    if not wanted:
        return {}
    async with reading(pool) as connection:
        rows = await connection.fetch(SQL["loans_booked"], [key[0] for key in wanted], [key[1] for key in wanted])
    return {
        (row["tenant"], row["aggregate_id"]): str(data_of(read_leaf(0, row["bytes"])).get("product", ""))
        for row in rows
    }
