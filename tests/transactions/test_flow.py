"""Batches on real PostgreSQL: what is committed, what races, what the service's role may not do."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import UTC, date, datetime
from uuid import UUID, uuid4

import asyncpg
import pytest

from amana.domain.account import Account, exposure_account_id, principal_account_id
from amana.domain.book import Answer, Asked, Kind
from amana.domain.lending import Loan, LoanOrigin
from amana.domain.reasons import Reason
from amana.domain.transfer import Key, Transfer
from amana.infra.postgres import Connection, Pool, open_pool
from amana.infra.settings import Settings
from amana.transactions.flow import Flow
from amana.transactions.store import Store
from amana.transactions.work import BookLoan, Command, OpenAccount, PostGroup, Repay, ReverseTransfer, SetCreditLine

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


class Bank:
    """A flow, a tenant of its own, and short words for what a test does with them."""

    def __init__(self, pool: Pool, shards: int, tenant: int) -> None:
        self.pool, self.tenant, self.shards = pool, tenant, shards
        self.flow = Flow(pool, Store(shards))

    def asked(self, id_: UUID, kind: Kind, **fields: object) -> Asked:
        return Asked(self.tenant, id_, kind, fields, "tester", "")

    async def account(self, limit: int | None = None) -> UUID:
        id_ = uuid4()

        def build(now: datetime) -> Account:
            return Account(self.tenant, id_, id_, "NGN", "general", "debit", limit, now, now)

        await self.flow.submit([OpenAccount(self.asked(id_, Kind.ACCOUNT), build)])
        return id_

    def group(self, debit: UUID, credit: UUID, amount: int, id_: UUID | None = None) -> PostGroup:
        id_ = id_ or self.fitting(debit)
        fields = {"debit_account": str(debit), "credit_account": str(credit), "amount": amount, "currency": "NGN"}
        transfer = Transfer(self.tenant, id_, debit, credit, amount, "NGN", "transfer", date(2026, 3, 2))
        return PostGroup([(self.asked(id_, Kind.TRANSFER, **fields), transfer)])

    def fitting(self, beside: UUID) -> UUID:
        """A new id in the shard of another."""
        return UUID(int=(uuid4().int & ~0xFFF) | (beside.int & 0xFFF))

    async def post(self, *args: object) -> Answer:
        return (await self.flow.submit([self.group(*args)]))[0]  # type: ignore[arg-type]

    async def balance(self, account: UUID) -> int:
        async with self.pool.acquire() as connection:
            found = await self.flow.store.get_account(connection, self.tenant, account)
        assert found is not None
        return found.balance


@pytest.fixture(scope="module", params=[1, 8], ids=["one shard", "eight shards"])
async def pool_and_shards(settings: Settings, request: pytest.FixtureRequest) -> AsyncIterator[tuple[Pool, int]]:
    pool = await open_pool(settings.transactions_database_url, "transactions", 8)
    yield pool, request.param
    await pool.close()


@pytest.fixture
def bank(pool_and_shards: tuple[Pool, int]) -> Bank:
    return Bank(*pool_and_shards, tenant=1_000_000 + uuid4().int % 1_000_000)


async def test_a_transfer_is_there_with_both_entries_and_its_event(bank: Bank) -> None:
    till, income = await bank.account(), await bank.account()
    id_ = bank.fitting(till)
    assert (await bank.post(till, income, 250, id_)).reason is None
    async with bank.pool.acquire() as connection:
        entries = await bank.flow.store.list_entries(connection, bank.tenant, till, 0, 10)
        events = await connection.fetch(
            "SELECT type FROM outbox WHERE tenant = $1 AND aggregate_id = $2", bank.tenant, id_
        )
    assert [(entry["side"], entry["amount"], entry["debits_posted"]) for entry in entries] == [("debit", 250, 250)]
    assert [event["type"] for event in events] == ["TransferPosted"]


async def test_racing_callers_with_one_id_see_one_effect(bank: Bank) -> None:
    other = Flow(bank.pool, bank.flow.store)
    till, income = await bank.account(), await bank.account()
    command = bank.group(till, income, 10)
    answers = await asyncio.gather(*(flow.submit([command]) for flow in (bank.flow, other) for _ in range(10)))
    assert sorted(answer[0].replayed for answer in answers) == [False] + [True] * 19
    assert await bank.balance(till) == 10


async def test_racing_callers_with_one_id_and_other_accounts_see_one_effect(bank: Bank) -> None:
    other = Flow(bank.pool, bank.flow.store)
    till, drawer, income = await bank.account(), await bank.account(), await bank.account()
    id_ = bank.fitting(till)
    drawer_fits = bank.shards == 1 or (drawer.int & 0xFFF) * 8 // 4096 == (till.int & 0xFFF) * 8 // 4096
    first, second = await asyncio.gather(
        bank.flow.submit([bank.group(till, income, 10, id_)]),
        other.submit([bank.group(drawer, income, 10, id_)]),
    )
    reasons = [first[0].reason, second[0].reason]
    # Where the id does not fit the drawer's shard, the answer is that, unless the other one was there first.
    assert reasons in ([None, Reason.ID_CONFLICT], [Reason.ID_CONFLICT, None]) or (
        not drawer_fits and reasons == [None, Reason.ID_SHARD_MISMATCH]
    )
    assert await bank.balance(till) + await bank.balance(drawer) == 10


async def test_many_callers_on_one_limit_never_pass_it(bank: Bank) -> None:
    flows = [Flow(bank.pool, bank.flow.store) for _ in range(3)]
    limited, income = await bank.account(limit=1_000), await bank.account()
    answers = await asyncio.gather(*(flows[n % 3].submit([bank.group(limited, income, 7)]) for n in range(300)))
    assert sum(answer[0].reason is None for answer in answers) == 1_000 // 7
    assert await bank.balance(limited) == 1_000 // 7 * 7


async def test_crossing_transfers_do_not_lock_each_other_out(bank: Bank) -> None:
    flows = [Flow(bank.pool, bank.flow.store) for _ in range(4)]
    one, two = await bank.account(), await bank.account()
    groups = [bank.group(one, two, 1) if n % 2 else bank.group(two, one, 1) for n in range(200)]
    answers = await asyncio.gather(*(flows[n % 4].submit([group]) for n, group in enumerate(groups)))
    assert all(answer[0].reason is None for answer in answers)
    assert await bank.balance(one) == 0


async def test_an_id_that_does_not_fit_its_shard_is_refused_and_nothing_is_stored(bank: Bank) -> None:
    if bank.shards == 1:
        return  # every id fits
    till, income = await bank.account(), await bank.account()
    id_ = UUID(int=bank.fitting(till).int ^ 0x800)
    for _ in range(2):
        answer = await bank.post(till, income, 10, id_)
        assert (answer.reason, answer.replayed) == (Reason.ID_SHARD_MISMATCH, False)
    assert await bank.balance(till) == 0


def loan_for(bank: Bank, customer: UUID, offer: UUID | None = None) -> BookLoan:
    loan = Loan(
        bank.tenant,
        bank.fitting(customer),
        customer,
        "nano",
        "NGN",
        10_000,
        1_500,
        30,
        LoanOrigin.OFFER,
        offer or uuid4(),
        NOW,
        NOW,
    )
    return BookLoan(bank.asked(loan.id, Kind.LOAN, offer_id=str(loan.decision_id)), loan, 10**9, True)


async def credit_line(bank: Bank, limit: int) -> UUID:
    customer = uuid4()
    command = bank.asked(bank.fitting(customer), Kind.CREDIT_LINE)
    await bank.flow.submit([SetCreditLine(command, customer, "NGN", limit)])
    return customer


async def test_an_offer_raced_for_by_two_processes_is_booked_once(bank: Bank) -> None:
    other = Flow(bank.pool, bank.flow.store)
    customer, offer = await credit_line(bank, 10**6), uuid4()
    answers = await asyncio.gather(
        *(flow.submit([loan_for(bank, customer, offer)]) for flow in (bank.flow, other) for _ in range(5))
    )
    reasons = [answer[0].reason for answer in answers]
    assert reasons.count(None) == 1
    assert reasons.count(Reason.OFFER_USED) == 9
    assert await bank.balance(exposure_account_id(customer, "NGN")) == 11_500


async def test_loans_raced_for_never_pass_the_credit_limit(bank: Bank) -> None:
    other = Flow(bank.pool, bank.flow.store)
    customer = await credit_line(bank, 3 * 11_500 + 11_499)
    answers = await asyncio.gather(
        *(flow.submit([loan_for(bank, customer)]) for flow in (bank.flow, other) for _ in range(5))
    )
    assert sum(answer[0].reason is None for answer in answers) == 3
    assert await bank.balance(exposure_account_id(customer, "NGN")) == 3 * 11_500


async def test_a_loan_repaid_in_the_same_batch_is_closed(bank: Bank) -> None:
    customer = await credit_line(bank, 10**6)
    booking = loan_for(bank, customer)
    await bank.flow.submit([booking])
    repayments = [
        Repay(bank.asked(bank.fitting(customer), Kind.REPAYMENT, n=n), booking.loan.id, 5_750, False, NOW)
        for n in range(2)
    ]
    await asyncio.gather(*(bank.flow.submit([repayment]) for repayment in repayments))
    assert await bank.balance(principal_account_id(booking.loan.id)) == 0
    assert await bank.balance(exposure_account_id(customer, "NGN")) == 0


@pytest.mark.parametrize("table", ["transfers", "entries", "commands", "outbox"])
@pytest.mark.parametrize("change", ["UPDATE {} SET tenant = 0", "DELETE FROM {}", "TRUNCATE {}"])
async def test_what_is_written_once_can_not_be_changed_by_the_services_role(
    bank: Bank, table: str, change: str
) -> None:
    async with bank.pool.acquire() as connection:
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.RestrictViolationError)):
            await connection.execute(change.format(table))


@pytest.mark.parametrize("table", ["transfers", "entries", "commands", "outbox", "positions"])
async def test_nor_by_the_owner_by_mistake(settings: Settings, table: str) -> None:
    connection = await asyncpg.connect(settings.owner_database_url)
    try:
        with pytest.raises(asyncpg.RestrictViolationError):
            await connection.execute(f"DELETE FROM transactions.{table}")
    finally:
        await connection.close()


async def test_a_reversal_across_shards_is_bounded_by_its_original(bank: Bank) -> None:
    near = await bank.account()
    far_id = UUID(int=uuid4().int & ~0xFFF | (near.int & 0xFFF) ^ 0x800)

    def build(now: datetime) -> Account:
        return Account(bank.tenant, far_id, far_id, "NGN", "general", "debit", None, now, now)

    await bank.flow.submit([OpenAccount(bank.asked(far_id, Kind.ACCOUNT), build)])
    original = bank.fitting(near)
    await bank.post(near, far_id, 100, original)

    async def reverse(beside: UUID) -> Answer:
        asked = bank.asked(bank.fitting(beside), Kind.REVERSAL, reverses=str(original), command=None)
        return (await bank.flow.submit([ReverseTransfer(asked, original, None, date(2026, 3, 2))]))[0]

    assert (await reverse(original)).reason is None
    assert (await reverse(original)).reason is Reason.EXCEEDS_ORIGINAL
    if bank.shards > 1:
        assert (await reverse(far_id)).reason in {Reason.ID_SHARD_MISMATCH, Reason.EXCEEDS_ORIGINAL}
    assert await bank.balance(near) == 0


async def test_one_bad_unit_never_fails_its_neighbours(bank: Bank) -> None:
    till, income = await bank.account(), await bank.account()
    good = [bank.group(till, income, 1) for _ in range(20)]
    asked = bank.asked(uuid4(), Kind.ACCOUNT)

    def broken(now: datetime) -> Account:
        raise AssertionError("a bug")

    commands: list[Command] = [*good[:10], OpenAccount(asked, broken), *good[10:]]
    answers = await asyncio.gather(*(bank.flow.submit([one]) for one in commands), return_exceptions=True)
    assert [isinstance(answer, AssertionError) for answer in answers].count(True) == 1
    assert await bank.balance(till) == 20


class LateStore(Store):
    """A store in which `meanwhile` happens between the reads before and after the locks."""

    def __init__(self, shards: int, meanwhile: Callable[[], Awaitable[None]]) -> None:
        super().__init__(shards)
        self._meanwhile: Callable[[], Awaitable[None]] | None = meanwhile

    async def lock_accounts(self, connection: Connection, keys: Iterable[Key]) -> dict[Key, Account]:
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return await super().lock_accounts(connection, keys)


async def test_what_is_committed_just_before_the_locks_is_found_and_locked(bank: Bank) -> None:
    till, income = await bank.account(), await bank.account()
    original = bank.fitting(till)

    async def meanwhile() -> None:
        await bank.post(till, income, 100, original)

    asked = bank.asked(bank.fitting(till), Kind.REVERSAL, reverses=str(original), command=None)
    flow = Flow(bank.pool, LateStore(bank.shards, meanwhile))
    answer = (await flow.submit([ReverseTransfer(asked, original, None, date(2026, 3, 2))]))[0]
    assert answer.reason is None
    assert await bank.balance(till) == 0


async def test_a_list_too_long_to_share_a_batch_goes_alone(bank: Bank) -> None:
    till, income = await bank.account(), await bank.account()
    units = [[bank.group(till, income, 1) for _ in range(1_200)] for _ in range(3)]
    answers = await asyncio.gather(*(bank.flow.submit(unit) for unit in units))
    assert all(answer.reason is None for unit in answers for answer in unit)
    assert await bank.balance(till) == 3_600
