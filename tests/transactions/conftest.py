"""A bank on real PostgreSQL, with one ledger shard and with eight: a flow, a tenant of its own, and short words."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest

from amana.domain.account import Account, AccountCode
from amana.domain.account_commands import UNCHANGED, close, freeze, set_limits, unfreeze
from amana.domain.book import Answer, Asked, Kind
from amana.domain.order import Order
from amana.infra.postgres import Pool, Record, open_pool
from amana.infra.settings import Settings
from amana.transactions.account_work import ChangeAccount, OpenAccount
from amana.transactions.flow import Flow
from amana.transactions.reads import Reads
from amana.transactions.store import Store
from amana.transactions.work import Command, PostOrders
from amana.vault.vault import Vault

FAR = 0x800
"""Flipped in an id, this bit moves it to another of eight shards."""


class Pools(NamedTuple):
    """As the service has them: one that writes batches, one that reads; how many shards there are, and the keys."""

    batches: Pool
    reads: Pool
    shards: int
    vault: Vault


class Bank:
    """A tenant with a flow; every method that sends something takes ids, and makes those that it is not given."""

    def __init__(self, pools: Pools, tenant: int) -> None:
        self.pools, self.tenant, self.shards = pools, tenant, pools.shards
        self.flow = self.another_flow()
        self.reads = Reads(pools.reads, pools.shards, pools.vault)

    def another_flow(self, store: Store | None = None, vault: Vault | None = None) -> Flow:
        """What a second process would be: its own queues and batches on the same database."""
        return Flow(self.pools.batches, store or Store(self.shards), vault or self.pools.vault)

    def asked(self, id_: UUID, kind: Kind, **fields: object) -> Asked:
        """A command under an id."""
        return Asked(self.tenant, id_, kind, fields, "tester", "")

    async def account(
        self, limit: int | None = None, floor: int | None = None, side: str = "debit", id_: UUID | None = None
    ) -> UUID:
        """Opens an account."""
        id_ = id_ or uuid4()

        def build(now: datetime) -> Account:
            code = AccountCode.GENERAL
            return Account(self.tenant, id_, id_, "NGN", code, side, limit, now, floor=floor)

        await self.flow.submit([OpenAccount(self.asked(id_, Kind.ACCOUNT), build)])
        return id_

    def fitting(self, beside: UUID) -> UUID:
        """A new id in the shard of another."""
        return UUID(int=(uuid4().int & ~0xFFF) | (beside.int & 0xFFF))

    def far(self, from_: UUID) -> UUID:
        """A new id in another shard, where there are eight."""
        return UUID(int=self.fitting(from_).int ^ FAR)

    def order(self, kind: Kind, **fields: Any) -> Order:
        """One order."""
        beside = fields.get("original") or fields["debit_account"]
        fields.setdefault("id", self.fitting(beside))
        if "debit_account" in fields:
            fields = {"currency": "NGN", "code": "transfer"} | fields
        return Order(tenant=self.tenant, kind=kind, actor="tester", trace="", **fields)

    def post(self, debit: UUID, credit: UUID, amount: int, id_: UUID | None = None, **more: Any) -> PostOrders:
        """A transfer."""
        return self._moves(Kind.TRANSFER, debit, credit, amount, id_, more)

    def hold(self, debit: UUID, credit: UUID, amount: int, id_: UUID | None = None, **more: Any) -> PostOrders:
        """A hold."""
        return self._moves(Kind.HOLD, debit, credit, amount, id_, more)

    def _moves(
        self, kind: Kind, debit: UUID, credit: UUID, amount: int, id_: UUID | None, more: dict[str, Any]
    ) -> PostOrders:
        fields = {"debit_account": debit, "credit_account": credit, "amount": amount} | more
        return PostOrders([self.order(kind, **fields, id=id_ or self.fitting(debit))])

    def about(self, kind: Kind, original: UUID, amount: int | None = None, **more: Any) -> PostOrders:
        """A capture, void or reversal."""
        return PostOrders([self.order(kind, original=original, amount=amount, **more)])

    async def send(self, command: Command, flow: Flow | None = None) -> Answer:
        """One command alone."""
        return (await (flow or self.flow).submit([command]))[0]

    async def held(self, debit: UUID, credit: UUID, amount: int, ttl_s: int | None = None) -> UUID:
        """A hold that was placed."""
        command = self.hold(debit, credit, amount, ttl_s=ttl_s)
        assert (await self.send(command)).reason is None
        return command.orders[0].id

    async def change(self, account: UUID, kind: Kind, **terms: Any) -> Answer:
        """Changes an account."""
        changes: dict[Kind, Callable[..., Answer]] = {
            Kind.LIMIT: partial(set_limits, **{"credit_limit": UNCHANGED, "floor": UNCHANGED} | terms),
            Kind.FREEZE: partial(freeze, **terms),
            Kind.UNFREEZE: unfreeze,
            Kind.CLOSURE: close,
        }
        asked = self.asked(self.fitting(account), kind)
        return await self.send(ChangeAccount(asked, account, partial(changes[kind], account_id=account)))

    async def end_now(self, holds: Sequence[UUID]) -> None:
        """Makes the time of holds be over."""
        statement = "UPDATE holds SET expires_at = clock_timestamp() WHERE tenant = $1 AND id = ANY($2)"
        await self.pools.reads.execute(statement, self.tenant, holds)

    async def get(self, account: UUID) -> Account:
        """An account as the API shows it."""
        found = await self.reads.get_account(self.tenant, account)
        assert found is not None
        return found

    async def balance(self, account: UUID) -> int:
        """What stands on it."""
        return (await self.get(account)).balance

    async def stored(self, statement: str, *more: object) -> list[Record]:
        """Rows of this tenant, which is $1."""
        rows: list[Record] = await self.pools.reads.fetch(statement, self.tenant, *more)
        return rows

    async def events(self) -> list[str]:
        """The types of this tenant's events, but those of opened accounts."""
        rows = await self.stored("SELECT type FROM outbox WHERE tenant = $1 AND type <> 'AccountOpened' ORDER BY seq")
        return [row["type"] for row in rows]


@pytest.fixture(scope="session", params=[1, 8], ids=["one shard", "eight shards"])
async def pools(settings: Settings, request: pytest.FixtureRequest) -> AsyncIterator[Pools]:
    """The service's two pools."""
    url = settings.transactions_database_url
    batches = await open_pool(url, "transactions", 8, batches=True)
    reads = await open_pool(url, "transactions", 4)
    vault = Vault.of_ledger(settings)
    yield Pools(batches, reads, request.param, vault)
    await vault.close()
    await batches.close()
    await reads.close()


@pytest.fixture
def bank(pools: Pools) -> Bank:
    """A tenant that nobody else has."""
    return Bank(pools, tenant=1_000_000 + uuid4().int % 1_000_000_000)
