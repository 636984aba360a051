"""The player: a book through the platform over HTTP, in the order in which it happened.

One customer's steps are strictly one after the other; different customers' steps overlap, at most `concurrency`
requests at a time, and at most `concurrency` x `LOOKAHEAD` steps are begun and not ended. Decisions are asked for as of
the application's instant, so they do not depend on how customers interleave. Every id is derived from the book's: a
replay that was interrupted can simply be run again, and running a finished one again changes nothing.

A loan that the policy approves is booked from its offer; any other is booked as `imported`, under an id of its own,
because a refusal stays with the id that it was given to.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import TypeAlias
from uuid import UUID

from amana.domain.ids import derived_id
from amana.domain.money import Currency
from amana.domain.reasons import Reason
from amana.domain.record import Employment
from amana.infra.http import HttpClient
from amana.tape.book import Book, TapeCustomer, TapeLoan, TapeRepayment
from amana.tape.client import Client, Decided, Refusal, Urls
from amana.tape.result import ERRORS_KEPT_MAX, ReplayResult, StepError, percentiles
from amana.tape.steps import Kind, Step, steps_of
from amana.wire.accounts import CreditLineRequest
from amana.wire.customers import CustomerFactsRequest
from amana.wire.eligibility import CheckRequest, GivenTerms
from amana.wire.loans import ImportedTerms, LoanRequest, RepaymentRequest, RepaymentReversalRequest

Progress: TypeAlias = Callable[[int, int], None]
"""Called after every step with (steps done, steps in all)."""

CONCURRENCY_DEFAULT = 64
LOOKAHEAD = 4
APPROVE = "approve"
OFFER_REFUSALS = frozenset({Reason.LIMIT_EXCEEDED, Reason.DECISION_CHANGED, Reason.OFFER_EXPIRED})
"""Why an offer may fail between its decision and its booking, in the ordinary course: the loan is imported then."""
TERMS_DIFFER = "terms_differ"
"""Approved, but at another price than the book's: the book's loan is imported."""


async def replay(
    book: Book,
    *,
    urls: Urls,
    key: str,
    concurrency: int = CONCURRENCY_DEFAULT,
    progress: Progress | None = None,
) -> ReplayResult:
    """Plays `book` with the API key `key`, which needs the scope `tape:import` beside those of the routes.

    Never raises for what the services answer: see `ReplayResult.errors` and `failed`.
    """
    begun = perf_counter()
    async with HttpClient(concurrency) as http:
        player = _Player(book, Client(http, urls, key), concurrency, progress or (lambda done, total: None))
        result = await player.run()
    result.seconds = perf_counter() - begun
    return result


class _Player:
    """One replay. A lane per customer who has steps waiting keeps those in order."""

    def __init__(self, book: Book, client: Client, concurrency: int, progress: Progress) -> None:
        self._currency = Currency(book.currency)
        self._steps = steps_of(book)
        self._client = client
        self._progress = progress
        self._slots = asyncio.Semaphore(concurrency)
        self._window = asyncio.Semaphore(concurrency * LOOKAHEAD)
        self._lanes: dict[UUID, deque[Step]] = {}
        self._decided: dict[UUID, Decided] = {}
        self._booked: dict[UUID, UUID] = {}
        self._owed: dict[UUID, int] = {}
        self._done = 0
        self._result = ReplayResult()

    async def run(self) -> ReplayResult:
        """Walks the steps in order; stops early when too many go wrong."""
        async with asyncio.TaskGroup() as group:
            for step in self._steps:
                await self._window.acquire()
                if self._result.errors_total >= ERRORS_KEPT_MAX:
                    break
                lane = self._lanes.get(step.customer)
                if lane is not None:
                    lane.append(step)
                    continue
                self._lanes[step.customer] = deque((step,))
                group.create_task(self._drain(step.customer))
        return self._summed_up()

    async def _drain(self, customer: UUID) -> None:
        lane = self._lanes[customer]
        while lane:
            step = lane.popleft()
            async with self._slots:
                await self._play(step)
            self._window.release()
            self._done += 1
            self._progress(self._done, len(self._steps))
        del self._lanes[customer]

    async def _play(self, step: Step) -> None:
        match step:
            case Step(kind=Kind.ENROL, enrolled=TapeCustomer() as customer):
                await self._enrol(step, customer)
            case Step(kind=Kind.APPLY, loan=TapeLoan() as loan):
                await self._apply(step, loan)
            case Step(kind=Kind.DISBURSE, loan=TapeLoan() as loan):
                await self._disburse(step, loan)
            case Step(kind=Kind.REPAY | Kind.REPAY_AT_ONCE, repayment=TapeRepayment() as repayment):
                await self._repay(step, repayment)
            case Step(kind=Kind.REVERSE | Kind.REVERSE_AT_ONCE, repayment=TapeRepayment() as repayment):
                await self._reverse(step, repayment)
            case _:
                raise AssertionError(f"a step without its object: {step}")

    async def _enrol(self, step: Step, customer: TapeCustomer) -> None:
        facts = CustomerFactsRequest(
            kyc_tier=customer.kyc_tier,
            birth_date=customer.birth_date,
            employment=None if customer.employment is None else Employment(customer.employment),
            monthly_income=customer.monthly_income,
            bank_code=customer.bank_code,
            phone=customer.phone,
        )
        if self._went_wrong(step, await self._client.put_customer(customer.id, facts)):
            return
        self._result.customers += 1
        if not step.credit_limit:
            return
        line = CreditLineRequest(
            id=derived_id(customer.id, f"credit-line/{self._currency}/{step.credit_limit}"),
            customer=customer.id,
            currency=self._currency,
            credit_limit=step.credit_limit,
        )
        self._went_wrong(step, await self._client.open_credit_line(line))

    async def _apply(self, step: Step, loan: TapeLoan) -> None:
        """Asks for a decision at the price that the book charged."""
        answer = await self._client.check(
            CheckRequest(
                id=derived_id(loan.id, "check"),
                customer=loan.customer,
                product=loan.product,
                amount=loan.requested,
                currency=self._currency,
                as_of=loan.applied_at,
                terms=GivenTerms(fee=loan.fee, term_days=loan.term_days),
            )
        )
        if isinstance(answer, Refusal):
            self._went_wrong(step, answer)
            return
        self._decided[loan.id] = answer
        self._result.decisions[answer.outcome] += 1
        self._result.reasons.update(reason.code for reason in answer.reasons)

    async def _disburse(self, step: Step, loan: TapeLoan) -> None:
        decided = self._decided.pop(loan.id, None)
        if decided is None:
            self._result.skipped += 1
            return
        if decided.outcome == APPROVE and await self._book_offer(step, loan, decided):
            return
        imported = LoanRequest(
            id=derived_id(loan.id, "imported"),
            imported=ImportedTerms(
                customer=loan.customer,
                product=loan.product,
                currency=self._currency,
                principal=loan.principal,
                fee=loan.fee,
                term_days=loan.term_days,
                decision_id=decided.decision_id,
            ),
            effective_at=loan.disbursed_at,
        )
        if not self._went_wrong(step, await self._client.book(imported)):
            self._result.imported += 1
            self._was_booked(loan, imported.id)

    async def _book_offer(self, step: Step, loan: TapeLoan, decided: Decided) -> bool:
        """Books the offer of an approved decision. False: it can't be used, and the loan must be imported."""
        if _terms(decided) != (loan.principal, loan.fee, loan.term_days):
            self._result.offers_not_booked[TERMS_DIFFER] += 1
            return False
        booking = LoanRequest(id=loan.id, offer_id=decided.decision_id, effective_at=loan.disbursed_at)
        answer = await self._client.book(booking)
        if isinstance(answer, Refusal) and answer.code in OFFER_REFUSALS:
            self._result.offers_not_booked[answer.code] += 1
            return False
        if not self._went_wrong(step, answer):
            self._result.booked_from_offer += 1
            self._was_booked(loan, loan.id)
        return True

    def _was_booked(self, loan: TapeLoan, booked: UUID) -> None:
        self._result.loans += 1
        self._booked[loan.id] = booked
        if loan.closed_at is not None:
            self._owed[loan.id] = loan.total_due

    async def _repay(self, step: Step, repayment: TapeRepayment) -> None:
        booked = self._booked.get(repayment.loan)
        if booked is None:
            self._result.skipped += 1
            return
        answer = await self._client.repay(
            booked,
            RepaymentRequest(
                id=repayment.id,
                amount=repayment.amount,
                inferred=repayment.inferred,
                effective_at=repayment.paid_at,
            ),
        )
        if isinstance(answer, Refusal):
            self._went_wrong(step, answer)
            return
        self._result.repayments += 1
        self._result.inferred += repayment.inferred
        self._owes(repayment.loan, answer.loan_outstanding)

    async def _reverse(self, step: Step, repayment: TapeRepayment) -> None:
        booked = self._booked.get(repayment.loan)
        if booked is None or repayment.reversed_at is None:
            self._result.skipped += 1
            return
        reversal = RepaymentReversalRequest(id=derived_id(repayment.id, "reversal"), effective_at=repayment.reversed_at)
        answer = await self._client.reverse(booked, repayment.id, reversal)
        if isinstance(answer, Refusal):
            self._went_wrong(step, answer)
            return
        self._result.reversals += 1
        self._owes(repayment.loan, answer.loan_outstanding)

    def _owes(self, loan: UUID, outstanding: int) -> None:
        if loan in self._owed:
            self._owed[loan] = outstanding

    def _went_wrong(self, step: Step, answer: object) -> bool:
        if not isinstance(answer, Refusal):
            return False
        error = StepError(step.kind.name.lower(), step.ref, answer.status, answer.code, answer.body)
        self._result.add_error(error)
        return True

    def _summed_up(self) -> ReplayResult:
        result = self._result
        result.steps, result.steps_done = len(self._steps), self._done
        result.outstanding_closed = sum(self._owed.values())
        result.retries = self._client.retries
        result.latency_ms = {name: percentiles(samples) for name, samples in self._client.latency_ms.items()}
        return result


def _terms(decided: Decided) -> tuple[int, int, int] | None:
    price = decided.price
    return None if price is None else (price.principal, price.fee, price.term_days)
