"""The service as a history sees it: two processes' worth of flows on one database, and what can be read afterwards."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
from tests.property.commands import command_of
from tests.property.model import Request

from amana.domain.book import Answer
from amana.infra.postgres import Pool, Record, open_pool, reading
from amana.infra.settings import Settings
from amana.operate import reconcile
from amana.transactions.flow import Flow
from amana.transactions.reads import Reads
from amana.transactions.store import Store
from amana.transactions.work import ExpireHolds
from amana.vault.vault import Vault

FLOWS = 2
OVERDUE_MAX = 100_000
Unit = Sequence[Sequence[Request]]
"""What one request carries: groups in their order."""


class World:
    """Opened with `open`; every history takes a tenant of its own from `new_tenant`."""

    def __init__(
        self, shards: int, batches: Pool, pool: Pool, vault: Vault, owner: "asyncpg.Connection[Record]"
    ) -> None:
        self.shards = shards
        self.store = Store(shards)
        self.flows = [Flow(batches, self.store, vault) for _ in range(FLOWS)]
        self.reads = Reads(pool, shards, vault)
        self.words: set[str] = set()
        """What a difference that reconciliation finds would name, if it were one of ours."""
        self._vault = vault
        self._batches = batches
        self._pool = pool
        self._owner = owner
        self._tenants = 10_000_000 + uuid4().int % 10_000_000

    @staticmethod
    async def open(settings: Settings, shards: int) -> "World":
        """A world on the servers of these settings."""
        url = settings.transactions_database_url
        batches = await open_pool(url, "transactions", 4, batches=True)
        pool = await open_pool(url, "transactions", 2)
        return World(
            shards, batches, pool, Vault.of_ledger(settings), await asyncpg.connect(settings.owner_database_url)
        )

    async def close(self) -> None:
        """Gives everything back."""
        await self._owner.close()
        await self._vault.close()
        await self._pool.close()
        await self._batches.close()

    def new_tenant(self) -> int:
        """One that no other history has."""
        self._tenants += 1
        self.words.add(str(self._tenants))
        return self._tenants

    async def race(self, tenant: int, units: Sequence[Unit], *, sweep: bool) -> list[list[Answer]]:
        """Sends all units at one moment, turn by turn to either process; `sweep` races with them."""
        if sweep:
            async with reading(self._pool) as connection:
                overdue = await self.store.list_overdue_holds(connection, OVERDUE_MAX)
            ours = [id_ for owner, id_ in overdue if owner == tenant]
        calls = [
            self.flows[at % FLOWS].submit([command_of(tenant, group) for group in unit])
            for at, unit in enumerate(units)
        ]
        if sweep and ours:
            calls.append(self.flows[len(calls) % FLOWS].submit([ExpireHolds(tenant, ours)]))
        return (await asyncio.gather(*calls))[: len(units)]

    async def backdate(self, tenant: int, hold: UUID) -> datetime | None:
        """Makes a hold's time be over since a second, whatever its time to live. None where it is none of ours."""
        row = await self._owner.fetchrow(
            "UPDATE transactions.holds SET expires_at = clock_timestamp() - interval '1 second'"
            " WHERE tenant = $1 AND id = $2 AND expires_at IS NOT NULL RETURNING expires_at",
            tenant,
            hold,
        )
        return None if row is None else row["expires_at"]

    async def events_after(self, tenant: int, seq: int) -> tuple[int, datetime, list[dict[str, Any]]]:
        """The place of the last event, the database's clock, and the tenant's events since a place, in their order."""
        now = await self._owner.fetchval("SELECT clock_timestamp()")
        rows = await self._owner.fetch(
            "SELECT seq, body FROM transactions.outbox WHERE tenant = $1 AND seq > $2 ORDER BY seq", tenant, seq
        )
        return (rows[-1]["seq"] if rows else seq), now, [msgspec.json.decode(row["body"]) for row in rows]

    async def last_event(self) -> int:
        """The place of the newest event of all."""
        seq: int = await self._owner.fetchval("SELECT coalesce(max(seq), 0) FROM transactions.outbox")
        return seq

    async def accounts(self, tenant: int) -> dict[UUID, dict[str, Any]]:
        """The rows of a tenant's accounts, as they are stored."""
        rows = await self._owner.fetch("SELECT * FROM transactions.accounts WHERE tenant = $1", tenant)
        return {row["id"]: dict(row) for row in rows}

    async def differences(self) -> list[str]:
        """What reconciliation says of these histories, check by check."""
        await self._owner.execute(reconcile.SQL["make_sealed"])
        found = [
            (check, dict(row)) for check in reconcile.CHECKS for row in await self._owner.fetch(reconcile.SQL[check])
        ]
        return [f"{check}: {row}" for check, row in found if self.words & set(row["subject"].replace(",", " ").split())]
