"""Writes a book as CSV in Amana's plain layout, which the mapping `amana` reads back to an equal book."""

import csv
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TypeAlias
from uuid import UUID

from amana.domain.events import utc_text
from amana.tape.book import Book

Cell: TypeAlias = str | int | date | datetime | None

CUSTOMER_COLUMNS = (
    "customer", "kyc_tier", "birth_date", "employment", "monthly_income_kobo", "bank_code", "phone",
)  # fmt: skip
LOAN_COLUMNS = (
    "loan", "customer", "product", "requested_kobo", "principal_kobo", "total_due_kobo", "term_days",
    "applied_at", "disbursed_at", "first_repaid_at", "closed_at",
)  # fmt: skip
REPAYMENT_COLUMNS = ("repayment", "loan", "amount_kobo", "paid_at", "reversed_at")


def write_book(book: Book, folder: Path) -> None:
    """Writes customers.csv, loans.csv and repayments.csv into `folder`, which is made. Replaces what is there.

    Inferred repayments are not written: the loans say when they were closed, and reading infers them again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    refs: dict[UUID, str] = {customer.id: customer.ref for customer in book.customers}
    refs |= {loan.id: loan.ref for loan in book.loans}
    _write(
        folder / "customers.csv",
        CUSTOMER_COLUMNS,
        (
            (c.ref, c.kyc_tier, c.birth_date, c.employment, c.monthly_income, c.bank_code, c.phone)
            for c in book.customers
        ),
    )
    _write(
        folder / "loans.csv",
        LOAN_COLUMNS,
        (
            (
                *(loan.ref, refs[loan.customer], loan.product, loan.requested, loan.principal, loan.total_due),
                *(loan.term_days, loan.applied_at, loan.disbursed_at, loan.first_repaid_at, loan.closed_at),
            )
            for loan in book.loans
        ),
    )
    _write(
        folder / "repayments.csv",
        REPAYMENT_COLUMNS,
        ((r.ref, refs[r.loan], r.amount, r.paid_at, r.reversed_at) for r in book.repayments if not r.inferred),
    )


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_text(cell) for cell in row] for row in rows)


def _text(cell: Cell) -> str:
    if cell is None:
        return ""
    return utc_text(cell) if isinstance(cell, datetime) else str(cell)
