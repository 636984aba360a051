"""A synthetic book: seeded, plausible, of nobody. The demo and the tests need nothing from outside.

Everything follows from the seed (`random.Random`); there is no clock. Borrowers take one to five loans of one
product, climbing a ladder of amounts, in the eighteen months from `BEGINS`; they repay on time, in parts, late, too
much, with a repayment that bounces and is paid again, or not at all. The proportions are set by hand, not fitted to
any lender's data.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from random import Random

from amana.domain.money import floor_bps
from amana.tape.book import Book, TapeCustomer, TapeLoan, TapeRepayment, customer_id, loan_id, repayment_id
from amana.tape.infer import settle
from amana.tape.mapping import load_mapping

BORROWERS_DEFAULT = 5_000
BORROWERS_MAX = 1_000_000
BEGINS = datetime(2024, 1, 8, 7, 0, tzinfo=UTC)
FIRST_LOAN_WITHIN_DAYS = 240
PLAIN_LAYOUT = "amana"
DAY_S = 86_400
NAIRA = 100


@dataclass(frozen=True, slots=True)
class _Product:
    """How a product is lent. Kobo; `terms` are (days, flat fee in basis points); `fee_deducted`: paid out less the fee.

    `income` and `loans` are the weights of a borrower's class of income and of 1, 2, 3, ... loans.
    """

    name: str
    ladder: tuple[int, ...]
    terms: tuple[tuple[int, int], ...]
    loans: tuple[int, ...]
    kyc_tiers: tuple[int, ...]
    incomes: tuple[int, ...]
    fee_deducted: bool = False
    rest_days: int = 30


_PRODUCTS = (
    _Product(
        name="nano",
        ladder=(500_000, 1_000_000, 1_500_000, 2_000_000, 3_000_000, 4_000_000),
        terms=((15, 1_500), (30, 3_000)),
        loans=(66, 21, 8, 3, 2),
        kyc_tiers=(15, 60, 25),
        incomes=(2_500_000, 4_500_000, 8_000_000, 15_000_000, 30_000_000),
    ),
    _Product(
        name="airtime",
        ladder=(5_000, 10_000, 20_000, 40_000, 50_000, 100_000),
        terms=((14, 1_536),),
        loans=(56, 26, 11, 5, 2),
        kyc_tiers=(40, 45, 15),
        incomes=(2_500_000, 4_500_000, 8_000_000),
        fee_deducted=True,
        rest_days=9,
    ),
    _Product(
        name="bnpl",
        ladder=(1_500_000, 3_000_000, 5_000_000, 8_000_000, 12_000_000),
        terms=((30, 350), (60, 700), (90, 1_050)),
        loans=(84, 13, 3),
        kyc_tiers=(0, 60, 40),
        incomes=(6_000_000, 12_000_000, 25_000_000, 45_000_000),
        rest_days=45,
    ),
)
_PRODUCT_WEIGHTS = (55, 30, 15)
_EMPLOYMENTS = ("permanent", "self_employed", "contract", "student", "unemployed", "retired")
_EMPLOYMENT_WEIGHTS = (52, 26, 10, 7, 3, 2)
_BANKS = ("058", "011", "044", "033", "057", "050", "221", "214", "070", "076", "232", "035")
_HABITS = ("on_time", "parts", "late", "over", "bounced", "never")
_HABIT_WEIGHTS = {"good": (62, 24, 5, 6, 3, 0), "fair": (40, 25, 24, 3, 4, 4), "poor": (15, 20, 35, 1, 4, 25)}
_CHARACTER_WEIGHTS = (65, 25, 10)


def generate_book(seed: int, borrowers: int = BORROWERS_DEFAULT) -> Book:
    """A book of `borrowers` people on three products. The same seed gives the same book, on any machine."""
    assert 0 < borrowers <= BORROWERS_MAX, f"between 1 and {BORROWERS_MAX} borrowers"
    random = Random(seed)  # noqa: S311 - reproducible on purpose
    layout = load_mapping(PLAIN_LAYOUT)
    customers, loans, repayments = [], [], []
    for number in range(1, borrowers + 1):
        product = random.choices(_PRODUCTS, _PRODUCT_WEIGHTS)[0]
        customer = _customer(random, f"s{seed}-{number:05d}", product)
        customers.append(customer)
        for loan, paid in _history(random, customer, product):
            loans.append(loan)
            repayments += paid
    return Book(
        key=layout.name,
        currency=layout.currency,
        customers=tuple(customers),
        loans=tuple(loans),
        repayments=tuple(repayments),
        credit_limits=layout.credit_limits,
    )


def _customer(random: Random, ref: str, product: _Product) -> TapeCustomer:
    birth_date = date(1962, 1, 1) + timedelta(days=random.randrange(365 * 43))
    return TapeCustomer(
        id=customer_id(PLAIN_LAYOUT, ref),
        ref=ref,
        kyc_tier=random.choices((1, 2, 3), product.kyc_tiers)[0],
        birth_date=birth_date if random.random() > 0.03 else None,
        employment=random.choices(_EMPLOYMENTS, _EMPLOYMENT_WEIGHTS)[0] if random.random() > 0.1 else None,
        monthly_income=_income(random, product) if random.random() > 0.2 else None,
        bank_code=random.choice(_BANKS) if random.random() > 0.05 else None,
    )


def _income(random: Random, product: _Product) -> int:
    """A monthly income around one of the product's classes, in whole thousands of naira."""
    around = random.choice(product.incomes) * random.randrange(80, 140) // 100
    return around - around % (1_000 * NAIRA)


