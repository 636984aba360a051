"""How loans and repayments are told: in answers, and in their events."""

from amana.domain.book import Json
from amana.domain.events import utc_text
from amana.domain.lending import Loan, Repayment, business_date


def terms_data(loan: Loan) -> Json:
    """What was agreed."""
    return {
        "product": loan.product,
        "currency": loan.currency,
        "principal": loan.principal,
        "fee": loan.fee,
        "term_days": loan.term_days,
        "origin": loan.origin,
        "decision_id": None if loan.decision_id is None else str(loan.decision_id),
        "effective_at": utc_text(loan.effective_at),
        "effective_on": loan.effective_on.isoformat(),
        "due_on": loan.due_on.isoformat(),
    }


def loan_view(loan: Loan) -> Json:
    """A loan as the API shows it."""
    return {
        "id": str(loan.id),
        "customer": str(loan.customer),
        **terms_data(loan),
        "principal_outstanding": loan.principal_outstanding,
        "fee_outstanding": loan.fee_outstanding,
        "outstanding": loan.outstanding,
        "status": loan.status,
        "closed_at": None if loan.closed_at is None else utc_text(loan.closed_at),
        "booked_at": utc_text(loan.booked_at),
        "reversal": None if loan.reversal is None else str(loan.reversal),
        "reversed_at": None if loan.reversed_at is None else utc_text(loan.reversed_at),
    }


def repayment_data(repayment: Repayment) -> Json:
    """What came in, and how it was shared out."""
    return {
        "repayment": str(repayment.id),
        "amount": repayment.amount,
        "fee_part": repayment.fee_part,
        "principal_part": repayment.principal_part,
        "excess": repayment.excess,
        "inferred": repayment.inferred,
        "effective_at": utc_text(repayment.effective_at),
        "effective_on": business_date(repayment.effective_at).isoformat(),
    }


def repayment_view(repayment: Repayment, loan: Loan) -> Json:
    """A repayment as the API shows it, with what it left of its loan."""
    return {
        **repayment_data(repayment),
        "loan": str(loan.id),
        "loan_outstanding": loan.outstanding,
        "loan_status": loan.status,
        "reversed_by": None if repayment.reversed_by is None else str(repayment.reversed_by),
    }
