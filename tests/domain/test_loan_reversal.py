"""Undoing a loan whose decision was reversed, as days at a lender. Amounts in kobo.

The language is that of `tests.domain.lender`.
"""

import pytest
from tests.domain.ledger import TENANT, id_for
from tests.domain.lender import LOAN, OFFER, Lender

from amana.domain.events import MovementData
from amana.domain.loan_reversal import REPAYMENTS_MAX

BORROWED = """
    Mon 09:30  line    may owe 20000                   => done
        09:31  loan    lend 10000 fee 1500             => owes 11500 open
"""


def test_a_loan_that_nobody_got_is_as_if_it_had_never_been() -> None:
    lender = (
        Lender()
        .run(BORROWED)
        .run("""
        Mon 10:00  ask     withdraw                    => reversing
            10:01  undo    reverse to funding          => returned 0
    """)
    )
    lender.shows("""
        account     balance
        exposure    0
        contra      0
        principal   0
        fee         0
        fee_income  0
        funding     0
        wallet      0
    """)
    assert (lender.loan.status, lender.loan.outstanding) == ("reversed", 0)
    assert lender.events()[-3:] == ["LoanBooked", "LoanReversalStarted", "LoanReversed"]


def test_what_was_paid_goes_to_the_wallet_and_what_was_over_stays_there() -> None:
    Lender().run(BORROWED).run("""
        Mon 10:00  rep1    repay 4000                  => owes 7500 open
            11:00  rep2    repay 8000                  => owes 0 closed
        Tue 09:00  ask     withdraw                    => reversing
            09:01  undo    reverse to funding          => returned 11500
    """).shows("""
        account     balance
        exposure    0
        principal   0
        fee         0
        fee_income  0
        wallet      12000
        funding     12000
    """)


def test_who_has_the_money_gives_back_the_principal_and_gets_the_fee() -> None:
    Lender().run(BORROWED).run("""
        Mon 10:00  rep1    repay 11500                 => owes 0 closed
        Tue 09:00  ask     withdraw                    => reversing
            09:01  undo    reverse to wallet           => returned 11500
    """).shows("""
        account     balance
        wallet      1500
        funding     1500
        fee_income  0
        exposure    0
    """)


def test_nobody_is_taken_more_from_than_they_have_and_the_loan_waits() -> None:
    lender = (
        Lender()
        .run(BORROWED)
        .run("""
        Mon 10:00  rep1    repay 4000                  => owes 7500 open
        Tue 09:00  ask     withdraw                    => reversing
            09:01  undo    reverse to wallet           => insufficient_funds available=4000 requested=10000
            09:02  undo    reverse to wallet           => insufficient_funds available=4000 requested=10000 again
    """)
    )
    lender.shows("""
        account     balance
        exposure    7500
        principal   7500
        wallet      0
    """)
    lender.run("""
        Tue 10:00  rep2    repay 6000                  => owes 1500 reversing
            10:01  undo2   reverse to wallet           => returned 10000
    """).shows("""
        account     balance
        exposure    0
        wallet      0
        funding     0
        fee_income  0
    """)


def test_money_that_comes_too_late_is_the_customers() -> None:
    lender = (
        Lender()
        .run(BORROWED)
        .run("""
        Mon 10:00  ask     withdraw                    => reversing
            10:01  undo    reverse to funding          => returned 0
            10:02  late    repay 4000                  => owes 0 reversed
            10:03  back    bounce late                 => owes 0 reversed
            10:04  late2   repay 700                   => owes 0 reversed
    """)
    )
    lender.shows("""
        account     balance
        wallet      700
        funding     700
        exposure    0
    """)


def test_a_payment_that_was_returned_before_goes_nowhere() -> None:
    Lender().run(BORROWED).run("""
        Mon 10:00  rep1    repay 4000                  => owes 7500 open
            10:30  rep2    repay 1000                  => owes 6500 open
            11:00  back    bounce rep1                 => owes 10500 open
            12:00  ask     withdraw                    => reversing
            12:01  undo    reverse to funding          => returned 1000
            12:02  back2   bounce rep2                 => already_reversed
    """).shows("""
        account     balance
        wallet      1000
        funding     1000
        exposure    0
    """)


@pytest.mark.parametrize(
    ("days", "repaid", "allows", "before", "kept"),
    [
        (3, "return", False, "", "not_allowed"),
        (0, "return", True, "", "too_late"),
        (1, "keep", True, "Mon 10:00  rep1  repay 10  => owes 11490 open", "repaid"),
    ],
)
def test_a_loan_that_the_policy_does_not_undo_is_kept_and_says_why(
    days: int, repaid: str, allows: bool, before: str, kept: str
) -> None:
    lender = Lender(days, repaid, allows=allows).run(BORROWED).run(before)
    owed = lender.loan.outstanding
    lender.run(f"""
        Tue 08:00  ask     withdraw                    => kept {kept}
            08:01  undo    reverse to funding          => loan_not_reversing
            08:02  rep     repay 100                   => owes {owed - 100} open
    """)


def test_the_days_are_those_of_lagos() -> None:
    Lender(0).run(BORROWED).run("Mon 22:59  ask  withdraw  => reversing")
    Lender(0).run(BORROWED).run("Mon 23:00  ask  withdraw  => kept too_late")


