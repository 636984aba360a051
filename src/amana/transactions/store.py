"""What a batch reads and writes: one method per SQL statement. Rows become domain values here and in `reads`."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import astuple

from amana.domain.account import Account
from amana.domain.book import Answer, Asked, Json, StoredAnswer
from amana.domain.ids import shard_of
from amana.domain.lending import Loan, Repayment
from amana.domain.reasons import Reason
from amana.domain.transfer import Hold, Key, Posted, Transfer
from amana.infra.arrays import integers, uuids
from amana.infra.postgres import Connection, Record
from amana.infra.sql import load_queries
from amana.transactions.places import placed

SQL = load_queries("amana.transactions")
MARK_EVERY = 128
"""Transfers of an account between two marks: the longest walk along its chain to any place in it."""
SIDE_COLUMNS = ("version", "previous", "debits_pending", "debits_posted", "credits_pending", "credits_posted")
TRANSFER_COLUMNS = (
    *("shard", "tenant", "id", "kind", "debit_account", "credit_account", "amount", "currency", "code"),
    *("effective_on", "posted_at", "original", "released", "command", "dated"),
    *(f"{side}_{column}" for side in ("debit", "credit") for column in SIDE_COLUMNS),
)


class Known(msgspec.Struct, frozen=True):
    """The database's clock, and which ids were used before."""

    now: datetime
    used: set[Key]


