"""The ledger's own rules, told as a banker would."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.ledger import (
    TENANT,
    TODAY,
    balances,
    book_with,
    check_books,
    difference,
    id_for,
    linked,
    order,
    post,
)

from amana.domain.book import Book
from amana.domain.money import MAX_AMOUNT
from amana.domain.order import commitment
from amana.domain.reasons import Reason
from amana.domain.transfer import Notes
from amana.domain.transfer_commands import post_orders

ACCOUNTS = """
    account    side    limit  status
    till       debit
    wallet     credit  0
    control    debit   500
    income     credit
    stopped    debit   -      frozen
    gone       debit   -      closed
    reserved1  debit
"""


def test_a_transfer_moves_its_amount_from_credit_to_debit() -> None:
    book = book_with(ACCOUNTS)
    answer = post(book, "till -> wallet 100")
    assert (answer.reason, answer.result) == (None, {"amount": 100})
    assert balances(book)["till"] == 100
    assert balances(book)["wallet"] == 100
    assert difference(book) == 0
    assert [draft.type for draft in book.drafts] == ["TransferPosted"]


@pytest.mark.parametrize(
    ("line", "reason", "figures"),
    [
        ("till -> till 5", Reason.SAME_ACCOUNT, {"account": "till"}),
        ("nobody -> wallet 5", Reason.ACCOUNT_NOT_FOUND, {"account": "nobody"}),
        ("till -> nobody 5", Reason.ACCOUNT_NOT_FOUND, {"account": "nobody"}),
        ("reserved1 -> wallet 5", Reason.ACCOUNT_RESERVED, {"account": "reserved1"}),
        ("gone -> wallet 5", Reason.ACCOUNT_CLOSED, {"account": "gone"}),
        ("till -> stopped 5", Reason.ACCOUNT_FROZEN, {"account": "stopped", "frozen_for": "all"}),
        ("till -> wallet 5 USD", Reason.CURRENCY_MISMATCH, {"account": "till", "account_currency": "NGN"}),
        ("control -> income 501", Reason.LIMIT_EXCEEDED, {"headroom": 500, "requested": 501}),
        ("wallet -> till 1", Reason.LIMIT_EXCEEDED, {"headroom": 0, "requested": 1}),
    ],
)
def test_a_refusal_names_its_cause_and_moves_nothing(line: str, reason: Reason, figures: dict[str, Any]) -> None:
    book = book_with(ACCOUNTS)
    answer = post(book, line)
    if "account" in figures:
        figures = figures | {"account": str(id_for(figures["account"]))}
    assert (answer.reason, answer.result) == (reason, figures)
    assert set(balances(book).values()) == {0}
    assert not book.posted
    assert not book.drafts


def test_a_limit_may_be_used_to_the_last_kobo() -> None:
    book = book_with(ACCOUNTS)
    assert post(book, "control -> income 500").reason is None
    assert post(book, "control -> income 1", "t2").result == {"headroom": 0, "requested": 1}


def test_a_counter_never_passes_the_largest_amount() -> None:
    book = book_with(ACCOUNTS)
    assert post(book, f"till -> income {MAX_AMOUNT - 1}").reason is None
    answer = post(book, "till -> income 2", "t2")
    assert (answer.reason, answer.result["headroom"], answer.result["requested"]) == (Reason.BALANCE_OVERFLOW, 1, 2)
    assert post(book, "hold till -> income 1", "t3").reason is None
    assert post(book, "till -> income 1", "t4").reason is Reason.BALANCE_OVERFLOW
    assert post(book, "capture t3", "t5").reason is None


def test_time_never_goes_back_on_an_account_whatever_the_clock_does() -> None:
    book = book_with(ACCOUNTS)
    post(book, "till -> income 1")
    book.now -= timedelta(hours=1)
    post(book, "till -> wallet 1", "t2")
    assert book.posted[1].posted_at == book.posted[0].posted_at


class TestTheIdIsTheIdempotencyKey:
    def test_the_same_id_and_fields_give_the_first_result_again(self) -> None:
        book = book_with(ACCOUNTS)
        post(book, "till -> wallet 100")
        again = post(book, "till -> wallet 100")
        assert (again.reason, again.replayed) == (None, True)
        assert balances(book)["till"] == 100

    @pytest.mark.parametrize(
        ("line", "more", "field"),
        [
            ("till -> wallet 101", {}, "amount"),
            ("till -> income 100", {}, "credit_account"),
            ("income -> wallet 100", {}, "debit_account"),
            ("till -> wallet 100 USD", {}, "currency"),
            ("till -> wallet 100", {"code": "payout"}, "code"),
            ("till -> wallet 100", {"effective_on": TODAY - timedelta(days=1)}, "effective_on"),
            ("till -> wallet up to 100 by debit", {}, "balancing"),
            ("till -> wallet 100", {"notes": Notes("other", None, b"")}, "reference"),
            ("till -> wallet 100", {"notes": Notes("mine", {"a": "b"}, b"")}, "metadata"),
            ("till -> wallet 100", {"notes": None}, "reference"),
            ("hold till -> wallet 100", {}, "kind"),
            ("void t0", {}, "kind"),
        ],
    )
    def test_the_same_id_with_another_field_is_refused_by_its_name(
        self, line: str, more: dict[str, Any], field: str
    ) -> None:
        book = book_with(ACCOUNTS)
        mine: dict[str, Any] = {"notes": Notes("mine", None, b"salt")}
        post(book, "till -> wallet 100", **mine)
        answer = post(book, line, **mine | more)
        assert (answer.reason, answer.result) == (Reason.ID_CONFLICT, {"field": field})
        assert post(book, "till -> wallet 100", **mine).replayed

    def test_a_date_that_was_filled_in_may_be_named_later(self) -> None:
        book = book_with(ACCOUNTS)
        post(book, "till -> wallet 100")
        assert post(book, "till -> wallet 100", effective_on=TODAY).replayed
        post(book, "hold till -> wallet 10", "h")
        post(book, "capture h 4", "c")
        assert post(book, "capture h 4", "c", effective_on=TODAY).replayed
        other_day = post(book, "capture h 4", "c", effective_on=TODAY - timedelta(days=1))
        assert (other_day.reason, other_day.result) == (Reason.ID_CONFLICT, {"field": "effective_on"})

    @pytest.mark.parametrize("line", ["till -> wallet 100", "hold till -> wallet 100"])
    def test_a_date_that_was_named_must_be_named_again(self, line: str) -> None:
        book = book_with(ACCOUNTS)
        post(book, line, effective_on=TODAY - timedelta(days=3))
        again = post(book, line)
        assert (again.reason, again.result) == (Reason.ID_CONFLICT, {"field": "effective_on"})
        assert post(book, line, effective_on=TODAY - timedelta(days=3)).replayed

    def test_a_refusal_sticks_to_its_id_even_when_it_would_go_through_now(self) -> None:
        book = book_with(ACCOUNTS)
        assert post(book, "wallet -> till 50").reason is Reason.LIMIT_EXCEEDED
        post(book, "till -> wallet 100", "t2")
        again = post(book, "wallet -> till 50")
        assert (again.reason, again.replayed) == (Reason.LIMIT_EXCEEDED, True)
        assert post(book, "wallet -> till 50", "t3").reason is None

    def test_a_refused_order_sent_again_with_other_notes_is_refused_by_their_name(self) -> None:
        book = book_with(ACCOUNTS)
        notes = Notes("order 7", {"till": "3"}, b"salt")
        assert post(book, "wallet -> till 50", notes=notes).reason is Reason.LIMIT_EXCEEDED
        other = msgspec.structs.replace(notes, metadata={"till": "4"}, salt=b"other salt")
        assert post(book, "wallet -> till 50", notes=other).result == {"field": "metadata"}
        assert post(book, "wallet -> till 50", notes=msgspec.structs.replace(notes, salt=b"other salt")).replayed


class TestNotes:
    def test_what_a_client_says_goes_beside_the_ledger_and_the_event_only_commits_to_it(self) -> None:
        book = book_with(ACCOUNTS)
        notes = Notes("invoice 12", {"branch": "Yaba"}, b"0123456789abcdef")
        post(book, "till -> wallet 100", notes=notes)
        assert book.new_notes == [((TENANT, id_for("t1")), notes)]
        data = book.drafts[0].data
        assert not isinstance(data, dict)
        assert data.notes == commitment(notes, notes.salt)
        assert "Yaba" not in str(data)

    def test_equal_words_have_unequal_commitments_under_another_salt(self) -> None:
        said = Notes("invoice 12", None, b"")
        assert commitment(said, b"one") != commitment(said, b"two")

    def test_what_is_kept_for_ever_holds_nothing_of_them(self) -> None:
        book = book_with(ACCOUNTS)
        post(book, "wallet -> till 50", notes=Notes("invoice 12", None, b"salt"))
        assert set(book.new_answers[0][0].request) == {"amount", "code", "credit_account", "currency", "debit_account"}


class TestLinkedTransfers:
    def test_all_move_or_none_and_the_innocent_are_told_so(self) -> None:
        book = book_with(ACCOUNTS)
        answers = linked(book, a="till -> income 10", b="control -> income 501", c="till -> income 20")
        assert [answer.reason for answer in answers] == [
            Reason.LINKED_FAILED,
            Reason.LIMIT_EXCEEDED,
            Reason.LINKED_FAILED,
        ]
        assert set(balances(book).values()) == {0}
        assert all(account.version == 0 for account in book.accounts.values())
        assert not book.posted
        assert not book.drafts

    def test_a_later_member_sees_what_an_earlier_one_moved(self) -> None:
        book = book_with(ACCOUNTS)
        assert [a.reason for a in linked(book, a="till -> wallet 50", b="wallet -> till 50")] == [None, None]

    def test_a_group_sent_again_is_a_replay(self) -> None:
        book = book_with(ACCOUNTS)
        for replayed in (False, True):
            answers = linked(book, a="till -> income 10", b="till -> income 20")
            assert [answer.replayed for answer in answers] == [replayed, replayed]
        assert balances(book)["till"] == 30

    def test_a_group_with_a_member_that_was_refused_before_is_refused_as_a_whole(self) -> None:
        book = book_with(ACCOUNTS)
        post(book, "wallet -> till 50", "b")
        answers = linked(book, a="till -> wallet 50", b="wallet -> till 50")
        assert [answer.reason for answer in answers] == [Reason.LINKED_FAILED, Reason.LIMIT_EXCEEDED]
        assert balances(book)["till"] == 0

    def test_the_innocent_are_told_which_member_failed_and_why(self) -> None:
        book = book_with(ACCOUNTS)
        innocent, guilty = linked(book, a="till -> income 10", b="control -> income 501")
        assert innocent.result == {"failed": str(id_for("b")), "cause": "limit_exceeded"}
        assert guilty.result == {"headroom": 500, "requested": 501}

    def test_what_moved_alone_is_no_half_of_a_group(self) -> None:
        book = book_with(ACCOUNTS)
        post(book, "till -> income 10", "a")
        for second in ("till -> income 20", "control -> income 501"):
            answers = linked(book, a="till -> income 10", b=second)
            assert [answer.reason for answer in answers] == [Reason.ID_CONFLICT, Reason.LINKED_FAILED]
            assert answers[0].result == {"field": "linked"}
        assert balances(book)["till"] == 10
        assert post(book, "till -> income 20", "b").reason is None

    def test_a_group_whose_cause_is_not_kept_keeps_nothing_and_is_told_the_same_again(self) -> None:
        book = book_with(ACCOUNTS)
        post(book, "till -> income 100", "b")
        for _ in range(2):
            answers = linked(book, a="till -> income 10", b="till -> income 101")
            assert [answer.reason for answer in answers] == [Reason.LINKED_FAILED, Reason.ID_CONFLICT]
        assert post(book, "till -> income 10", "a").reason is None

    def test_a_reversal_in_a_refused_group_leaves_all_of_its_original_to_be_reversed(self) -> None:
        book = book_with(ACCOUNTS)
        post(book, "till -> income 100")
        linked(book, a="reverse t1 70", b="control -> income 501")
        assert post(book, "reverse t1", "r1").result == {"amount": 100}


class TestReversals:
    def test_a_reversal_is_the_opposite_transfer_and_may_be_partial(self) -> None:
        book = book_with(ACCOUNTS)
        post(book, "till -> income 100")
        assert post(book, "reverse t1 30", "r1").reason is None
        assert balances(book)["till"] == 70
        assert post(book, "reverse t1 71", "r2").result == {"remaining": 70, "requested": 71}
        assert post(book, "reverse t1", "r3").result == {"amount": 70}
        assert balances(book)["till"] == 0
        assert post(book, "reverse t1", "r4").result == {"remaining": 0, "requested": 100}

    def test_a_reversal_sent_again_is_a_replay(self) -> None:
        book = book_with(ACCOUNTS)
        post(book, "till -> income 100")
        post(book, "reverse t1 30", "r1")
        assert post(book, "reverse t1 30", "r1").replayed
        assert post(book, "reverse t1 31", "r1").result == {"field": "amount"}

    def test_all_that_is_left_is_not_the_amount_that_it_came_to(self) -> None:
        book = book_with(ACCOUNTS)
        post(book, "till -> income 100")
        post(book, "reverse t1 100", "r1")
        assert post(book, "reverse t1", "r1").result == {"field": "amount"}

    def test_what_is_not_there_or_is_itself_a_reversal_is_not_reversed(self) -> None:
        book = book_with(ACCOUNTS)
        assert post(book, "reverse t1", "r1").reason is Reason.ORIGINAL_NOT_FOUND
        post(book, "till -> income 100")
        post(book, "reverse t1", "r2")
        assert post(book, "reverse r2 1", "r3").reason is Reason.ORIGINAL_IS_REVERSAL


class TestBalancing:
    """A transfer of "at most": what the debit account can give, what the credit account owes, or both."""

    def book(self) -> Book:
        book = book_with("""
            account  side    limit  floor
            till     debit
            purse    credit  -      10
            card     debit   300
            debt     debit
            safe     debit   -      50
            free     credit
            world    credit
        """)
        post(book, "till -> purse 100", "s1")
        post(book, "debt -> world 70", "s2")
        post(book, "safe -> world 80", "s3")
        post(book, "till -> free 40", "s4")
        return book

    @pytest.mark.parametrize(
        ("line", "amount"),
        [
            ("purse -> till up to 500 by debit", 90),
            ("purse -> till up to 20 by debit", 20),
            ("card -> till up to 500 by debit", 300),
            ("free -> till up to 500 by debit", 40),
            ("till -> debt up to 500 by credit", 70),
            ("till -> safe up to 500 by credit", 30),
            ("purse -> debt up to 500 by both", 70),
            ("free -> debt up to 500 by both", 40),
            ("free -> safe up to 500 by both", 30),
        ],
    )
    def test_it_moves_what_the_named_sides_allow(self, line: str, amount: int) -> None:
        book = self.book()
        assert post(book, line).result == {"amount": amount}
        assert post(book, line).replayed
        assert post(book, line, "t2").reason in (None, Reason.NOTHING_AVAILABLE)

    @pytest.mark.parametrize("line", ["till -> free up to 5 by debit", "till -> free up to 5 by both"])
    def test_where_nothing_is_there_it_says_so(self, line: str) -> None:
        answer = post(self.book(), line)
        assert (answer.reason, answer.result) == (Reason.NOTHING_AVAILABLE, {"available": 0, "requested": 5})

    def test_however_much_is_asked_for_nothing_is_still_nothing(self) -> None:
        assert post(self.book(), f"till -> free up to {MAX_AMOUNT} by debit").reason is Reason.NOTHING_AVAILABLE

    def test_the_side_that_is_not_named_may_still_refuse(self) -> None:
        assert post(self.book(), "purse -> debt up to 500 by debit").result == {"amount": 90}
        answer = post(self.book(), "till -> safe up to 31 by debit")
        assert answer.reason is Reason.NOTHING_AVAILABLE
        answer = post(self.book(), "free -> safe up to 31 by debit")
        assert (answer.reason, answer.result["available"]) == (Reason.INSUFFICIENT_FUNDS, 30)

    def test_a_member_of_a_group_is_bounded_by_what_earlier_members_left(self) -> None:
        book = self.book()
        answers = linked(book, a="purse -> debt 60", b="purse -> debt up to 500 by both")
        assert [answer.result for answer in answers] == [{"amount": 60}, {"amount": 10}]


lines = st.tuples(
    st.sampled_from(["till", "wallet", "control", "income", "stopped", "nobody"]),
    st.sampled_from(["till", "wallet", "control", "income", "gone"]),
    st.integers(1, 700),
    st.integers(0, 12),
)


@given(st.lists(st.lists(lines, min_size=1, max_size=4, unique_by=lambda line: line[3]), max_size=15))
def test_whatever_is_asked_books_balance_limits_hold_and_entries_fold_to_balances(
    groups: list[list[tuple[str, str, int, int]]],
) -> None:
    book = book_with(ACCOUNTS)
    for group in groups:
        post_orders(book, [order(f"{debit} -> {credit} {amount}", f"t{n}") for debit, credit, amount, n in group])
    check_books(book)
    folded = {account.id: [0, 0] for account in book.accounts.values()}
    for posted in book.posted:
        folded[posted.transfer.debit_account][0] += posted.transfer.amount
        folded[posted.transfer.credit_account][1] += posted.transfer.amount
    for account in book.accounts.values():
        assert [account.debits_posted, account.credits_posted] == folded[account.id]
        assert account.credit_limit is None or account.drawn <= account.credit_limit
