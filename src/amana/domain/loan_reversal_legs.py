"""The transfers that undo a loan.

    exposure contra ← exposure          principal + fee     (the opposite of the booking,
    fee income      ← fee rec.          fee                  naming each of its transfers)
    funding         ← principal rec.    principal
    fee rec.        ← funding           fee part            (for each repayment that stands, the opposite
    principal rec.  ← funding           principal part       of what it paid off)
    exposure        ← exposure contra   fee + principal part
    funding         ← wallet            all that was paid   (it is the customer's again)
    wallet          ← funding           principal           (where the customer has it, by the policy)

Each line reads "debit ← credit". What was over of a repayment stands in the wallet already.
"""

from collections.abc import Sequence
from datetime import date
from uuid import UUID

from amana.domain.book import Asked, Book
from amana.domain.ids import derived_id
from amana.domain.lending import Loan, Repayment, booking_legs, loan_accounts, opposite, repayment_legs
from amana.domain.policy import LoanReversal, PrincipalFrom
from amana.domain.transfer import HoldState, Movement, Transfer

REPAID_LEGS = ("fee_repayment", "principal_repayment", "exposure_release")
RETURN_LEG, RECOVERY_LEG = "repayment_return", "principal_recovery"


def standing_repayments(book: Book, loan: Loan) -> list[Repayment]:
    """The repayments of a loan that were not taken back, in the order of their ids."""
    return sorted(
        (
            repayment
            for (tenant, _), repayment in book.repayments.items()
            if (tenant, repayment.loan) == (loan.tenant, loan.id) and repayment.reversed_by is None
        ),
        key=lambda repayment: repayment.id,
    )


def reversal_group(
    loan: Loan, repayments: Sequence[Repayment], terms: LoanReversal, command: UUID, on: date, shards: int
) -> list[Transfer]:
    """The linked group that undoes a loan.

    The ledger's bounds hold where money is taken from somebody: from fee income, and from the customer's wallet.
    """
    accounts = loan_accounts(loan.tenant, loan.id, loan.customer, loan.currency, shards)
    legs = [
        opposite(leg, derived_id(command, leg.code), command, on, limited=leg.code == "fee")
        for leg in booking_legs(loan, shards)
    ]
    for repayment in repayments:
        legs += [
            opposite(leg, derived_id(command, f"{leg.code}/{repayment.id}"), command, on)
            for leg in repayment_legs(loan, repayment, shards)
            if leg.code in REPAID_LEGS
        ]

    def more(code: str, debit: UUID, credit: UUID, amount: int, *, limited: bool) -> None:
        id_ = derived_id(command, code)
        legs.append(
            Transfer(
                loan.tenant, id_, debit, credit, amount, loan.currency, code, on, command=command, limit_applies=limited
            )
        )

    if returned := sum(repayment.fee_part + repayment.principal_part for repayment in repayments):
        more(RETURN_LEG, accounts.funding, accounts.wallet, returned, limited=False)
    if terms.principal_from is PrincipalFrom.WALLET:
        more(RECOVERY_LEG, accounts.wallet, accounts.funding, loan.principal, limited=True)
    return legs


def voids_of(book: Book, asked: Asked, holds: Sequence[UUID]) -> list[Transfer]:
    """What gives back the holds that are still open. An id follows from the hold's, so it lives beside it."""
    found = [book.holds.get((asked.tenant, id_)) for id_ in holds]
    return [
        Transfer(
            hold.tenant,
            derived_id(hold.id, f"void/{asked.id}"),
            hold.debit_account,
            hold.credit_account,
            hold.remaining,
            hold.currency,
            hold.code,
            book.today,
            Movement.VOID,
            original=hold.id,
            released=hold.remaining,
            command=asked.id,
            limit_applies=False,
        )
        for hold in found
        if hold is not None and hold.state == HoldState.OPEN
    ]
