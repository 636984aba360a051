"""The ground of a bench of the ledger: the transactions service, a lender, and accounts that are open."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from amana.bench.connection import LoadFailed
from amana.bench.generator import Plan, run_load
from amana.bench.movements import CURRENCY, Movements, account_ids
from amana.bench.site import SQL, Measured, Run, Site, differ, new_lender, open_stack, owner_pool
from amana.infra.http import HttpClient
from amana.infra.postgres import Pool, reading
from amana.infra.settings import Settings
from amana.operate.stack import Say, Stack

SCOPES = ("accounts:read", "accounts:write", "transfers:write")
SERVICE = "transactions"
LIST_MAX = 5_000
OPEN_TIMEOUT_MS = 60_000
CREDIT_LIMIT = 10**12
"""Kobo. On every account, so that the limit is checked for each transfer; no run comes near it."""
INVARIANTS = ("balances_not_zero", "counters_not_folded", "limits_broken")
STORED = "acknowledged_and_stored_differ"


class Ground(Site):
    """See the module. `accounts` are open; account 0 is the hot one."""

    def __init__(self, stack: Stack, pool: Pool, tenant: int, key: str, accounts: int, seed: int) -> None:
        super().__init__(stack, pool, tenant, key, SERVICE)
        self.accounts = accounts
        self.seed = seed
        self.invariants = dict.fromkeys((*INVARIANTS, STORED), 0)
        self.stored = 0
        self._opened_ms = time.time_ns() // 1_000_000
        self._stream = 0
        self._acknowledged = self._unsure = 0

    async def open_accounts(self) -> None:
        """Opens them through the API."""
        ids = account_ids(self.seed, self._opened_ms, self.accounts)
        headers = {"Authorization": f"Bearer {self.key}"}
        url = self.stack.urls[SERVICE] + "/v1/accounts"
        async with HttpClient() as http:
            for start in range(0, len(ids), LIST_MAX):
                items = [_account(id_) for id_ in ids[start : start + LIST_MAX]]
                body = msgspec.json.encode({"accounts": items})
                reply = await http.request("POST", url, body=body, headers=headers, timeout_ms=OPEN_TIMEOUT_MS)
                if reply.body.count(b'"status":"opened"') != len(items):
                    raise LoadFailed(f"accounts were not opened ({reply.status}): {reply.body[:300].decode()}")

    def plan(self, movements: Movements, connections: int, warm_s: float, seconds: float, **more: Any) -> Plan:
        """A run of `movements` against the service; `more` as in `Plan`."""
        return self.plan_at(self.stack.ports.transactions, movements, connections, warm_s, seconds, **more)

    def movements(self, **given: Any) -> Movements:
        """Transfers that were never sent before, among all accounts or those from `first` to `last`."""
        self._stream += 1
        asked = {"first": 0, "last": self.accounts} | given
        return Movements(
            seed=self.seed,
            stream=self._stream,
            opened_ms=self._opened_ms,
            began_ms=time.time_ns() // 1_000_000,
            accounts=self.accounts,
            **asked,
        )

    async def measure(
        self, *plans: Plan, progress: Callable[[int], None] = lambda _: None, run: Run = run_load
    ) -> list[Measured]:
        """As `Site.measure`; counts what was acknowledged."""
        measured = await super().measure(*plans, progress=progress, run=run)
        self._acknowledged += sum(one.result.accepted for one in measured)
        self._unsure += sum(one.result.unsure for one in measured)
        return measured

    async def check(self) -> dict[str, int]:
        """Checks the invariants now; how often each is broken. All checks are summed up in `invariants`."""
        await self.count()
        async with reading(self._pool) as connection:
            found = {name: await connection.fetchval(SQL[name], self.tenant) for name in INVARIANTS}
        found[STORED] = differ(self.stored, self._acknowledged, self._unsure)
        for name, count in found.items():
            self.invariants[name] += count
        return found

    async def count(self) -> None:
        """Looks how many transfers are `stored` now."""
        (row,) = await self.fetch("transfers_stored", self.tenant)
        self.stored = row["count"]


@asynccontextmanager
async def open_ground(
    given: Settings, accounts: int, seed: int, say: Say, data_dir: Path | None = None
) -> AsyncIterator[Ground]:
    """Starts everything and, at the end of the block, stops it; what is in no `data_dir` is removed."""
    async with open_stack(given, [SERVICE], say, data_dir) as stack, owner_pool(stack) as pool:
        ground = Ground(stack, pool, *await new_lender(stack, SCOPES), accounts, seed)
        say(f"Opening {accounts:,} accounts")
        await ground.open_accounts()
        yield ground


def _account(id_: str) -> dict[str, Any]:
    return {"id": id_, "owner": id_, "currency": CURRENCY, "normal_side": "debit", "credit_limit": CREDIT_LIMIT}