def _history(random: Random, customer: TapeCustomer, product: _Product) -> list[tuple[TapeLoan, list[TapeRepayment]]]:
    """A borrower's loans in order, each with its repayments. Who never pays one gets no other."""
    habits = _HABIT_WEIGHTS[random.choices(tuple(_HABIT_WEIGHTS), _CHARACTER_WEIGHTS)[0]]
    count = random.choices(range(1, len(product.loans) + 1), product.loans)[0]
    applied_at = _daytime(random, BEGINS + timedelta(days=random.randrange(FIRST_LOAN_WITHIN_DAYS)))
    rung = random.choices((0, 1, 2), (60, 33, 7))[0]
    history = []
    for number in range(1, count + 1):
        loan = _loan(random, customer, product, number, rung, applied_at)
        paid = _repayments(random, loan, random.choices(_HABITS, habits)[0])
        settled = settle(loan, paid)
        if settled.owed:
            history.append((_dated(loan, paid, None), paid))
            break
        history.append((_dated(loan, paid, settled.last_at), paid))
        rung = min(rung + random.choices((0, 1, 2), (35, 55, 10))[0], len(product.ladder) - 1)
        applied_at = _next_application(random, loan, settled.last_at, product.rest_days)
    return history


def _loan(
    random: Random, customer: TapeCustomer, product: _Product, number: int, rung: int, applied_at: datetime
) -> TapeLoan:
    ref = f"{customer.ref}-{number}"
    requested = product.ladder[rung]
    term_days, fee_bps = random.choice(product.terms)
    fee = floor_bps(requested, fee_bps)
    return TapeLoan(
        id=loan_id(customer.id, ref),
        ref=ref,
        customer=customer.id,
        product=product.name,
        requested=requested,
        principal=requested - fee if product.fee_deducted else requested,
        fee=fee,
        term_days=term_days,
        applied_at=applied_at,
        disbursed_at=applied_at + timedelta(seconds=random.randrange(1, 6)),
    )


def _repayments(random: Random, loan: TapeLoan, habit: str) -> list[TapeRepayment]:
    """What came back for `loan`, by the borrower's habit this time."""
    due_at = loan.disbursed_at + timedelta(days=loan.term_days)
    in_time = due_at - timedelta(seconds=random.randrange(loan.term_days * DAY_S // 3))
    due = loan.total_due
    match habit:
        case "on_time":
            return _numbered(loan, [(due, in_time)])
        case "over":
            return _numbered(loan, [(due + NAIRA * random.randrange(1, 500), in_time)])
        case "late":
            return _numbered(loan, [(due, due_at + timedelta(seconds=random.randrange(DAY_S, 45 * DAY_S)))])
        case "parts":
            return _numbered(loan, _parts(random, loan, due_at))
        case "bounced":
            again = in_time + timedelta(seconds=random.randrange(2 * DAY_S, 6 * DAY_S))
            first, second = _numbered(loan, [(due, in_time), (due, again)])
            bounced_at = in_time + timedelta(seconds=random.randrange(600, 2 * DAY_S))
            return [_reversed(first, bounced_at), second]
        case _:
            part = due // random.randrange(3, 8)
            return _numbered(loan, [(part, due_at)] if random.random() < 0.4 and part else [])


def _parts(random: Random, loan: TapeLoan, due_at: datetime) -> list[tuple[int, datetime]]:
    """Two to four parts that together are what is due; the last part takes the remainder."""
    count = random.randrange(2, 5)
    share = loan.total_due // count
    amounts = [share] * (count - 1) + [loan.total_due - share * (count - 1)]
    span_s = loan.term_days * DAY_S
    offsets = sorted(random.randrange(span_s // 5, span_s) for _ in range(count))
    late_s = random.choices((0, random.randrange(12 * DAY_S)), (80, 20))[0]
    times = [loan.disbursed_at + timedelta(seconds=offset) for offset in offsets]
    times[-1] = max(times[-1], due_at - timedelta(hours=1)) + timedelta(seconds=late_s)
    return list(zip(amounts, times, strict=True))


def _numbered(loan: TapeLoan, paid: Sequence[tuple[int, datetime]]) -> list[TapeRepayment]:
    return [
        TapeRepayment(repayment_id(loan.id, ref), ref, loan.id, amount, at)
        for ref, (amount, at) in ((f"{loan.ref}-{number}", each) for number, each in enumerate(paid, 1))
    ]


def _reversed(repayment: TapeRepayment, at: datetime) -> TapeRepayment:
    return TapeRepayment(
        repayment.id, repayment.ref, repayment.loan, repayment.amount, repayment.paid_at, reversed_at=at
    )


def _dated(loan: TapeLoan, paid: list[TapeRepayment], closed_at: datetime | None) -> TapeLoan:
    """The loan with the times that its repayments give it."""
    first = min((each.paid_at for each in paid), default=None)
    return replace(loan, first_repaid_at=first, closed_at=closed_at)


def _next_application(random: Random, loan: TapeLoan, closed_at: datetime, rest_days: int) -> datetime:
    """Days after the close; for one borrower in fifty while the loan is still running."""
    if random.random() < 0.02:
        return loan.disbursed_at + (closed_at - loan.disbursed_at) // 2
    return _daytime(random, closed_at + timedelta(days=random.randrange(1, rest_days)))


def _daytime(random: Random, day: datetime) -> datetime:
    """Some second of the sixteen hours after `day`."""
    return day.replace(microsecond=0) + timedelta(seconds=random.randrange(16 * 3_600))
