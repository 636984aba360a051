"""What becomes of every row, by line number and reason."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.tape.tapes import GOOD_LOAN, LOANS, findings, load_plain, plain

from amana.tape.check import load_book
from amana.tape.report import CODES

AT = "2024-01-01T09:00:00Z,2024-01-01T09:01:00Z"


def loan(ref: str = "L1", who: str = "C1", lent: str = "1000000", due: str = "1300000", days: str = "30", at: str = AT,
         repaid: str = "", closed: str = "") -> str:  # fmt: skip
    """One row of loans.csv."""
    return f"{ref},{who},nano,{lent},{due},{days},{at},{repaid},{closed}\n"


@pytest.mark.parametrize(
    ("row", "code", "column"),
    [
        (loan(lent="-1000000"), "negative_amount", "principal_kobo"),
        (loan(lent="0"), "zero_amount", "principal_kobo"),
        (loan(lent="1000000.5"), "fractional_kobo", "principal_kobo"),
        (loan(lent="ten"), "unreadable_money", "principal_kobo"),
        (loan(lent=""), "missing_value", "principal_kobo"),
        (loan(due="999999"), "due_below_principal", "total_due_kobo"),
        (loan(days="0"), "out_of_range", "term_days"),
        (loan(days="thirty"), "unreadable_integer", "term_days"),
        (loan(at="2024-01-01T09:00:00Z,never"), "unreadable_instant", "disbursed_at"),
        (loan(at="2024-01-01T09:00:00Z,2024-01-01T08:59:59Z"), "disbursed_before_applied", "disbursed_at"),
        (loan(repaid="2024-01-01T09:00:30Z"), "repaid_before_disbursed", "first_repaid_at"),
        (loan(closed="2023-12-31T00:00:00Z"), "closed_before_disbursed", "closed_at"),
        (loan(repaid="2024-01-20T00:00:00Z", closed="2024-01-19T00:00:00Z"), "closed_before_repaid", "closed_at"),
        (loan(ref=""), "missing_value", "loan"),
        (loan(ref="L\x01"), "unreadable_text", "loan"),
        ("L1,C1,nano,1,2\n", "wrong_cell_count", ""),
        (loan().replace("\n", ",more\n"), "wrong_cell_count", ""),
        (loan(ref='"L"1'), "malformed_row", ""),
    ],
)
def test_a_loan_that_cannot_be_is_refused(tmp_path: Path, row: str, code: str, column: str) -> None:
    book, report = load_plain(tmp_path, loans=row + loan("L2"))
    assert f"loans.csv:2 refused {code} {column}".strip() in findings(report)
    assert [each.ref for each in book.loans] == ["L2"]
    assert (report.summaries()[1].rows, report.summaries()[1].refused) == (2, 1)


def test_a_line_in_another_encoding_is_refused_and_the_next_is_read(tmp_path: Path) -> None:
    plain(tmp_path)
    (tmp_path / "loans.csv").write_bytes((LOANS + loan("L1", "Zo\xeb") + loan("L2")).encode("latin-1"))
    book, report = load_book(tmp_path, "amana")
    assert "loans.csv:2 refused bad_encoding" in findings(report)
    assert [each.ref for each in book.loans] == ["L2"]


def test_line_numbers_are_physical_lines(tmp_path: Path) -> None:
    rows = '"L\n1",C1,nano,1,2,30,' + AT + ",,\n" + "\n" + loan("L2", lent="0") + loan("L3")
    book, report = load_plain(tmp_path, loans=rows)
    assert [each for each in findings(report) if "refused" in each] == [
        "loans.csv:2 refused unreadable_text loan",
        "loans.csv:5 refused zero_amount principal_kobo",
    ]
    assert [each.ref for each in book.loans] == ["L3"]
    assert report.summaries()[1].blank_lines == 1


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    plain(tmp_path)
    (tmp_path / "loans.csv").write_text("\ufeff" + LOANS + GOOD_LOAN)
    assert len(load_book(tmp_path, "amana")[0].loans) == 1


def test_identical_duplicates_become_one_and_conflicting_ones_keep_the_first(tmp_path: Path) -> None:
    customers = "C1,2,1990-01-01,,,\nC1,2,1990-01-01,,,\nC1,2,1991-01-01,,,\n"
    book, report = load_plain(tmp_path, customers=customers, loans=loan() + loan() + loan(due="1400000"))
    assert [each.birth_date.isoformat() for each in book.customers if each.birth_date] == ["1990-01-01"]
    assert [each.total_due for each in book.loans] == [1_300_000]
    assert findings(report) == [
        "customers.csv:3 repaired duplicate_identical",
        "customers.csv:4 refused duplicate_conflicting",
        "loans.csv:3 repaired duplicate_identical",
        "loans.csv:4 refused duplicate_conflicting",
    ]
    detail = report.to_json()["findings"][1]["detail"]
    assert detail == "first on line 2 of customers.csv; differs in birth_date"


def test_a_customers_bad_cell_becomes_unknown_and_the_customer_stays(tmp_path: Path) -> None:
    customers = "C1,9,1990-02-30,astronaut,-5,Bank of Nowhere\nC2,2,2090-01-01,permanent,5000000,Diamond Bank\n"
    book, report = load_plain(tmp_path, customers=customers)
    first, second = book.customers
    assert (first.kyc_tier, first.birth_date, first.employment, first.monthly_income, first.bank_code) == (1,) + (
        None,
    ) * 4
    assert (second.birth_date, second.employment, second.monthly_income, second.bank_code) == (
        None, "permanent", 5_000_000, "044",
    )  # fmt: skip
    assert sorted(findings(report)) == [
        "customers.csv:2 repaired negative_amount monthly_income_kobo",
        "customers.csv:2 repaired out_of_range employment",
        "customers.csv:2 repaired out_of_range kyc_tier",
        "customers.csv:2 repaired unknown_bank bank_code",
        "customers.csv:2 repaired unreadable_date birth_date",
        "customers.csv:3 noted customer_without_loans",
        "customers.csv:3 repaired bank_renamed bank_code",
        "customers.csv:3 repaired birth_date_implausible",
    ]
    assert report.summaries()[0].repaired == 2


def test_a_borrower_without_a_record_is_created_with_the_reference_alone(tmp_path: Path) -> None:
    book, report = load_plain(tmp_path, customers="", loans=loan(who="X") + loan("L2", who="X"))
    assert [(each.ref, each.kyc_tier, each.birth_date) for each in book.customers] == [("X", 1, None)]
    assert {each.customer for each in book.loans} == {book.customers[0].id}
    assert [each for each in findings(report) if "without_record" in each] == [
        "loans.csv:2 noted customer_without_record"
    ]


def test_overlapping_loans_are_kept_and_noted(tmp_path: Path) -> None:
    later = "2024-01-10T09:00:00Z,2024-01-10T09:00:00Z"
    last = "2024-02-10T09:00:00Z,2024-02-10T09:00:00Z"
    rows = (
        loan(closed="2024-02-01T00:00:00Z") + loan("L2", at=later, closed="2024-01-12T00:00:00Z") + loan("L3", at=last)
    )
    book, report = load_plain(tmp_path, loans=rows)
    assert len(book.loans) == 3
    assert findings(report) == ["loans.csv:3 noted loan_overlaps"]


def test_repayments_are_held_against_their_loans(tmp_path: Path) -> None:
    repayments = (
        "R1,L1,500000,2024-01-10T00:00:00Z,\n"
        "R2,L9,500000,2024-01-10T00:00:00Z,\n"
        "R3,L1,500000,2023-01-10T00:00:00Z,\n"
        "R4,L1,500000,2024-01-11T00:00:00Z,2024-01-10T00:00:00Z\n"
        "R5,L1,900000,2024-01-20T00:00:00Z,\n"
        "R6,L1,100000,2024-01-21T00:00:00Z,\n"
    )
    book, report = load_plain(tmp_path, repayments=repayments)
    assert [(each.ref, each.amount) for each in book.repayments] == [("R1", 500_000), ("R5", 900_000), ("R6", 100_000)]
    assert findings(report) == [
        "repayments.csv:3 refused repayment_without_loan",
        "repayments.csv:4 refused repaid_before_disbursed paid_at",
        "repayments.csv:5 refused reversed_before_paid reversed_at",
        "repayments.csv:7 noted nothing_owed",
    ]


def test_a_repayment_of_a_refused_loan_is_refused_too(tmp_path: Path) -> None:
    _, report = load_plain(tmp_path, loans=loan(lent="0"), repayments="R1,L1,5,2024-01-10T00:00:00Z,\n")
    assert "repayments.csv:2 refused repayment_without_loan" in findings(report)


CELLS = st.sampled_from(
    ["", "L1", "L2", "C1", "nano", "1000", "0", "-1", "1.5", "x", '"', "é", "2024-01-01T09:00:00Z", "2023-01-01"]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(st.lists(st.lists(CELLS, min_size=8, max_size=11), max_size=12))
def test_no_row_is_ever_dropped_in_silence(tmp_path: Path, rows: list[list[str]]) -> None:
    text = "".join(",".join(cells) + "\n" for cells in rows)
    book, report = load_plain(tmp_path, loans=text + GOOD_LOAN, repayments=text)
    for summary in report.summaries():
        assert summary.rows == summary.accepted + summary.repaired + summary.refused
    assert all(each.code in CODES for each in report.findings)
    assert {each.loan for each in book.repayments} <= {each.id for each in book.loans}


def test_ids_are_the_same_every_time_and_share_the_customers_bucket(tmp_path: Path) -> None:
    first, _ = load_plain(tmp_path, repayments="R1,L1,5,2024-01-10T00:00:00Z,\n")
    again, _ = load_plain(tmp_path, repayments="R1,L1,5,2024-01-10T00:00:00Z,\n")
    assert first == again
    bucket = first.customers[0].id.int & 0xFFF
    ids = [each.id for each in first.loans] + [each.id for each in first.repayments]
    assert {id_.int & 0xFFF for id_ in ids} == {bucket}
