"""The ledger's own rules, told as a banker would."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.ledger import TODAY, asked, balances, book_with, difference, id_for, transfer

from amana.domain.book import Kind
from amana.domain.commands import post_transfers, reverse_transfer
from amana.domain.money import MAX_AMOUNT
from amana.domain.reasons import Reason

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


def post(book, line, name="t1", **more):
    return post_transfers(book, [transfer(line, name, **more)])[0]


def test_a_transfer_moves_its_amount_from_credit_to_debit():
    book = book_with(ACCOUNTS)
    assert post(book, "till -> wallet 100").reason is None
    assert balances(book)["till"] == 100
    assert balances(book)["wallet"] == 100
    assert difference(book) == 0
    assert [draft.type for draft in book.drafts] == ["TransferPosted"]


@pytest.mark.parametrize(
    ("line", "reason", "figures"),
    [
        ("till -> till 5", Reason.SAME_ACCOUNT, {}),
        ("nobody -> wallet 5", Reason.ACCOUNT_NOT_FOUND, {"account": str(id_for("nobody"))}),
        ("till -> nobody 5", Reason.ACCOUNT_NOT_FOUND, {"account": str(id_for("nobody"))}),
        ("reserved1 -> wallet 5", Reason.ACCOUNT_RESERVED, {"account": str(id_for("reserved1"))}),
        ("gone -> wallet 5", Reason.ACCOUNT_CLOSED, {"account": str(id_for("gone"))}),
        ("till -> stopped 5", Reason.ACCOUNT_FROZEN, {"account": str(id_for("stopped"))}),
        ("control -> income 501", Reason.LIMIT_EXCEEDED, {"headroom": 500, "requested": 501}),
        ("wallet -> till 1", Reason.LIMIT_EXCEEDED, {"headroom": 0, "requested": 1}),
    ],
)
def test_a_refusal_names_its_cause_and_moves_nothing(line, reason, figures):
    book = book_with(ACCOUNTS)
    answer = post(book, line)
    assert (answer.reason, answer.result) == (reason, figures)
    assert set(balances(book).values()) == {0}
    assert not book.posted
    assert not book.drafts


def test_a_currency_that_is_not_the_accounts_is_refused():
    assert post(book_with(ACCOUNTS), "till -> wallet 5", currency="USD").reason is Reason.CURRENCY_MISMATCH


def test_a_limit_may_be_used_to_the_last_kobo():
    book = book_with(ACCOUNTS)
    assert post(book, "control -> income 500").reason is None
    assert post(book, "control -> income 1", "t2").result == {"headroom": 0, "requested": 1}


def test_a_counter_never_passes_the_largest_amount():
    book = book_with(ACCOUNTS)
    assert post(book, f"till -> income {MAX_AMOUNT}").reason is None
    assert post(book, "till -> income 1", "t2").reason is Reason.BALANCE_OVERFLOW


# In the order of the public table: whatever two causes meet, the earlier one is the answer.
CAUSES: dict[Reason, dict[str, Any]] = {
    Reason.ACCOUNT_NOT_FOUND: {"debit": "nobody"},
    Reason.ACCOUNT_RESERVED: {"debit": "reserved1"},
    Reason.CURRENCY_MISMATCH: {"currency": "USD"},
    Reason.ACCOUNT_CLOSED: {"credit": "gone"},
    Reason.ACCOUNT_FROZEN: {"credit": "stopped"},
    Reason.LIMIT_EXCEEDED: {"debit": "control", "amount": 501},
}


@pytest.mark.parametrize("pair", list(itertools.combinations(CAUSES, 2)), ids="-".join)
def test_of_two_causes_the_earlier_in_the_table_is_the_answer(pair):
    first, second = pair
    if CAUSES[first].keys() & CAUSES[second].keys():
        return  # one field can't carry both causes
    setting: dict[str, Any] = (
        {"debit": "till", "credit": "income", "amount": 5, "currency": "NGN"} | CAUSES[second] | CAUSES[first]
    )
    line = f"{setting['debit']} -> {setting['credit']} {setting['amount']}"
    assert post(book_with(ACCOUNTS), line, currency=setting["currency"]).reason is first


class TestTheIdIsTheIdempotencyKey:
    def test_the_same_id_and_fields_give_the_first_result_again(self):
        book = book_with(ACCOUNTS)
        post(book, "till -> wallet 100")
        again = post(book, "till -> wallet 100")
        assert (again.reason, again.replayed) == (None, True)
        assert balances(book)["till"] == 100

    @pytest.mark.parametrize(
        ("line", "field"),
        [
            ("till -> wallet 101", "amount"),
            ("till -> income 100", "credit_account"),
            ("income -> wallet 100", "debit_account"),
        ],
    )
    def test_the_same_id_with_another_field_is_refused_by_its_name(self, line, field):
        book = book_with(ACCOUNTS)
        post(book, "till -> wallet 100")
        answer = post(book, line)
        assert (answer.reason, answer.result) == (Reason.ID_CONFLICT, {"field": field})

    def test_a_refusal_sticks_to_its_id_even_when_it_would_go_through_now(self):
        book = book_with(ACCOUNTS)
        assert post(book, "wallet -> till 50").reason is Reason.LIMIT_EXCEEDED
        post(book, "till -> wallet 100", "t2")
        again = post(book, "wallet -> till 50")
        assert (again.reason, again.replayed) == (Reason.LIMIT_EXCEEDED, True)
        assert post(book, "wallet -> till 50", "t3").reason is None


class TestLinkedTransfers:
    def test_all_move_or_none_and_the_innocent_are_told_so(self):
        book = book_with(ACCOUNTS)
        group = [
            transfer("till -> income 10", "a"),
            transfer("control -> income 501", "b"),
            transfer("till -> income 20", "c"),
        ]
        assert [answer.reason for answer in post_transfers(book, group)] == [
            Reason.LINKED_FAILED,
            Reason.LIMIT_EXCEEDED,
            Reason.LINKED_FAILED,
        ]
        assert set(balances(book).values()) == {0}
        assert all(account.version == 0 for account in book.accounts.values())

    def test_a_later_member_sees_what_an_earlier_one_moved(self):
        book = book_with(ACCOUNTS)
        group = [transfer("till -> wallet 50", "a"), transfer("wallet -> till 50", "b")]
        assert [answer.reason for answer in post_transfers(book, group)] == [None, None]

    def test_a_group_sent_again_is_a_replay(self):
        book = book_with(ACCOUNTS)
        group = [transfer("till -> income 10", "a"), transfer("till -> income 20", "b")]
        post_transfers(book, group)
        assert [answer.replayed for answer in post_transfers(book, group)] == [True, True]
        assert balances(book)["till"] == 30


class TestReversals:
    def reverse(self, book, amount=None, name="r1", original="t1"):
        command = asked(name, Kind.REVERSAL, reverses=str(id_for(original)), command=None)
        if amount is not None:
            command.request["amount"] = amount
        return reverse_transfer(book, command, id_for(original), amount, TODAY)

    def test_a_reversal_is_the_opposite_transfer_and_may_be_partial(self):
        book = book_with(ACCOUNTS)
        post(book, "till -> income 100")
        assert self.reverse(book, 30).reason is None
        assert balances(book)["till"] == 70
        assert self.reverse(book, 71, "r2").result == {"remaining": 70, "requested": 71}
        assert self.reverse(book, None, "r3").reason is None
        assert balances(book)["till"] == 0
        assert self.reverse(book, None, "r4").reason is Reason.EXCEEDS_ORIGINAL

    def test_a_reversal_sent_again_is_a_replay(self):
        book = book_with(ACCOUNTS)
        post(book, "till -> income 100")
        self.reverse(book, 30)
        assert self.reverse(book, 30).replayed
        assert self.reverse(book, 31).result == {"field": "amount"}

    def test_all_that_is_left_is_not_the_amount_that_it_came_to(self):
        book = book_with(ACCOUNTS)
        post(book, "till -> income 100")
        self.reverse(book, 100)
        assert self.reverse(book).result == {"field": "amount"}

    def test_what_is_not_there_or_is_itself_a_reversal_is_not_reversed(self):
        book = book_with(ACCOUNTS)
        assert self.reverse(book).reason is Reason.ORIGINAL_NOT_FOUND
        post(book, "till -> income 100")
        self.reverse(book, 100, "r2")
        assert self.reverse(book, 1, "r3", original="r2").reason is Reason.ORIGINAL_IS_REVERSAL


lines = st.tuples(
    st.sampled_from(["till", "wallet", "control", "income", "stopped", "nobody"]),
    st.sampled_from(["till", "wallet", "control", "income", "gone"]),
    st.integers(1, 700),
    st.integers(0, 12),
)


@given(st.lists(st.lists(lines, min_size=1, max_size=4), max_size=15))
def test_whatever_is_asked_books_balance_limits_hold_and_entries_fold_to_balances(groups):
    book = book_with(ACCOUNTS)
    for group in groups:
        members = {n: transfer(f"{debit} -> {credit} {amount}", f"t{n}") for debit, credit, amount, n in group}
        post_transfers(book, list(members.values()))
    assert difference(book) == 0
    folded = {account.id: [0, 0] for account in book.accounts.values()}
    for posted in book.posted:
        folded[posted.transfer.debit_account][0] += posted.transfer.amount
        folded[posted.transfer.credit_account][1] += posted.transfer.amount
    for account in book.accounts.values():
        assert [account.debits_posted, account.credits_posted] == folded[account.id]
        assert account.credit_limit is None or account.drawn <= account.credit_limit
