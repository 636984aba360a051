"""One method per SQL statement. Rows become domain values here and nowhere else."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from amana.domain.account import Account
from amana.domain.book import Answer, Asked, Json, StoredAnswer
from amana.domain.ids import shard_of
from amana.domain.lending import Loan, Repayment
from amana.domain.reasons import Reason
from amana.domain.transfer import Key, Posted, Transfer
from amana.infra.postgres import Connection, Record
from amana.infra.sql import load_queries
from amana.wire.transactions import TrialBalanceLine

SQL = load_queries("amana.transactions")
T = TypeVar("T")


class Store:
    """The statements of the `transactions` schema over a caller's connection."""

    def __init__(self, shards: int) -> None:
        self.shards = shards

    # Locks and reads of a batch

    async def lock_accounts(self, connection: Connection, keys: Iterable[Key]) -> dict[Key, Account]:
        """Locks in key order; absent accounts are simply not in the answer."""
        rows = await connection.fetch(SQL["lock_accounts"], *self._keys(keys))
        return {(row["tenant"], row["id"]): Account(**row) for row in rows}

    async def clock(self, connection: Connection) -> datetime:
        """The database's clock."""
        now = await connection.fetchval(SQL["clock"])
        assert isinstance(now, datetime)
        return now

    async def find_answers(self, connection: Connection, keys: Iterable[Key]) -> dict[Key, StoredAnswer]:
        """What is kept under these ids."""
        rows = await connection.fetch(SQL["find_answers"], *self._keys(keys))
        return {(row["tenant"], row["id"]): _answer(row) for row in rows}

    async def find_transfers(self, connection: Connection, keys: Iterable[Key]) -> dict[Key, Transfer]:
        """Stored transfers."""
        rows = await connection.fetch(SQL["find_transfers"], *self._keys(keys))
        return {(row["tenant"], row["id"]): Transfer(**row) for row in rows}

    async def find_reversed_amounts(self, connection: Connection, keys: Iterable[Key]) -> dict[Key, int]:
        """Sums of reversals by original."""
        rows = await connection.fetch(SQL["find_reversed_amounts"], *self._keys(keys))
        return {(row["tenant"], row["id"]): row["amount"] for row in rows}

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
    ) -> dict[Key, UUID]:
        """The loans that these (tenant, offer, customer) were booked as; a loan lives in its customer's shard."""
        wanted = sorted(offers)
        rows = await connection.fetch(
            SQL["find_offers_used"],
            [shard_of(customer, self.shards) for _, _, customer in wanted],
            [tenant for tenant, _, _ in wanted],
            [offer for _, offer, _ in wanted],
        )
        return {(row["tenant"], row["id"]): row["loan"] for row in rows}

    # Writes of a batch

    async def insert_accounts(self, connection: Connection, accounts: Sequence[Account]) -> None:
        """Opens accounts. A second one of the same id is a unique violation, and the batch is run again."""
        await connection.execute(
            SQL["insert_accounts"],
            *_columns(
                [
                    (
                        *self._place(a.tenant, a.id),
                        a.owner,
                        a.currency,
                        a.code,
                        a.normal_side,
                        a.credit_limit,
                        a.status,
                        a.debits_pending,
                        a.debits_posted,
                        a.credits_pending,
                        a.credits_posted,
                        a.version,
                        a.revision,
                        a.opened_at,
                        a.last_posted_at,
                    )
                    for a in accounts
                ]
            ),
        )

    async def update_accounts(self, connection: Connection, accounts: Sequence[Account]) -> None:
        """Writes counters and limits of locked accounts."""
        await connection.execute(
            SQL["update_accounts"],
            *_columns(
                [
                    (
                        *self._place(a.tenant, a.id),
                        a.credit_limit,
                        a.debits_pending,
                        a.debits_posted,
                        a.credits_pending,
                        a.credits_posted,
                        a.version,
                        a.revision,
                        a.last_posted_at,
                    )
                    for a in accounts
                ]
            ),
        )

    async def insert_transfers(self, connection: Connection, posted: Sequence[Posted]) -> None:
        """Transfers and both of their entries: two statements."""
        rows = []
        entries = []
        for item in posted:
            t = item.transfer
            rows.append(
                (
                    *self._place(t.tenant, t.id),
                    t.debit_account,
                    t.credit_account,
                    t.amount,
                    t.currency,
                    t.code,
                    t.effective_on,
                    item.posted_at,
                    t.reverses,
                    t.command,
                )
            )
            for side, account, after in (
                ("debit", t.debit_account, item.debit),
                ("credit", t.credit_account, item.credit),
            ):
                entries.append(
                    (
                        *self._place(t.tenant, account),
                        after.version,
                        t.id,
                        side,
                        t.amount,
                        after.debits_posted,
                        after.credits_posted,
                        item.posted_at,
                        t.effective_on,
                    )
                )
        await connection.execute(SQL["insert_transfers"], *_columns(rows))
        await connection.execute(SQL["insert_entries"], *_columns(entries))

    async def insert_answers(
        self, connection: Connection, answers: Sequence[tuple[Asked, Answer]], now: datetime
    ) -> None:
        """Keeps answers under their ids."""
        await connection.execute(
            SQL["insert_answers"],
            *_columns(
                [
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
            ),
        )

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
                    )
                    for x in loans
                ]
            ),
        )

    async def update_loans(self, connection: Connection, loans: Sequence[Loan]) -> None:
        """What is left of loans after repayments and reversals."""
        rows = [(*self._place(x.tenant, x.id), x.principal_paid, x.fee_paid, x.closed_at, x.version) for x in loans]
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

    # Reads of the API

    async def get_account(self, connection: Connection, tenant: int, id_: UUID) -> Account | None:
        """One account or None."""
        row = await connection.fetchrow(SQL["get_account"], *self._place(tenant, id_))
        return None if row is None else Account(**row)

    async def list_accounts(
        self, connection: Connection, tenant: int, owner: UUID, after: UUID, limit: int
    ) -> list[Account]:
        """An owner's accounts in the order of their ids."""
        rows = await connection.fetch(SQL["list_accounts"], tenant, owner, after, limit)
        return [Account(**row) for row in rows]

    async def list_entries(
        self, connection: Connection, tenant: int, account: UUID, after: int, limit: int
    ) -> list[Record]:
        """A page of entries, oldest first."""
        return await connection.fetch(SQL["list_entries"], *self._place(tenant, account), after, limit)

    async def get_transfer(self, connection: Connection, tenant: int, id_: UUID) -> Record | None:
        """One transfer or None."""
        return await connection.fetchrow(SQL["get_transfer"], *self._place(tenant, id_))

    async def list_loans(
        self, connection: Connection, tenant: int, customer: UUID, after: UUID, limit: int
    ) -> list[Loan]:
        """A customer's loans in the order of their ids."""
        shard = shard_of(customer, self.shards)
        rows = await connection.fetch(SQL["list_loans"], tenant, customer, shard, after, limit)
        return [Loan(**row) for row in rows]

    async def list_repayments(self, connection: Connection, tenant: int, loan: UUID, limit: int) -> list[Repayment]:
        """A loan's repayments in business order."""
        rows = await connection.fetch(SQL["list_repayments"], *self._place(tenant, loan), limit)
        return [Repayment(**row) for row in rows]

    async def trial_balance(self, connection: Connection, tenant: int) -> list[TrialBalanceLine]:
        """Counters summed by currency and code: sums may pass what one counter can hold."""
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
        self,
        connection: Connection,
        tenant: int,
        currency: str,
        wanted: Sequence[tuple[UUID, UUID, datetime]],
    ) -> list[Record]:
        """For each (customer, control account, as of) what is owed and how it was repaid, in order."""
        return await connection.fetch(
            SQL["standings"],
            tenant,
            currency,
            list(range(len(wanted))),
            [shard_of(customer, self.shards) for customer, _, _ in wanted],
            [customer for customer, _, _ in wanted],
            [control for _, control, _ in wanted],
            [as_of for _, _, as_of in wanted],
        )

    def _place(self, tenant: int, id_: UUID) -> tuple[int, int, UUID]:
        return shard_of(id_, self.shards), tenant, id_

    def _keys(self, keys: Iterable[Key]) -> tuple[list[int], list[int], list[UUID]]:
        wanted = list(keys)
        return (
            [shard_of(id_, self.shards) for _, id_ in wanted],
            [tenant for tenant, _ in wanted],
            [id_ for _, id_ in wanted],
        )


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
