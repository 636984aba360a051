"""Commands on accounts: opening, bounds, freezing, closing; and what an account says of itself."""

import pytest
from tests.domain.ledger import NOW, TENANT, asked, book_with, change, id_for, post

from amana.domain.account import Account, wallet_account_id
from amana.domain.account_commands import close, open_account, set_credit_line, set_limits
from amana.domain.book import Book, Kind
from amana.domain.ids import system_account_id
from amana.domain.reasons import Reason

ACCOUNTS = """
    account    side    limit  floor
    bank       debit
    wallet     credit  -      0
    card       debit   500
    reserved1  debit
"""


def account(book: Book, name: str) -> Account:
    return book.accounts[TENANT, id_for(name)]


class TestWhatAnAccountSays:
    @pytest.mark.parametrize(
        ("side", "counters", "balance", "drawn"),
        [
            ("debit", (0, 100, 0, 30), 70, 70),
            ("credit", (0, 100, 0, 30), -70, 70),
            ("debit", (20, 100, 50, 30), 70, 90),
            ("credit", (20, 30, 50, 100), 70, -50),
        ],
    )
    def test_balance_is_posted_and_on_the_normal_side_and_drawn_counts_what_is_held(
        self, side: str, counters: tuple[int, int, int, int], balance: int, drawn: int
    ) -> None:
        book = book_with(f"account side\na {side}")
        a = account(book, "a")
        a.debits_pending, a.debits_posted, a.credits_pending, a.credits_posted = counters
        assert (a.balance, a.drawn) == (balance, drawn)

    @pytest.mark.parametrize(
        ("side", "counters", "available"),
        [
            # (debits pending, debits posted, credits pending, credits posted), floor 10
            ("credit", (0, 0, 0, 100), 90),
            ("credit", (40, 0, 0, 100), 50),
            ("credit", (0, 0, 40, 100), 90),
            ("credit", (0, 95, 0, 100), 0),
            ("debit", (0, 100, 0, 0), 90),
            ("debit", (0, 100, 40, 0), 50),
            ("debit", (40, 100, 0, 0), 90),
            ("debit", (0, 5, 0, 0), 0),
        ],
    )
    def test_what_is_available_is_above_the_floor_and_never_what_is_still_to_come(
        self, side: str, counters: tuple[int, int, int, int], available: int
    ) -> None:
        book = book_with(f"account side floor\na {side} 10")
        a = account(book, "a")
        a.debits_pending, a.debits_posted, a.credits_pending, a.credits_posted = counters
        assert a.available == available

    def test_without_a_bound_there_is_no_figure_for_it(self) -> None:
        bank = account(book_with(ACCOUNTS), "bank")
        assert (bank.headroom, bank.available) == (None, None)


class TestOpening:
    def test_an_id_opens_one_account(self) -> None:
        book = book_with(ACCOUNTS)
        new = Account(TENANT, id_for("new"), id_for("ada"), "NGN", "general", "debit", None, NOW)
        command = asked("new", Kind.ACCOUNT, side="debit")
        assert open_account(book, command, new).reason is None
        assert open_account(book, command, new).replayed
        assert open_account(book, asked("new", Kind.ACCOUNT, side="credit"), new).result == {"field": "side"}
        assert [draft.type for draft in book.drafts] == ["AccountOpened"]

    def test_an_id_that_is_an_accounts_already_opens_none(self) -> None:
        book = book_with(ACCOUNTS)
        answer = open_account(book, asked("bank", Kind.ACCOUNT), account(book, "bank"))
        assert (answer.reason, answer.result) == (Reason.ID_CONFLICT, {"field": "id"})

    def test_the_id_of_a_transfer_is_taken(self) -> None:
        book = book_with(ACCOUNTS)
        post(book, "bank -> wallet 5")
        new = Account(TENANT, id_for("t1"), id_for("ada"), "NGN", "general", "debit", None, NOW)
        assert open_account(book, asked("t1", Kind.ACCOUNT), new).result == {"field": "kind"}


