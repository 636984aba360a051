"""What the book does not say about repayments, and the one rule by which replay fills it in.

Many tapes say when a loan was first repaid and when it was closed, but no amounts. Then:

- first repayment and close within an hour: one repayment, of all that is owed, at the first repayment;
- otherwise a part at the first repayment and the rest at the close. The part is one instalment where the term is long
  enough for monthly instalments (60 or 90 days: owed / instalments), else half; rounded down to whole naira;
- a loan that is still open: only the part;
- a closed loan whose stated repayments fall short of what was owed: the rest, at the close.

Every such repayment is marked `inferred`.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from amana.tape.book import TapeLoan, TapeRepayment, repayment_id

ONE_REPAYMENT_WITHIN = timedelta(minutes=60)
INSTALMENT_DAYS = 30
INSTALMENTS_MIN = 2
NAIRA = 100


class Settled(NamedTuple):
    """How a loan stands after its repayments: kobo owed, the repayments that came when nothing was owed, and when it
    last moved."""

    owed: int
    idle: tuple[TapeRepayment, ...]
    last_at: datetime


def inferred_repayments(loan: TapeLoan, stated: Sequence[TapeRepayment]) -> list[TapeRepayment]:
    """The repayments that `loan` must have had besides the `stated` ones, by the rule above. Pure."""
    if stated:
        return _rest(loan, settle(loan, stated))
    first, closed = loan.first_repaid_at, loan.closed_at
    if first is None:
        return [_inferred(loan, "whole", loan.total_due, closed)] if closed else []
    if closed and closed - first <= ONE_REPAYMENT_WITHIN:
        return [_inferred(loan, "whole", loan.total_due, first)]
    part = first_part(loan)
    repayments = [_inferred(loan, "part", part, first)]
    if closed:
        repayments.append(_inferred(loan, "rest", loan.total_due - part, closed))
    return [repayment for repayment in repayments if repayment.amount]


def _rest(loan: TapeLoan, settled: Settled) -> list[TapeRepayment]:
    if loan.closed_at is None or not settled.owed:
        return []
    return [_inferred(loan, "rest", settled.owed, max(loan.closed_at, settled.last_at))]


def first_part(loan: TapeLoan) -> int:
    """What a first repayment that did not close the loan is taken to have been, kobo; less than all."""
    instalments = max(loan.term_days // INSTALMENT_DAYS, INSTALMENTS_MIN)
    part = loan.total_due // instalments
    return part - part % NAIRA or part


def settle(loan: TapeLoan, repayments: Sequence[TapeRepayment]) -> Settled:
    """What these repayments and their reversals, in order of time, leave owed on `loan`.

    What is paid beyond the debt is the customer's and does not lower it; reversing such a repayment restores only the
    part that did. A repayment that comes when nothing is owed is listed as idle and its reversal with it.
    """
    moves = [(each.paid_at, 0, each) for each in repayments]
    moves += [(each.reversed_at, 1, each) for each in repayments if each.reversed_at]
    owed, last_at = loan.total_due, loan.disbursed_at
    applied: dict[UUID, int] = {}
    idle = []
    for at, is_reversal, each in sorted(moves, key=_in_order):
        if is_reversal:
            owed += applied.get(each.id, 0)
        elif owed:
            applied[each.id] = min(each.amount, owed)
            owed -= applied[each.id]
        else:
            idle.append(each)
        last_at = max(last_at, at)
    return Settled(owed, tuple(idle), last_at)


def _in_order(move: tuple[datetime, int, TapeRepayment]) -> tuple[datetime, int, str]:
    return move[0], move[1], move[2].ref


def _inferred(loan: TapeLoan, label: str, amount: int, at: datetime) -> TapeRepayment:
    ref = f"{loan.ref}/{label}"
    return TapeRepayment(repayment_id(loan.id, ref), ref, loan.id, amount, at, inferred=True)
