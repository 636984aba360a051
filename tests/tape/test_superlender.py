"""The real book, where it is at hand: every row accounted for, the two clocks right, kobo exact."""

from datetime import timedelta

from tests.tape.tapes import real_tape

from amana.tape.check import load_book
from amana.tape.report import Disposition


def test_the_real_book_reads_whole() -> None:
    book, report = load_book(real_tape(), "superlender")
    customers, loans = report.summaries()
    assert (customers.rows, customers.refused) == (4_346, 0)
    assert (loans.rows, loans.accepted, loans.refused) == (18_183, 18_183, 0)
    assert len({loan.customer for loan in book.loans}) == 4_359
    assert sum(loan.principal for loan in book.loans) == 30_004_200_000
    assert sum(loan.total_due for loan in book.loans) == sum(each.amount for each in book.repayments)
    assert all(each.inferred for each in book.repayments) and report.inferred == len(book.repayments)


def test_its_honest_traps_are_in_the_report() -> None:
    _, report = load_book(real_tape(), "superlender")
    assert report.counts(Disposition.REPAIRED) == {"bank_renamed": 384, "duplicate_identical": 12}
    noted = report.counts(Disposition.NOTED)
    assert (noted["blank_value"], noted["customer_without_record"], noted["loan_overlaps"]) == (648, 1_095, 4)


def test_its_two_clocks_agree_and_fractions_of_a_naira_stay_exact() -> None:
    book, _ = load_book(real_tape(), "superlender")
    waits = sorted(loan.disbursed_at - loan.applied_at for loan in book.loans)
    assert timedelta(0) <= waits[0] and waits[len(waits) // 2] < timedelta(minutes=1)
    assert sum(loan.total_due % 100 != 0 for loan in book.loans) == 97
