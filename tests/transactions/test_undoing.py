"""Undoing loans in batches, on the real database: what races with it, what is sent twice, and what the books say."""

import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.transactions.conftest import Bank
from tests.transactions.test_loans import credit_line, loan_for

from amana.domain.account import exposure_account_id, wallet_account_id
from amana.domain.book import Answer, Kind
from amana.domain.ids import derived_id
from amana.domain.loan_reversal import Undoing
from amana.domain.policy import LoanReversal, OnRepaid, PrincipalFrom
from amana.domain.reasons import Reason
from amana.domain.transfer import Notes
from amana.infra.settings import Settings
from amana.operate.reconcile import SQL as RECONCILE
from amana.transactions.flow import Flow
from amana.transactions.undoing import AbandonReversal, ReverseLoan, WithdrawOffer
from amana.transactions.work import BookLoan, Repay

TERMS = LoanReversal(within_days=3_650, repaid=OnRepaid.RETURN, principal_from=PrincipalFrom.FUNDING)
CHECKS = (
    "trial_balance",
    "counters_and_entries",
    "loans_and_accounts",
    "loans_and_repayments",
    "exposure_and_loans",
    "contra_and_exposure",
    "reversals_and_originals",
    "loans_and_events",
    "transfers_and_events",
)


class Case:
    """A customer with an offer, booked or not, whose decision is reversed."""

    def __init__(self, bank: Bank, customer: UUID) -> None:
        self.bank, self.customer, self.offer, self.reversal = bank, customer, uuid4(), uuid4()
        self.booking = loan_for(bank, customer, self.offer)

    @property
    def loan(self) -> UUID:
        return self.booking.loan.id

    def withdraw(self, name: str = "", *holds: UUID) -> WithdrawOffer:
        wanted = Undoing(
            offer=self.offer,
            customer=self.customer,
            currency="NGN",
            reversal=self.reversal,
            terms=TERMS,
            kept=None,
            holds=holds,
        )
        id_ = derived_id(self.customer, f"withdraw{name}{self.reversal}")
        return WithdrawOffer(self.bank.asked(id_, Kind.OFFER_WITHDRAWAL, offer=str(self.offer)), wanted)

    def reverse(self, name: str = "") -> ReverseLoan:
        id_ = derived_id(self.customer, f"reverse{name}{self.reversal}")
        command = self.bank.asked(id_, Kind.LOAN_REVERSAL, loan=str(self.loan))
        return ReverseLoan(command, self.loan, self.reversal, TERMS, ())

    def repay(self, amount: int, id_: UUID | None = None) -> Repay:
        command = self.bank.asked(id_ or self.bank.fitting(self.customer), Kind.REPAYMENT, amount=amount)
        return Repay(command, self.loan, amount, False, None)

    async def balances(self) -> tuple[int, int]:
        """(exposure, wallet)."""
        ids = exposure_account_id(self.customer, "NGN"), wallet_account_id(self.customer, "NGN")
        return await self.bank.balance(ids[0]), await self.bank.balance(ids[1])


@pytest.fixture
async def case(bank: Bank) -> Case:
    return Case(bank, await credit_line(bank, 10**6))


async def assert_books_agree(settings: Settings, *about: object) -> None:
    """No difference names any of these."""
    connection = await asyncpg.connect(settings.owner_database_url)
    try:
        await connection.execute(RECONCILE["make_sealed"])
        for check in CHECKS:
            rows = [tuple(row) for row in await connection.fetch(RECONCILE[check])]
            named = [row for row in rows if any(str(id_) in row[0] for id_ in about)]
            assert not named, (check, named)
    finally:
        await connection.close()


async def test_a_loan_goes_back_with_its_money_and_says_so(case: Case, bank: Bank, settings: Settings) -> None:
    await bank.send(case.booking)
    await bank.send(case.repay(4_000))
    assert (await bank.send(case.withdraw())).result["outcome"] == "reversing"
    found = await bank.reads.find_loan(bank.tenant, case.loan)
    assert found is not None and (found.status, found.outstanding, found.reversal) == (
        "reversing", 7_500, case.reversal,
    )  # fmt: skip
    assert (await case.balances())[0] == 7_500, "the exposure is there until the money has moved"
    answer = await bank.send(case.reverse())
    assert (answer.reason, answer.result["returned"]) == (None, 4_000)
    assert await case.balances() == (0, 4_000)
    found = await bank.reads.find_loan(bank.tenant, case.loan)
    assert found is not None and (found.status, found.outstanding) == ("reversed", 0)
    moved = await bank.stored(
        "SELECT original FROM transfers WHERE tenant = $1 AND command = $2", case.reverse().asked.id
    )
    assert len(moved) == 3 + 2 + 1 + 1, "the booking, fee and principal repaid, their exposure, and the return"
    await assert_books_agree(settings, case.loan, case.customer, f"tenant {bank.tenant},")


