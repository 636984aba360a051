"""The order of steps: what happened first comes first, and equal instants have one order."""

from datetime import UTC, datetime
from pathlib import Path
from random import Random

from tests.tape.tapes import load_plain

from amana.tape.book import Book
from amana.tape.generate import generate_book
from amana.tape.steps import BEGINNING, Kind, steps_of


def shuffled(book: Book) -> Book:
    """The same book in another order of rows."""
    random = Random(1)
    loans, repayments = list(book.loans), list(book.repayments)
    random.shuffle(loans)
    random.shuffle(repayments)
    return Book(book.key, book.currency, book.customers, tuple(loans), tuple(repayments), book.credit_limits)


def test_the_order_does_not_depend_on_the_order_of_the_rows() -> None:
    book = generate_book(5, 200)
    steps = steps_of(book)
    assert steps == steps_of(shuffled(book))
    assert [step.at for step in steps] == sorted(step.at for step in steps)
    assert len(steps) == len(book.customers) + 2 * len(book.loans) + len(book.repayments) + sum(
        repayment.reversed_at is not None for repayment in book.repayments
    )


def test_each_customer_is_enrolled_first_and_each_loan_is_asked_for_booked_and_repaid_in_turn() -> None:
    seen: set[tuple[Kind, str]] = set()
    for step in steps_of(generate_book(5, 200)):
        match step.kind:
            case Kind.APPLY:
                assert any(kind is Kind.ENROL and ref == step.ref.rsplit("-", 1)[0] for kind, ref in seen)
            case Kind.DISBURSE:
                assert (Kind.APPLY, step.ref) in seen
            case Kind.REPAY:
                assert (Kind.DISBURSE, step.ref.rsplit("-", 1)[0]) in seen
            case Kind.REVERSE:
                assert (Kind.REPAY, step.ref) in seen
        seen.add((step.kind, step.ref))


def test_at_one_instant_money_comes_back_before_the_next_is_asked_for(tmp_path: Path) -> None:
    at = "2024-01-31T10:00:00Z"
    loans = f"L1,C1,nano,100,100,30,2024-01-01T00:00:00Z,2024-01-01T00:00:00Z,,\nL2,C1,nano,100,100,30,{at},{at},,\n"
    repayments = f"R1,L1,100,{at},\nR2,L2,100,{at},{at}\n"
    book, _ = load_plain(tmp_path, loans=loans, repayments=repayments)
    moment = datetime(2024, 1, 31, 10, tzinfo=UTC)
    assert [(step.kind, step.ref) for step in steps_of(book) if step.at == moment] == [
        (Kind.REPAY, "R1"),
        (Kind.APPLY, "L2"),
        (Kind.DISBURSE, "L2"),
        (Kind.REPAY_AT_ONCE, "R2"),
        (Kind.REVERSE_AT_ONCE, "R2"),
    ]


def test_a_customer_without_loans_is_enrolled_at_the_beginning_without_a_credit_line(tmp_path: Path) -> None:
    book, _ = load_plain(tmp_path, customers="C1,2,,,,\nC2,2,,,,\n")
    first, second, *_ = steps_of(book)
    assert (first.kind, first.ref, first.at, first.credit_limit) == (Kind.ENROL, "C2", BEGINNING, 0)
    assert (second.kind, second.ref, second.credit_limit) == (Kind.ENROL, "C1", 25_000_000)
