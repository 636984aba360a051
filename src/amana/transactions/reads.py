"""What the API reads: one method per question, each on a connection of its own, outside any transaction.

An account's history is a chain (see the migration), so a walk begins at the nearest mark and takes at most
`MARK_EVERY` steps more than the rows that it returns.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from amana.domain.account import Account
from amana.domain.ids import shard_of
from amana.domain.lending import Loan, Repayment
from amana.domain.transfer import NotesState
from amana.infra.postgres import Connection, Pool, Record, in_transaction, reading
from amana.transactions import undoing_store
from amana.transactions.note_reading import tell
from amana.transactions.note_store import SQL as NOTES
from amana.transactions.notes import reference_print
from amana.transactions.places import placed
from amana.transactions.store import SQL, Store
from amana.vault.vault import Vault
from amana.wire.accounts import TrialBalanceLine

SETTLED_AFTER_S = 5
"""How long before the database's clock an instant must lie for its entries to be there without a look at the locks.

A batch draws `posted_at` under the locks of its accounts and commits later. The server lets its transaction live 2 s
until the COMMIT begins (`transaction_timeout`); the rest is for the disk."""
RELEASED_LATE_MAX = 1_024
"""Movements of an account after an instant among which holds are looked for that were over by then and not released."""


class Standing(NamedTuple):
    """An account's counters as they stood at an instant; `version` is that of its last entry before it."""

    version: int = 0
    debits_pending: int = 0
    debits_posted: int = 0
    credits_pending: int = 0
    credits_posted: int = 0


class Page(NamedTuple):
    """Transfers in the order of their ids, and the id to go on after; None at the end."""

    transfers: list[dict[str, Any]]
    next: UUID | None


class Reads:
    """The questions of the API. Every method raises `DatabaseUnavailable`."""

    def __init__(self, pool: Pool, shards: int, vault: Vault) -> None:
        self._pool = pool
        self._vault = vault
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

    async def owners_of(self, tenant: int, accounts: Collection[UUID]) -> set[UUID]:
        """Whose these accounts are."""
        ids = sorted(accounts)
        shards = [shard_of(id_, self._shards) for id_ in ids]
        async with reading(self._pool) as connection:
            rows = await connection.fetch(SQL["owners_of"], tenant, shards, ids)
        return {row["owner"] for row in rows}

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

    async def now_settled(self, tenant: int, account: UUID, *instants: datetime) -> datetime:
        """The database's clock, once what the account did before any of these instants that is not later is committed.

        An instant that just went by waits for the batch that has the account in its hands, at most for the lock
        time-out. Every later batch draws a later `posted_at`: what stood at the instant never changes again.
        """
        async with reading(self._pool) as connection:
            now: datetime = await connection.fetchval(SQL["read_clock"])
        if any(now - timedelta(seconds=SETTLED_AFTER_S) < instant <= now for instant in instants):

            async def wait(connection: Connection) -> None:
                await connection.execute(SQL["wait_for_batch"], *self._place(tenant, account))

            await in_transaction(self._pool, wait)
        return now

    async def stood_at(self, tenant: int, account: UUID, instant: datetime) -> Standing:
        """An account as it stood just before an instant. What was held beyond its time counts no more.

        Exact also where such a hold was released after the instant or is not yet, and the same whenever it is asked;
        but a release that came more than `RELEASED_LATE_MAX` movements of the account after the instant is not found:
        until it, the hold counts as pending.
        """
        entry = await self.last_entry_before(tenant, account, instant)
        if entry is None:
            return Standing()
        standing = Standing(*(entry[name] for name in Standing._fields))
        if not standing.debits_pending and not standing.credits_pending:
            return standing
        until = standing.version + RELEASED_LATE_MAX
        async with reading(self._pool) as connection:
            held = await connection.fetchrow(
                SQL["find_held_beyond_time"],
                *self._place(tenant, account),
                instant,
                standing.version,
                until,
                self._shards,
            )
        assert held is not None, "sums are always there"
        return standing._replace(
            debits_pending=standing.debits_pending - held["debits"],
            credits_pending=standing.credits_pending - held["credits"],
        )

    async def get_transfer(self, tenant: int, id_: UUID, *, restricted: bool = False) -> dict[str, Any] | None:
        """One transfer, with what was said about it as `note_reading` tells; None where there is none."""
        async with reading(self._pool) as connection:
            row = await connection.fetchrow(SQL["show_transfers"], *placed([(tenant, id_)], self._shards))
        return None if row is None else (await tell(self._vault, tenant, [row], restricted=restricted))[0]

    async def list_transfers_by_reference(
        self, tenant: int, reference: str, after: UUID, limit: int, *, restricted: bool = False
    ) -> Page:
        """The transfers of a reference in the order of their ids. A reference that must not be used finds nothing: only
        with `restricted` those of customers who are to be erased."""
        hidden = reference_print(self._vault.file(), tenant, reference)
        async with reading(self._pool) as connection:
            statement = SQL["list_transfers_by_reference"]
            rows = await connection.fetch(statement, tenant, hidden, after, limit, reference)
        told = await tell(self._vault, tenant, rows, restricted=restricted)
        shown = [fields for fields in told if fields["notes"] not in (NotesState.RESTRICTED, NotesState.ERASED)]
        return Page(shown, rows[-1]["id"] if len(rows) == limit else None)

    async def list_noted_transfers(self, tenant: int, customer: UUID, after: UUID, limit: int) -> Page:
        """The transfers of a customer about which something was said, for a copy of all that is known of them. Raises
        `KeysUnavailable` where it can't be read."""
        async with reading(self._pool) as connection:
            ids = await connection.fetch(NOTES["list_noted_transfers"], tenant, customer, after, limit)
            keys = placed([(tenant, row["id"]) for row in ids], self._shards)
            rows = await connection.fetch(SQL["show_transfers"], *keys)
        told = await tell(self._vault, tenant, rows, restricted=True, whole=True)
        return Page(told, ids[-1]["id"] if len(ids) == limit else None)

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

    async def list_open_holds(self, tenant: int, about: UUID, customer: UUID | None = None) -> tuple[UUID, ...]:
        """The open holds whose reference is a loan's id; or an offer's, then with those of the loan it was booked as.

        An offer's loan is in the shard of its `customer`.
        """
        async with reading(self._pool) as connection:
            references = [about]
            if customer is not None:
                shard = shard_of(customer, self._shards)
                loan = await undoing_store.find_loan_of_offer(connection, tenant, about, shard)
                references += [] if loan is None else [loan]
            return await undoing_store.list_open_holds(connection, self._vault.file(), tenant, references)

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
