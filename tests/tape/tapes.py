"""Small tapes for the tests: text in, book and report out."""

import os
from pathlib import Path

import pytest

from amana.tape.book import Book
from amana.tape.check import load_book
from amana.tape.report import CheckReport

CUSTOMERS = "customer,kyc_tier,birth_date,employment,monthly_income_kobo,bank_code\n"
LOANS = (
    "loan,customer,product,principal_kobo,total_due_kobo,term_days,applied_at,disbursed_at,first_repaid_at,closed_at\n"
)
REPAYMENTS = "repayment,loan,amount_kobo,paid_at,reversed_at\n"
GOOD_LOAN = "L1,C1,nano,1000000,1300000,30,2024-01-01T09:00:00Z,2024-01-01T09:01:00Z,,\n"


def plain(folder: Path, *, customers: str = "C1,2,,,,\n", loans: str = GOOD_LOAN, repayments: str = "") -> Path:
    """Writes the rows below the headers of Amana's plain layout."""
    (folder / "customers.csv").write_text(CUSTOMERS + customers)
    (folder / "loans.csv").write_text(LOANS + loans)
    (folder / "repayments.csv").write_text(REPAYMENTS + repayments)
    return folder


def load_plain(folder: Path, **rows: str) -> tuple[Book, CheckReport]:
    """Writes and reads such a tape."""
    return load_book(plain(folder, **rows), "amana")


def findings(report: CheckReport) -> list[str]:
    """`file:line disposition code column`, in order: what a test compares."""
    found = report.to_json()["findings"]
    return [
        f"{each['file']}:{each['line']} {each['disposition']} {each['code']} {each['column']}".strip() for each in found
    ]


def real_tape() -> Path:
    """The folder of the real book, which never comes with Amana; the test is skipped without it."""
    beside = Path(__file__).parents[3] / "shared" / "data" / "superlender"
    folder = Path(os.environ.get("AMANA_TEST_TAPE_DIR", str(beside)))
    if not folder.is_dir():
        pytest.skip("the real loan book is not on this machine: set AMANA_TEST_TAPE_DIR")
    return folder
