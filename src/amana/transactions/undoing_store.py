"""The statements that undo what followed from a decision, over a caller's connection."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from amana.domain.ids import shard_of
from amana.domain.lending import Loan, Repayment
from amana.domain.loan_reversal import REPAYMENTS_MAX
from amana.domain.transfer import Key
from amana.infra.key_file import KeyFile
from amana.infra.postgres import Connection
from amana.infra.sql import load_queries
from amana.transactions.notes import reference_print
from amana.transactions.places import placed

SQL = load_queries("amana.transactions", "undoing.sql")
HOLDS_MAX = 100
"""Open holds of one offer that are voided with it; whoever places more voids the rest."""


async def find_loans_of_offers(
    connection: Connection, offers: Iterable[tuple[int, UUID, UUID]], shards: int
) -> dict[Key, Loan]:
    """The loans that these (tenant, offer, customer) were booked as, by their own keys."""
    wanted = sorted(offers)
    rows = await connection.fetch(
        SQL["find_loans_of_offers"],
        [shard_of(customer, shards) for _, _, customer in wanted],
        [tenant for tenant, _, _ in wanted],
        [offer for _, offer, _ in wanted],
    )
    return {(row["tenant"], row["id"]): Loan(**row) for row in rows}


async def find_repayments_of_loans(connection: Connection, loans: Iterable[Key], shards: int) -> dict[Key, Repayment]:
    """The repayments of these loans that stand: of each one more than may be taken back, at most."""
    statement = SQL["find_repayments_of_loans"]
    rows = await connection.fetch(statement, *placed(loans, shards), REPAYMENTS_MAX + 1)
    return {(row["tenant"], row["id"]): Repayment(**row) for row in rows}


async def insert_withdrawals(
    connection: Connection, withdrawals: Sequence[tuple[Key, UUID, UUID]], now: datetime, shards: int
) -> None:
    """Closes offers, each with its customer and reversal. A second one is a unique violation: it is run again."""
    await connection.execute(
        SQL["insert_withdrawals"],
        [shard_of(customer, shards) for _, customer, _ in withdrawals],
        [tenant for (tenant, _), _, _ in withdrawals],
        [offer for (_, offer), _, _ in withdrawals],
        [reversal for _, _, reversal in withdrawals],
        [now] * len(withdrawals),
    )


async def list_open_holds(
    connection: Connection, file: KeyFile, tenant: int, references: Sequence[UUID]
) -> tuple[UUID, ...]:
    """The open holds whose reference is one of these ids. `file` makes the fingerprints that they are found by."""
    names = [str(id_) for id_ in references]
    prints = [reference_print(file, tenant, name) for name in names]
    rows = await connection.fetch(SQL["list_open_holds"], tenant, prints, HOLDS_MAX, names)
    return tuple(row["id"] for row in rows)


async def find_loan_of_offer(connection: Connection, tenant: int, offer: UUID, shard: int) -> UUID | None:
    """The loan that an offer was booked as; None where it was not."""
    found: UUID | None = await connection.fetchval(SQL["find_loan_of_offer"], shard, tenant, offer)
    return found
