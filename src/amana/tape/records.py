"""One row's values → one record of the book, or what inside the row contradicts itself. Pure.

A field that the row does not have is simply missing from `values`; required ones are always there.
"""

import re
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from amana.domain.record import Employment
from amana.tape.book import TapeCustomer, TapeLoan, TapeRepayment, customer_id, loan_id, repayment_id
from amana.tape.mapping import Mapping

TERM_DAYS_MAX = 3_650
KYC_TIERS = range(1, 4)
EMPLOYMENTS = tuple(str(each) for each in Employment)
_PRODUCT = re.compile(r"[a-z][a-z0-9_-]{0,39}", re.ASCII)


class Contradiction(NamedTuple):
    """A field whose value can't be, a code of `amana.tape.report.CODES`, and words for people."""

    field: str
    code: str
    detail: str


def customer_from(values: dict[str, Any], mapping: Mapping) -> tuple[TapeCustomer, list[Contradiction]]:
    """The customer; a KYC tier that can't be gives way to the mapping's, an unknown employment to "not known"."""
    customer = TapeCustomer(
        id=customer_id(mapping.name, values["ref"]),
        ref=values["ref"],
        kyc_tier=values.get("kyc_tier", mapping.kyc_tier),
        birth_date=values.get("birth_date"),
        employment=values.get("employment"),
        monthly_income=values.get("monthly_income"),
        bank_code=values.get("bank_code"),
        phone=values.get("phone"),
    )
    wrong = []
    if customer.kyc_tier not in KYC_TIERS:
        wrong.append(Contradiction("kyc_tier", "out_of_range", f"{customer.kyc_tier} is not 1, 2 or 3"))
        customer = replace(customer, kyc_tier=mapping.kyc_tier)
    if customer.employment is not None and customer.employment not in EMPLOYMENTS:
        detail = f"{customer.employment!r} is none of {', '.join(EMPLOYMENTS)}"
        wrong.append(Contradiction("employment", "out_of_range", detail))
        customer = replace(customer, employment=None)
    return customer, wrong


def loan_from(values: dict[str, Any], mapping: Mapping) -> tuple[TapeLoan, list[Contradiction]]:
    """The loan, and why it can't be one: only a loan without contradictions may be used."""
    customer = customer_id(mapping.name, values["customer"])
    loan = TapeLoan(
        id=loan_id(customer, values["ref"]),
        ref=values["ref"],
        customer=customer,
        product=values["product"],
        requested=values.get("requested", values["principal"]),
        principal=values["principal"],
        fee=values["total_due"] - values["principal"],
        term_days=values["term_days"],
        applied_at=values["applied_at"],
        disbursed_at=values["disbursed_at"],
        first_repaid_at=values.get("first_repaid_at"),
        closed_at=values.get("closed_at"),
    )
    return loan, [*_terms_wrong(loan), *_times_wrong(loan)]


def repayment_from(values: dict[str, Any], loan: TapeLoan) -> tuple[TapeRepayment, list[Contradiction]]:
    """The repayment of `loan`, and why it can't be one."""
    repayment = TapeRepayment(
        id=repayment_id(loan.id, values["ref"]),
        ref=values["ref"],
        loan=loan.id,
        amount=values["amount"],
        paid_at=values["paid_at"],
        reversed_at=values.get("reversed_at"),
    )
    wrong = _order("paid_at", "repaid_before_disbursed", loan.disbursed_at, repayment.paid_at)
    wrong += _order("reversed_at", "reversed_before_paid", repayment.paid_at, repayment.reversed_at)
    return repayment, wrong


def _terms_wrong(loan: TapeLoan) -> list[Contradiction]:
    wrong = []
    if not _PRODUCT.fullmatch(loan.product):
        wrong.append(Contradiction("product", "out_of_range", f"{loan.product!r} is no name of a product"))
    if loan.fee < 0:
        detail = f"{loan.total_due} kobo due, {loan.principal} lent"
        wrong.append(Contradiction("total_due", "due_below_principal", detail))
    if not 1 <= loan.term_days <= TERM_DAYS_MAX:
        detail = f"{loan.term_days} days; from 1 to {TERM_DAYS_MAX} are possible"
        wrong.append(Contradiction("term_days", "out_of_range", detail))
    if loan.requested not in (loan.principal, loan.total_due):
        detail = f"{loan.requested} kobo is neither what was lent nor what was due"
        wrong.append(Contradiction("requested", "out_of_range", detail))
    return wrong


def _times_wrong(loan: TapeLoan) -> list[Contradiction]:
    return [
        *_order("disbursed_at", "disbursed_before_applied", loan.applied_at, loan.disbursed_at),
        *_order("first_repaid_at", "repaid_before_disbursed", loan.disbursed_at, loan.first_repaid_at),
        *_order("closed_at", "closed_before_disbursed", loan.disbursed_at, loan.closed_at),
        *_order("closed_at", "closed_before_repaid", loan.first_repaid_at, loan.closed_at),
    ]


def _order(field: str, code: str, earlier: datetime | None, later: datetime | None) -> list[Contradiction]:
    if earlier is None or later is None or earlier <= later:
        return []
    return [Contradiction(field, code, f"{later:%Y-%m-%d %H:%M:%S} UTC is before {earlier:%Y-%m-%d %H:%M:%S}")]
