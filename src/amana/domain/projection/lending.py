"""Loans, repayments and exposures: what is paid is summed again, and held against what each event says is owed."""

from uuid import UUID

from amana.domain.account import AccountCode
from amana.domain.ids import shard_of
from amana.domain.projection.exposures import ExposureRow, limit, owe
from amana.domain.projection.reversals import Closed
from amana.domain.projection.rows import LoanRow, RepaymentRow, WithdrawnRow
from amana.domain.projection.state import Needs, State
from amana.domain.projection.told import Booked, Bounded, Opened, Repaid, Settled, Told, Undone


def needs_opened(told: Told[Opened], _state: State) -> Needs:
    """The owner's exposure, where it is their control account."""
    if told.data.code == AccountCode.EXPOSURE:
        yield "exposures", (told.tenant, told.data.owner, told.data.currency)


def open_line(state: State, told: Told[Opened], position: int | None) -> None:
    """A customer's control account: from now on they have an exposure."""
    data = told.data
    if data.code == AccountCode.EXPOSURE:
        exposure = _exposure(state, told.tenant, data.owner, data.currency)
        limit(exposure, data.credit_limit)
        exposure.position = position


def needs_line(told: Told[Bounded], _state: State) -> Needs:
    """The customer's exposure, where it is a credit line."""
    if told.data.customer is not None:
        yield "exposures", (told.tenant, told.data.customer, told.data.currency)


def set_line(state: State, told: Told[Bounded], position: int | None) -> None:
    """What a customer may owe."""
    if told.data.customer is not None:
        exposure = _exposure(state, told.tenant, told.data.customer, told.data.currency)
        limit(exposure, told.data.to)
        exposure.position = position


def needs_booked(told: Told[Booked], _state: State) -> Needs:
    """The loan and its customer's exposure."""
    yield "loans", (told.tenant, told.data.loan)
    yield "exposures", (told.tenant, told.data.customer, told.data.currency)


def book(state: State, told: Told[Booked], position: int | None) -> None:
    """A loan that was not there before."""
    data, key = told.data, (told.tenant, told.data.loan)
    if key in state.loans:
        state.object_to(position, f"loan {data.loan}", "booked already", "booked")
        return
    loan = state.loans[key] = LoanRow(
        told.tenant,
        data.loan,
        shard_of(data.loan, state.shards),
        data.customer,
        data.product,
        data.currency,
        data.principal,
        data.fee,
        data.term_days,
        data.due_on,
        data.origin,
        data.decision_id,
        data.effective_at,
        told.occurred_at,
    )
    _owes(state, loan, 0, data.outstanding, position)


def needs_repaid(told: Told[Repaid], state: State) -> Needs:
    """The loan and the repayment and, once the loan is known, its customer's exposure."""
    yield "loans", (told.tenant, told.data.loan)
    yield "repayments", (told.tenant, told.data.repayment)
    loan = state.loans.get((told.tenant, told.data.loan))
    if loan is not None:
        yield "exposures", (told.tenant, loan.customer, loan.currency)


def repay(state: State, told: Told[Repaid], position: int | None) -> None:
    """Money came in for a loan."""
    data = told.data
    loan = _loan(state, told.tenant, data.loan, position)
    if loan is None:
        return
    before = loan.outstanding
    loan.fee_paid += data.fee_part
    loan.principal_paid += data.principal_part
    loan.version = told.aggregate.version
    state.repayments[told.tenant, data.repayment] = RepaymentRow(
        told.tenant,
        data.repayment,
        shard_of(data.repayment, state.shards),
        data.loan,
        data.amount,
        data.fee_part,
        data.principal_part,
        data.excess,
        data.inferred,
        data.effective_at,
        told.occurred_at,
        position=position,
    )
    _owes(state, loan, before, data.outstanding, position)