def test_an_offer_that_nobody_booked_is_booked_by_nobody_afterwards() -> None:
    lender = Lender().run("""
        Mon 09:30  line    may owe 20000               => done
            09:31  ask     withdraw                    => unbooked
            09:32  ask     withdraw                    => unbooked again
            09:33  ask2    withdraw                    => unbooked
            09:34  loan    lend 10000 fee 1500         => decision_reversed
    """)
    assert lender.events().count("OfferWithdrawn") == 1
    assert len(lender.book.new_withdrawals) == 1


def test_a_loan_that_was_undone_has_used_its_offer() -> None:
    lender = (
        Lender()
        .run(BORROWED)
        .run("""
        Mon 10:00  ask     withdraw                    => reversing
            10:01  undo    reverse to funding          => returned 0
            10:02  loan2   lend 10000 fee 1500         => offer_used
            10:03  undo2   reverse to funding          => already_reversed
            10:04  ask2    withdraw                    => reversing
    """)
    )
    assert lender.book.offers_used[TENANT, OFFER] == LOAN
    assert lender.events().count("LoanReversalStarted") == 1


def test_an_abandoned_loan_goes_on() -> None:
    lender = (
        Lender()
        .run(BORROWED)
        .run("""
        Mon 10:00  ask     withdraw                    => reversing
            10:01  leave   abandon                     => done
            10:02  undo    reverse to funding          => loan_not_reversing
            10:03  leave2  abandon                     => loan_not_reversing
            10:04  rep1    repay 11500                 => owes 0 closed
    """)
    )
    assert lender.events()[-3:] == ["LoanReversalAbandoned", "RepaymentReceived", "LoanClosed"]


def test_a_frozen_account_stops_all_of_it_and_nothing_has_moved() -> None:
    lender = (
        Lender()
        .run(BORROWED)
        .run("""
        Mon 10:00  rep1    repay 4000                  => owes 7500 open
            10:01  ask     withdraw                    => reversing
            10:02  ice     freeze wallet               => done
            10:03  undo    reverse to funding          => account_frozen
            10:04  thaw    unfreeze wallet             => done
    """)
    )
    posted = len(lender.book.posted)
    lender.run("Mon 10:05  undo2  reverse to funding  => returned 4000")
    group = [posted.transfer for posted in lender.book.posted[posted:]]
    assert {transfer.command for transfer in group} == {id_for("undo2")}
    named = {transfer.original for transfer in group if transfer.original is not None}
    assert len(named) == len(group) - 1, "all but the return to the wallet name what they reverse"


def test_fee_income_that_was_taken_elsewhere_is_not_overdrawn() -> None:
    Lender().run(BORROWED).run("""
        Mon 10:00  keep    floor fee_income            => done
            10:01  out     fee_income -> shop 1000     => moved 1000
            10:02  ask     withdraw                    => reversing
            10:03  undo    reverse to funding          => insufficient_funds available=500 requested=1500
    """)


def test_open_holds_are_voided_and_what_was_captured_is_not() -> None:
    lender = (
        Lender()
        .run(BORROWED)
        .run("""
        Mon 10:00  gift    bank -> wallet 1000         => moved 1000
            10:01  payout  hold wallet -> shop 600     => moved 600
            10:02  paid    hold wallet -> shop 300     => moved 300
            10:03  paid1   capture paid                => moved 300
            10:04  ask     withdraw payout paid        => reversing
    """)
    )
    voided = [draft.data for draft in lender.book.drafts if draft.type == "HoldVoided"]
    assert [(data.hold, data.command) for data in voided if isinstance(data, MovementData)] == [
        (id_for("payout"), id_for("ask"))
    ]
    lender.run("Mon 10:05  again  capture payout  => hold_voided")
    lender.shows("""
        account   balance
        wallet    700
        shop      300
    """)


def test_more_repayments_than_go_back_in_one_group_keep_the_loan() -> None:
    lender = Lender().run(BORROWED)
    for number in range(REPAYMENTS_MAX + 1):
        assert lender.say(f"r{number}", "repay 1").reason is None
    lender.run("Mon 10:00  ask  withdraw  => kept too_many_repayments")


def test_repayments_that_come_meanwhile_may_become_too_many() -> None:
    lender = Lender().run(BORROWED).run("Mon 10:00  ask  withdraw  => reversing")
    for number in range(REPAYMENTS_MAX + 1):
        assert lender.say(f"r{number}", "repay 1").reason is None
    lender.run("""
        Mon 10:01  undo   reverse to funding           => too_many_repayments repayments_max=100
            10:02  leave  abandon                      => done
            10:03  rest   repay 11399                  => owes 0 closed
    """)


def test_a_reversal_that_is_not_this_loans_does_nothing() -> None:
    lender = Lender().run(BORROWED).run("Mon 10:00  undo  reverse to funding  => loan_not_reversing")
    answer = Lender().say("undo", "reverse to funding")
    assert answer.reason == "loan_not_found"
    assert lender.loan.status == "open"


def test_who_has_no_credit_line_can_have_no_loan() -> None:
    assert Lender().say("ask", "withdraw").reason == "credit_line_not_found"
