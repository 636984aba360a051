"""What the API reads: one method per question, each on a connection of its own, outside any transaction.

An account's history is a chain (see the migration), so a walk begins at the nearest mark and takes at most
`MARK_EVERY` steps more than the rows that it returns.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from amana.domain.account import Account
from amana.domain.ids import shard_of
from amana.domain.lending import Loan, Repayment
from amana.infra.postgres import Pool, Record, reading
from amana.transactions.store import SQL, Store
from amana.wire.accounts import TrialBalanceLine


class Reads:
    """The questions of the API. Every method raises `DatabaseUnavailable`."""

    def __init__(self, pool: Pool, shards: int) -> None:
        self._pool = pool
        self._shards = shards
        self._store = Store(shards)

    async def get_account(self, tenant: int, id_: UUID) -> Account | None:
        """One account or None."""
        async with reading(self._pool) as connection:
            row = await connection.fetchrow(SQL["get_account"], *self._place(tenant, id_))
        return None if row is None else Account(*row)

    async def list_accounts(self, tenant: int, owner: UUID, after: UUID, limit: int) -> list[Account]:
        """An owner's accounts in the order of their ids."""
        async with reading(self._pool) as connection:
            rows = await connection.fetch(SQL["list_accounts"], tenant, owner, after, limit)
        return [Account(*row) for row in rows]

    async def list_entries(self, tenant: int, account: UUID, after: int, limit: int) -> list[Record]:
        """The entries of versions above `after`, oldest first."""
        place = self._place(tenant, account)
        async with reading(self._pool) as connection:
            start = await connection.fetchval(SQL["start_at_version"], *place, after + limit)
            return await connection.fetch(
                SQL["walk_to_version"], tenant, account, start, self._shards, after + 1, limit
            )

    async def last_entry_before(self, tenant: int, account: UUID, instant: datetime) -> Record | None:
        """The last entry posted before an instant, None when there was none."""
        place = self._place(tenant, account)
        async with reading(self._pool) as connection:
            start = await connection.fetchval(SQL["start_at_instant"], *place, instant)
            return await connection.fetchrow(SQL["walk_to_instant"], tenant, account, start, self._shards, instant)

    async def get_transfer(self, tenant: int, id_: UUID) -> Record | None:
        """One transfer or None."""
        async with reading(self._pool) as connection:
            return await connection.fetchrow(SQL["get_transfer"], *self._place(tenant, id_))

    async def list_transfers_by_reference(self, tenant: int, reference: str, after: UUID, limit: int) -> list[Record]:
        """The transfers of a reference in the order of their ids."""
        async with reading(self._pool) as connection:
            return await connection.fetch(SQL["list_transfers_by_reference"], tenant, reference, after, limit)

    async def find_loan(self, tenant: int, id_: UUID) -> Loan | None:
        """One loan or None."""
        async with reading(self._pool) as connection:
            return (await self._store.find_loans(connection, [(tenant, id_)])).get((tenant, id_))

    async def list_loans(self, tenant: int, customer: UUID, after: UUID, limit: int) -> list[Loan]:
        """A customer's loans in the order of their ids."""
        shard = shard_of(customer, self._shards)
        async with reading(self._pool) as connection:
            rows = await connection.fetch(SQL["list_loans"], tenant, customer, shard, after, limit)
        return [Loan(**row) for row in rows]

    async def list_repayments(self, tenant: int, loan: UUID, limit: int) -> list[Repayment]:
        """A loan's repayments in business order."""
        async with reading(self._pool) as connection:
            rows = await connection.fetch(SQL["list_repayments"], *self._place(tenant, loan), limit)
        return [Repayment(**row) for row in rows]

    async def trial_balance(self, tenant: int) -> list[TrialBalanceLine]:
        """Counters summed by currency and code: sums may pass what one counter can hold."""
        async with reading(self._pool) as connection:
            rows = await connection.fetch(SQL["trial_balance"], tenant)
        return [
            TrialBalanceLine(
                currency=row["currency"],
                code=row["code"],
                accounts=row["accounts"],
                debits_posted=int(row["debits_posted"]),
                credits_posted=int(row["credits_posted"]),
                debits_pending=int(row["debits_pending"]),
                credits_pending=int(row["credits_pending"]),
            )
            for row in rows
        ]

    async def standings(
        self, tenant: int, currency: str, wanted: Sequence[tuple[UUID, UUID, datetime]]
    ) -> list[Record]:
        """For each (customer, control account, as of) what is owed and how it was repaid, in order."""
        async with reading(self._pool) as connection:
            return await connection.fetch(
                SQL["standings"],
                tenant,
                currency,
                list(range(len(wanted))),
                [shard_of(customer, self._shards) for customer, _, _ in wanted],
                [customer for customer, _, _ in wanted],
                [control for _, control, _ in wanted],
                [as_of for _, _, as_of in wanted],
            )

    def _place(self, tenant: int, id_: UUID) -> tuple[int, int, UUID]:
        return shard_of(id_, self._shards), tenant, id_