async def test_what_is_sent_many_times_by_two_processes_is_done_once(
    case: Case, bank: Bank, settings: Settings
) -> None:
    flows = [bank.flow, bank.another_flow()]
    await bank.send(case.booking)
    await bank.send(case.repay(100))
    begun = await asyncio.gather(*(bank.send(case.withdraw(), flows[n % 2]) for n in range(6)))
    done = await asyncio.gather(*(bank.send(case.reverse(), flows[n % 2]) for n in range(6)))
    for answers in (begun, done):
        assert sorted(answer.replayed for answer in answers) == [False] + [True] * 5
        assert [answer.result for answer in answers] == [answers[0].result] * 6
    assert (await bank.events()).count("LoanReversed") == 1
    assert await case.balances() == (0, 100)
    other = await bank.send(case.reverse("again"))
    assert other.reason is Reason.ALREADY_REVERSED
    await assert_books_agree(settings, case.loan, case.customer)


@pytest.mark.parametrize("round_", range(4))
async def test_an_offer_is_booked_or_withdrawn_whatever_races(
    case: Case, bank: Bank, settings: Settings, round_: int
) -> None:
    flows: list[Flow] = [bank.flow, bank.another_flow()]
    commands: list[BookLoan | WithdrawOffer] = [case.booking, case.withdraw()]
    if round_ % 2:
        commands.reverse()
    answers = await asyncio.gather(*(bank.send(command, flows[n]) for n, command in enumerate(commands)))
    booked, withdrawn = (answers if not round_ % 2 else answers[::-1])[:2]
    if booked.reason is None:
        assert (withdrawn.result["outcome"], withdrawn.result["loan"]) == ("reversing", str(case.loan))
        assert (await bank.send(case.reverse())).reason is None
    else:
        assert (booked.reason, withdrawn.result["outcome"]) == (Reason.DECISION_REVERSED, "unbooked")
    assert await case.balances() == (0, 0)
    await assert_books_agree(settings, case.loan, case.customer)


async def test_a_withdrawal_that_meets_a_booking_in_one_batch_finds_its_loan(case: Case, bank: Bank) -> None:
    answers = await bank.flow.submit([case.booking, case.withdraw()])
    assert [answer.reason for answer in answers] == [None, None]
    found = await bank.reads.find_loan(bank.tenant, case.loan)
    assert found is not None and found.status == "reversing"


async def test_repayments_that_race_with_the_reversal_lose_nothing(case: Case, bank: Bank, settings: Settings) -> None:
    flows = [bank.flow, bank.another_flow()]
    await bank.send(case.booking)
    await bank.send(case.withdraw())

    async def pay(number: int) -> Answer:
        await asyncio.sleep(number * 0.002)
        return await bank.send(case.repay(100), flows[number % 2])

    *paid, reversed_ = await asyncio.gather(*(pay(n) for n in range(20)), bank.send(case.reverse(), flows[1]))
    assert [answer.reason for answer in (*paid, reversed_)] == [None] * 21
    assert await case.balances() == (0, 2_000)
    await assert_books_agree(settings, case.loan, case.customer)


async def test_an_abandoned_loan_is_owed_and_repaid_as_before(case: Case, bank: Bank, settings: Settings) -> None:
    await bank.send(case.booking)
    await bank.send(case.withdraw())
    command = bank.asked(bank.fitting(case.customer), Kind.LOAN_REVERSAL_ABANDONMENT)
    assert (await bank.send(AbandonReversal(command, case.loan, case.reversal))).result["status"] == "open"
    assert (await bank.send(case.reverse())).reason is Reason.LOAN_NOT_REVERSING
    await bank.send(case.repay(11_500))
    assert await case.balances() == (0, 0)
    await assert_books_agree(settings, case.loan, case.customer)


async def test_holds_that_name_the_loan_or_offer_are_voided_with_it(case: Case, bank: Bank) -> None:
    till, shop = await bank.account(), await bank.account(side="credit")
    await bank.send(case.booking)
    holds = []
    for reference in (case.loan, case.offer, uuid4()):
        hold = bank.hold(till, shop, 100, notes=Notes(str(reference), None, b"0123456789abcdef"))
        assert (await bank.send(hold)).reason is None
        holds.append(hold.orders[0].id)
    found = await bank.reads.list_open_holds(bank.tenant, case.offer, case.customer)
    assert set(found) == set(holds[:2])
    answer = await bank.send(case.withdraw("", *found))
    assert set(answer.result["voided"]) == {str(hold) for hold in holds[:2]}
    assert (await bank.get(till)).debits_pending == 100


async def test_standings_of_the_past_count_the_loan_until_it_was_undone(case: Case, bank: Bank) -> None:
    await bank.send(case.booking)
    await bank.send(case.repay(11_500))
    await bank.send(case.withdraw())
    await bank.send(case.reverse())
    loan = await bank.reads.find_loan(bank.tenant, case.loan)
    assert loan is not None and loan.reversed_at is not None
    control = exposure_account_id(case.customer, "NGN")
    later = loan.reversed_at.replace(year=loan.reversed_at.year + 1)
    wanted = [(case.customer, control, at) for at in (loan.reversed_at, later)]
    before, after = await bank.reads.standings(bank.tenant, "NGN", wanted)
    assert (before["loans_total"], before["loans_closed"], before["repaid_total"]) == (1, 1, 11_500)
    assert (after["loans_total"], after["owed"]) == (None, None)