class Store:
    """The statements of the `transactions` schema over a caller's connection."""

    def __init__(self, shards: int) -> None:
        self.shards = shards

    # Locks and reads

    async def lock_accounts(self, connection: Connection, keys: Iterable[Key]) -> list[Record]:
        """Locks in key order, for `accounts_of`; absent accounts are simply not in the answer."""
        return await connection.fetch(SQL["lock_accounts"], *self._keys(keys))

    async def find_locked(self, connection: Connection, keys: Iterable[Key]) -> dict[Key, str]:
        """Of these accounts, those that other transactions have locked at this moment, and which transactions."""
        rows = await connection.fetch(SQL["find_locked"], *self._keys(keys))
        return {(row["tenant"], row["id"]): row["holder"] for row in rows}

    async def look_up_ids(self, connection: Connection, keys: Iterable[Key]) -> Known:
        """The clock after the locks, and what is known of these ids: almost always nothing."""
        wanted = list(keys)
        row = await connection.fetchrow(SQL["look_up_ids"], *self._keys(wanted))
        assert row is not None, "a SELECT without FROM has one row"
        now, used = row
        return Known(now, {wanted[place - 1] for place in used})

    async def find_answers(self, connection: Connection, keys: Iterable[Key]) -> dict[Key, StoredAnswer]:
        """What is kept under these ids."""
        rows = await connection.fetch(SQL["find_answers"], *self._keys(keys))
        return {(row["tenant"], row["id"]): _answer(row) for row in rows}

    async def find_transfers(self, connection: Connection, keys: Iterable[Key]) -> dict[Key, Transfer]:
        """Stored transfers."""
        rows = await connection.fetch(SQL["find_transfers"], *self._keys(keys))
        return {(row["tenant"], row["id"]): Transfer(*row) for row in rows}

    async def find_reversed_amounts(self, connection: Connection, keys: Iterable[Key]) -> dict[Key, int]:
        """Sums of reversals by original."""
        rows = await connection.fetch(SQL["find_reversed_amounts"], *self._keys(keys))
        return {(row["tenant"], row["id"]): row["amount"] for row in rows}

    async def find_holds(self, connection: Connection, keys: Iterable[Key]) -> dict[Key, Hold]:
        """Holds by id."""
        rows = await connection.fetch(SQL["find_holds"], *self._keys(keys))
        return {(row["tenant"], row["id"]): Hold(*row) for row in rows}

    async def find_overdue_holds(
        self, connection: Connection, accounts: Iterable[Key], now: datetime, limit: int
    ) -> dict[Key, Hold]:
        """Open holds on these accounts whose time was over at `now`; of each side of each account `limit` at most."""
        tenants, ids = zip(*accounts, strict=True)
        rows = await connection.fetch(SQL["find_overdue_holds"], tenants, ids, now, limit)
        return {(row["tenant"], row["id"]): Hold(*row) for row in rows}

    async def list_overdue_holds(self, connection: Connection, limit: int) -> list[Key]:
        """The keys of holds that the sweeper should release."""
        return [(row["tenant"], row["id"]) for row in await connection.fetch(SQL["list_overdue_holds"], limit)]

    async def find_loans(self, connection: Connection, keys: Iterable[Key]) -> dict[Key, Loan]:
        """Loans by id."""
        rows = await connection.fetch(SQL["find_loans"], *self._keys(keys))
        return {(row["tenant"], row["id"]): Loan(**row) for row in rows}

    async def find_repayments(self, connection: Connection, keys: Iterable[Key]) -> dict[Key, Repayment]:
        """Repayments by id."""
        rows = await connection.fetch(SQL["find_repayments"], *self._keys(keys))
        return {(row["tenant"], row["id"]): Repayment(**row) for row in rows}

    async def find_offers_used(
        self, connection: Connection, offers: Iterable[tuple[int, UUID, UUID]]
    ) -> dict[Key, UUID | None]:
        """What these (tenant, offer, customer) were booked as; None where it was withdrawn. Both live in the
        customer's shard."""
        wanted = sorted(offers)
        rows = await connection.fetch(
            SQL["find_offers_used"],
            [shard_of(customer, self.shards) for _, _, customer in wanted],
            [tenant for tenant, _, _ in wanted],
            [offer for _, offer, _ in wanted],
        )
        return {(row["tenant"], row["id"]): row["loan"] for row in rows}

    # Writes

    async def insert_accounts(self, connection: Connection, accounts: Sequence[Account], now: datetime) -> None:
        """Opens accounts at `now`. A second one of the same id is a unique violation, and the batch is run again."""
        rows = [
            (
                *self._place(a.tenant, a.id),
                a.owner,
                a.currency,
                a.code,
                a.normal_side,
                a.credit_limit,
                a.floor,
                a.status,
                a.frozen_for,
                a.debits_pending,
                a.debits_posted,
                a.credits_pending,
                a.credits_posted,
                a.version,
                a.last_transfer,
                a.revision,
                now,
                a.last_posted_at,
            )
            for a in accounts
        ]
        await connection.execute(SQL["insert_accounts"], *_columns(rows))

    async def write_ids_and_counters(
        self, connection: Connection, ids: Iterable[Key], accounts: Sequence[Account]
    ) -> None:
        """Takes ids, in key order, so that two batches never wait for each other in a circle, and writes the counters
        of locked accounts. An id that is taken is a unique violation, and the batch is run again. Nothing to write is
        no round trip."""
        used = sorted(ids)
        if not used and not accounts:
            return
        await connection.execute(
            SQL["write_ids_and_counters"],
            *self._keys(used),
            *self._keys((a.tenant, a.id) for a in accounts),
            integers([a.debits_pending for a in accounts]),
            integers([a.debits_posted for a in accounts]),
            integers([a.credits_pending for a in accounts]),
            integers([a.credits_posted for a in accounts]),
            integers([a.version for a in accounts]),
            uuids([a.last_transfer for a in accounts]),
            [a.last_posted_at for a in accounts],
        )

    async def update_account_terms(self, connection: Connection, accounts: Sequence[Account]) -> None:
        """Writes the bounds and states of locked accounts."""
        rows = [
            (*self._place(a.tenant, a.id), a.credit_limit, a.floor, a.status, a.frozen_for, a.revision)
            for a in accounts
        ]
        await connection.execute(SQL["update_account_terms"], *_columns(rows))

    def transfer_rows(self, posted: Sequence[Posted]) -> list[tuple[Any, ...]]:
        """The rows of transfers with both of their sides."""
        return [self._transfer_row(item) for item in posted]

    async def insert_transfers(
        self, connection: Connection, posted: Sequence[Posted], rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """Writes `transfer_rows` by COPY: a third less CPU than arrays. Marks where they fall."""
        await connection.copy_records_to_table("transfers", records=rows, columns=TRANSFER_COLUMNS)
        marks = [
            (*self._place(item.transfer.tenant, account), after.version, item.transfer.id, item.posted_at)
            for item in posted
            for account, after in (
                (item.transfer.debit_account, item.debit),
                (item.transfer.credit_account, item.credit),
            )
            if not after.version % MARK_EVERY
        ]
        if marks:
            await connection.execute(SQL["insert_marks"], *_columns(marks))

    def _transfer_row(self, item: Posted) -> tuple[Any, ...]:
        """In the order of `TRANSFER_COLUMNS`."""
        t, debit, credit = item.transfer, item.debit, item.credit
        return (
            shard_of(t.id, self.shards),
            t.tenant,
            t.id,
            t.kind,
            t.debit_account,
            t.credit_account,
            t.amount,
            t.currency,
            t.code,
            t.effective_on,
            item.posted_at,
            t.original,
            t.released,
            t.command,
            t.dated,
            *astuple(debit),
            *astuple(credit),
        )

    async def insert_holds(self, connection: Connection, holds: Sequence[Hold]) -> None:
        """New holds, as the batch left them."""
        rows = [
            (
                *self._place(h.tenant, h.id),
                h.debit_account,
                h.credit_account,
                h.amount,
                h.currency,
                h.code,
                h.ttl_s,
                h.expires_at,
                h.captured,
                h.state,
                h.version,
            )
            for h in holds
        ]
        await connection.execute(SQL["insert_holds"], *_columns(rows))

    async def update_holds(self, connection: Connection, holds: Sequence[Hold]) -> None:
        """What is left of holds."""
        rows = [(*self._place(h.tenant, h.id), h.captured, h.state, h.version) for h in holds]
        await connection.execute(SQL["update_holds"], *_columns(rows))

    async def insert_answers(
        self, connection: Connection, answers: Sequence[tuple[Asked, Answer]], now: datetime
    ) -> None:
        """Keeps answers under their ids."""
        rows = [
            (
                *self._place(asked.tenant, asked.id),
                asked.kind,
                _text(asked.request),
                answer.reason,
                _text(answer.result),
                now,
            )
            for asked, answer in answers
        ]
        await connection.execute(SQL["insert_answers"], *_columns(rows))

    async def insert_loans(self, connection: Connection, loans: Sequence[Loan]) -> None:
        """New loans, in their customer's shard (which is their own id's)."""
        await connection.execute(
            SQL["insert_loans"],
            *_columns(
                [
                    (
                        *self._place(x.tenant, x.id),
                        x.customer,
                        x.product,
                        x.currency,
                        x.principal,
                        x.fee,
                        x.term_days,
                        x.due_on,
                        x.origin,
                        x.decision_id,
                        x.effective_at,
                        x.booked_at,
                        x.principal_paid,
                        x.fee_paid,
                        x.closed_at,
                        x.version,
                        x.reversal,
                        x.reversed_by,
                        x.reversed_at,
                    )
                    for x in loans
                ]
            ),
        )

    async def update_loans(self, connection: Connection, loans: Sequence[Loan]) -> None:
        """What is left of loans after repayments and reversals."""
        rows = [
            (
                *self._place(x.tenant, x.id),
                *(x.principal_paid, x.fee_paid, x.closed_at, x.version),
                *(x.reversal, x.reversed_by, x.reversed_at),
            )
            for x in loans
        ]
        await connection.execute(SQL["update_loans"], *_columns(rows))

    async def insert_repayments(self, connection: Connection, repayments: Sequence[Repayment]) -> None:
        """New repayments; one that was taken back in the same batch is marked by `reverse_repayments` after."""
        await connection.execute(
            SQL["insert_repayments"],
            *_columns(
                [
                    (
                        *self._place(r.tenant, r.id),
                        r.loan,
                        r.amount,
                        r.fee_part,
                        r.principal_part,
                        r.excess,
                        r.inferred,
                        r.effective_at,
                        r.received_at,
                        None,
                        None,
                    )
                    for r in repayments
                ]
            ),
        )

    async def reverse_repayments(self, connection: Connection, reversals: Sequence[Repayment]) -> None:
        """Marks repayments as taken back, by whom and when it took effect."""
        rows = [(*self._place(r.tenant, r.id), r.reversed_by, r.effective_at) for r in reversals]
        await connection.execute(SQL["reverse_repayments"], *_columns(rows))

    def _place(self, tenant: int, id_: UUID) -> tuple[int, int, UUID]:
        return shard_of(id_, self.shards), tenant, id_

    def _keys(self, keys: Iterable[Key]) -> tuple[str, str, str]:
        return placed(keys, self.shards)


def accounts_of(rows: Iterable[Record]) -> dict[Key, Account]:
    """The accounts of `lock_accounts`."""
    return {(row[0], row[1]): Account(*row) for row in rows}


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows turned into one array per column."""
    return [list(column) for column in zip(*rows, strict=True)]


def _answer(row: Record) -> StoredAnswer:
    reason = None if row["reason"] is None else Reason(row["reason"])
    return StoredAnswer(row["kind"], _json(row["request"]), reason, _json(row["result"]))


def _json(text: str) -> Json:
    value: Json = msgspec.json.decode(text)
    return value


def _text(value: Json) -> str:
    return msgspec.json.encode(value).decode()
