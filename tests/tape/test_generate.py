"""The synthetic book: the same for the same seed, and with every habit that the demo is to show."""

from collections import Counter
from pathlib import Path

from amana.tape.check import load_book
from amana.tape.generate import generate_book
from amana.tape.infer import settle
from amana.tape.write import write_book

BORROWERS = 600


def test_the_same_seed_gives_the_same_book_and_another_seed_shares_no_id() -> None:
    first, again, other = generate_book(1, 50), generate_book(1, 50), generate_book(2, 50)
    assert first == again
    assert not {each.id for each in first.customers} & {each.id for each in other.customers}
    assert not {each.id for each in first.loans} & {each.id for each in other.loans}


def test_the_book_has_three_products_and_every_kind_of_repayment() -> None:
    book = generate_book(7, BORROWERS)
    products = Counter(each.product for each in book.loans)
    assert set(products) == {"nano", "airtime", "bnpl"} and min(products.values()) > 30
    per_loan = Counter(each.loan for each in book.repayments)
    due = {each.id: each for each in book.loans}
    assert len(book.customers) == BORROWERS
    assert any(each.amount < due[each.loan].total_due for each in book.repayments), "partial"
    assert any(each.amount > due[each.loan].total_due for each in book.repayments), "over"
    assert any(each.reversed_at for each in book.repayments), "reversed"
    assert any((each.paid_at - due[each.loan].disbursed_at).days > due[each.loan].term_days for each in book.repayments)
    assert any(each.closed_at is None for each in book.loans), "never repaid"
    assert max(per_loan.values()) >= 3
    assert not any(each.inferred for each in book.repayments)


def test_a_loan_is_closed_exactly_when_nothing_is_owed() -> None:
    book = generate_book(7, BORROWERS)
    for loan in book.loans:
        settled = settle(loan, [each for each in book.repayments if each.loan == loan.id])
        assert (settled.owed == 0) == (loan.closed_at is not None)
        assert loan.closed_at is None or loan.closed_at == settled.last_at


def test_a_deducted_fee_is_part_of_what_was_asked_for() -> None:
    airtime = [each for each in generate_book(7, BORROWERS).loans if each.product == "airtime"]
    assert all(each.requested == each.total_due for each in airtime)
    assert (10_000, 8_464, 1_536) in {(each.requested, each.principal, each.fee) for each in airtime}


def test_what_is_written_is_read_back_as_the_same_book(tmp_path: Path) -> None:
    book = generate_book(3, 200)
    write_book(book, tmp_path)
    read, report = load_book(tmp_path, "amana")
    assert read == book
    assert all(each.repaired == each.refused == 0 for each in report.summaries())
