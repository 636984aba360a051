"""A book as steps in the order in which it happened. Pure: the player only has to walk them.

The order is total and stable: by instant, then by kind, then by reference. At one and the same instant a repayment
comes before a request to borrow (the debt is paid before the next is asked for), except a repayment of the very loan
that is being paid out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from uuid import UUID

from amana.tape.book import Book, TapeCustomer, TapeLoan, TapeRepayment


class Kind(IntEnum):
    """What a step does, in the order of steps at one instant."""

    REPAY = 0
    REVERSE = 1
    ENROL = 2
    APPLY = 3
    DISBURSE = 4
    REPAY_AT_ONCE = 5
    REVERSE_AT_ONCE = 6


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to one customer. `loan` and `repayment` are there where the kind is about them.

    `credit_limit` (kobo, enrolment only) is 0 for a customer who never borrowed: they get no credit line.
    """

    at: datetime
    kind: Kind
    ref: str
    customer: UUID
    loan: TapeLoan | None = None
    repayment: TapeRepayment | None = None
    enrolled: TapeCustomer | None = None
    credit_limit: int = 0


BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
"""When customers are enrolled for whom the book has no loan: before everything else."""


def steps_of(book: Book) -> list[Step]:
    """Every step of `book`, in order. A customer is enrolled at their first application."""
    loans = {loan.id: loan for loan in book.loans}
    steps = [*_enrolments(book)]
    for loan in book.loans:
        steps.append(Step(loan.applied_at, Kind.APPLY, loan.ref, loan.customer, loan))
        steps.append(Step(loan.disbursed_at, Kind.DISBURSE, loan.ref, loan.customer, loan))
    for repayment in book.repayments:
        steps += _repayment_steps(repayment, loans[repayment.loan])
    steps.sort(key=_in_order)
    return steps


def _in_order(step: Step) -> tuple[datetime, Kind, str]:
    return step.at, step.kind, step.ref


def _enrolments(book: Book) -> Iterator[Step]:
    first: dict[UUID, datetime] = {}
    limits: dict[UUID, int] = {}
    for loan in book.loans:
        first[loan.customer] = min(loan.applied_at, first.get(loan.customer, loan.applied_at))
        limits[loan.customer] = max(book.credit_limit(loan.product), limits.get(loan.customer, 0))
    for customer in book.customers:
        at, limit = first.get(customer.id, BEGINNING), limits.get(customer.id, 0)
        yield Step(at, Kind.ENROL, customer.ref, customer.id, enrolled=customer, credit_limit=limit)


def _repayment_steps(repayment: TapeRepayment, loan: TapeLoan) -> Iterator[Step]:
    at_once = repayment.paid_at == loan.disbursed_at
    kind = Kind.REPAY_AT_ONCE if at_once else Kind.REPAY
    yield Step(repayment.paid_at, kind, repayment.ref, loan.customer, loan, repayment)
    if repayment.reversed_at is not None:
        kind = Kind.REVERSE_AT_ONCE if repayment.reversed_at == loan.disbursed_at else Kind.REVERSE
        yield Step(repayment.reversed_at, kind, repayment.ref, loan.customer, loan, repayment)