def take_back(state: State, told: Told[Repaid], position: int | None) -> None:
    """A repayment was taken back: the loan owes it again, and is open."""
    data = told.data
    loan = _loan(state, told.tenant, data.loan, position)
    if loan is None:
        return
    before = loan.outstanding
    loan.fee_paid -= data.fee_part
    loan.principal_paid -= data.principal_part
    loan.version = told.aggregate.version
    if loan.outstanding:
        loan.closed_at = None
    repayment = state.repayments.get((told.tenant, data.repayment))
    if repayment is None:
        state.object_to(position, f"repayment {data.repayment}", "never received", "taken back")
    else:
        repayment.reversed_by, repayment.reversal_effective_at = data.reversal, data.effective_at
        repayment.position = position
    _owes(state, loan, before, data.outstanding, position)


def needs_settled(told: Told[Settled], _state: State) -> Needs:
    """The loan."""
    yield "loans", (told.tenant, told.data.loan)


def close(state: State, told: Told[Settled], position: int | None) -> None:
    """Nothing is left of a loan."""
    loan = _loan(state, told.tenant, told.data.loan, position)
    if loan is not None:
        loan.closed_at, loan.version, loan.position = told.data.effective_at, told.aggregate.version, position


def needs_undone(told: Told[Undone], state: State) -> Needs:
    """The loan, its repayments that go back and, once it is known, its customer's exposure."""
    yield "loans", (told.tenant, told.data.loan)
    for repayment in told.data.repayments:
        yield "repayments", (told.tenant, repayment)
    loan = state.loans.get((told.tenant, told.data.loan))
    if loan is not None:
        yield "exposures", (told.tenant, loan.customer, loan.currency)


def begin_reversal(state: State, told: Told[Undone], position: int | None) -> None:
    """A loan is to be undone."""
    _set_reversal(state, told, told.data.reversal, position)


def abandon_reversal(state: State, told: Told[Undone], position: int | None) -> None:
    """A loan is not undone after all."""
    _set_reversal(state, told, None, position)


def _set_reversal(state: State, told: Told[Undone], reversal: UUID | None, position: int | None) -> None:
    loan = _loan(state, told.tenant, told.data.loan, position)
    if loan is not None:
        loan.reversal, loan.version, loan.position = reversal, told.aggregate.version, position


def undo(state: State, told: Told[Undone], position: int | None) -> None:
    """All money of a loan went back, its repayments with it."""
    data = told.data
    loan = _loan(state, told.tenant, data.loan, position)
    if loan is None:
        return
    before = loan.outstanding
    for id_ in data.repayments:
        repayment = state.repayments.get((told.tenant, id_))
        if repayment is None:
            state.object_to(position, f"repayment {id_}", "never received", "taken back")
        else:
            repayment.reversed_by, repayment.reversal_effective_at = data.reversed_by, data.effective_at
            repayment.position = position
            loan.fee_paid -= repayment.fee_part
            loan.principal_paid -= repayment.principal_part
    loan.closed_at, loan.version = None, told.aggregate.version
    loan.reversed_by, loan.reversed_at = data.reversed_by, data.effective_at
    _owes(state, loan, before, data.outstanding, position)


def close_offer(state: State, told: Told[Closed], position: int | None) -> None:
    """An offer that is never booked; written once."""
    data = told.data
    shard = shard_of(data.customer, state.shards)
    row = WithdrawnRow(told.tenant, data.offer, shard, data.reversal, told.occurred_at, position)
    state.withdrawn_offers.append(row)


def _owes(state: State, loan: LoanRow, before: int, told: int, position: int | None) -> None:
    """Holds what the loan comes to against what was told, and moves the exposure by what was."""
    if loan.outstanding != told:
        state.object_to(position, f"loan {loan.id}", f"{loan.outstanding} outstanding", f"{told} outstanding")
    loan.position = position
    exposure = _exposure(state, loan.tenant, loan.customer, loan.currency)
    owe(exposure, before, told)
    exposure.position = position


def _exposure(state: State, tenant: int, customer: UUID, currency: str) -> ExposureRow:
    key = tenant, customer, currency
    found = state.exposures.get(key)
    if found is None:
        found = state.exposures[key] = ExposureRow(*key)
    return found


def _loan(state: State, tenant: int, id_: UUID, position: int | None) -> LoanRow | None:
    loan = state.loans.get((tenant, id_))
    if loan is None:
        state.object_to(position, f"loan {id_}", "never booked", "changed")
    return loan