class TestBounds:
    def test_only_what_is_named_changes_and_the_event_tells_both(self) -> None:
        book = book_with(ACCOUNTS)
        answer = change(book, "limit card 300")
        assert (answer.result["credit_limit"], answer.result["floor"]) == (300, None)
        answer = change(book, "floor card 7", "c2")
        assert (answer.result["credit_limit"], answer.result["floor"]) == (300, 7)
        data = [draft.data for draft in book.drafts]
        assert [(d["from"], d["to"], d["floor_from"], d["floor_to"]) for d in data if isinstance(d, dict)] == [
            (500, 300, None, None),
            (300, 300, None, 7),
        ]
        assert [draft.aggregate.version for draft in book.drafts] == [2, 3]

    def test_the_answer_says_how_much_is_drawn_when_a_limit_falls_below_it(self) -> None:
        book = book_with(ACCOUNTS)
        post(book, "card -> wallet 400")
        post(book, "hold card -> wallet 50", "h")
        assert change(book, "limit card 100").result["drawn"] == 450
        assert account(book, "card").headroom == 0

    def test_an_account_that_moves_with_a_loan_gets_its_limit_by_the_credit_line_alone(self) -> None:
        assert change(book_with(ACCOUNTS), "limit reserved1 5").reason is Reason.ACCOUNT_RESERVED


class TestStates:
    @pytest.mark.parametrize("line", ["freeze gone", "unfreeze gone", "close gone", "limit gone 5", "floor gone 5"])
    def test_a_closed_account_changes_no_more(self, line: str) -> None:
        book = book_with("account side status\ngone debit closed")
        assert change(book, line).reason is Reason.ACCOUNT_CLOSED

    @pytest.mark.parametrize("line", ["freeze nobody", "close nobody", "limit nobody 5"])
    def test_what_is_not_there_is_not_changed(self, line: str) -> None:
        answer = change(book_with(ACCOUNTS), line)
        assert (answer.reason, answer.result) == (Reason.ACCOUNT_NOT_FOUND, {"account": str(id_for("nobody"))})

    def test_freezing_may_be_tightened_and_loosened_and_each_is_told(self) -> None:
        book = book_with(ACCOUNTS)
        for name, line, frozen_for in (
            ("c1", "freeze wallet debits", "debits"),
            ("c2", "freeze wallet", "all"),
            ("c3", "unfreeze wallet", None),
        ):
            assert change(book, line, name).result["frozen_for"] == frozen_for
        assert [draft.type for draft in book.drafts] == ["AccountFrozen", "AccountFrozen", "AccountUnfrozen"]

    def test_a_refusal_to_close_sticks_to_its_id(self) -> None:
        book = book_with(ACCOUNTS)
        post(book, "bank -> wallet 5")
        assert change(book, "close wallet").result == {"balance": 5, "pending": 0}
        post(book, "wallet -> bank 5", "t2")
        assert change(book, "close wallet").replayed
        assert change(book, "close wallet", "c2").reason is None
        assert account(book, "wallet").status == "closed"

    def test_a_frozen_account_closes_and_is_no_longer_frozen(self) -> None:
        book = book_with(ACCOUNTS)
        change(book, "freeze wallet")
        assert change(book, "close wallet", "c2").result["frozen_for"] is None

    def test_what_amana_itself_needs_is_not_closed(self) -> None:
        book = book_with(ACCOUNTS)
        assert change(book, "close reserved1").reason is Reason.ACCOUNT_RESERVED
        set_credit_line(book, asked("line", Kind.CREDIT_LINE), id_for("ada"), "NGN", 5)
        own = [account for account in book.accounts.values() if account.owner == id_for("ada")]
        assert {account.code for account in own} == {"exposure", "wallet"}
        for n, one in enumerate(own):
            assert close(book, asked(f"own{n}", Kind.CLOSURE), one.id).reason is Reason.ACCOUNT_RESERVED


def test_a_command_in_another_shard_than_its_account_is_refused_and_not_kept() -> None:
    book = book_with(ACCOUNTS)
    book.shards = 8
    far = asked("far", Kind.LIMIT)
    elsewhere = system_account_id(TENANT, "NGN", "funding", 7, 8)
    assert set_limits(book, far, elsewhere, 5, None).reason is Reason.ID_SHARD_MISMATCH
    assert not book.new_answers


def test_a_customers_wallet_never_pays_out_more_than_came_in() -> None:
    book = book_with("")
    set_credit_line(book, asked("line", Kind.CREDIT_LINE), id_for("ada"), "NGN", 5)
    wallet = book.accounts[TENANT, wallet_account_id(id_for("ada"), "NGN")]
    assert (wallet.floor, wallet.available) == (0, 0)
