"""Holds: what they reserve, what captures, voids and expiry leave of them, and who hears of it."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.ledger import (
    NOW,
    TENANT,
    after_s,
    book_with,
    change,
    check_books,
    id_for,
    linked,
    order,
    post,
    set_clock,
)

from amana.domain.book import Book
from amana.domain.events import MovementData, utc_text
from amana.domain.ids import derived_id
from amana.domain.reasons import Reason
from amana.domain.transfer import Hold, Movement, Transfer
from amana.domain.transfer_commands import EXPIRY_ACTOR, expire_holds, post_orders

ACCOUNTS = """
    account  side    limit  floor
    bank     debit
    wallet   credit  -      0
    card     debit   500
    shop     credit
"""


def funded() -> Book:
    """A wallet with 1000 in it."""
    book = book_with(ACCOUNTS)
    post(book, "bank -> wallet 1000", "topup")
    return book


def hold_of(book: Book, name: str = "h") -> Hold:
    return book.holds[TENANT, id_for(name)]


def let_pass(book: Book, seconds: int) -> int:
    """Time goes on; how many holds it was too much for."""
    set_clock(book, after_s(seconds))
    return expire_holds(book)


def test_a_hold_reserves_on_both_accounts_and_moves_nothing() -> None:
    book = funded()
    answer = post(book, "hold wallet -> bank 300 for 1h", "h")
    assert answer.result == {"amount": 300, "expires_at": utc_text(NOW + timedelta(hours=1))}
    wallet = book.accounts[TENANT, id_for("wallet")]
    assert (wallet.balance, wallet.debits_pending, wallet.available) == (1000, 300, 700)
    assert book.accounts[TENANT, id_for("bank")].credits_pending == 300


def test_a_hold_without_an_end_lives_until_somebody_ends_it() -> None:
    book = funded()
    assert post(book, "hold wallet -> bank 300", "h").result == {"amount": 300}
    assert let_pass(book, 10**8) == 0
    assert post(book, "capture h", "c").reason is None


@pytest.mark.parametrize("lines", [["card -> shop 300"], ["hold card -> shop 300"], ["card -> shop 300 by debit"]])
def test_whatever_was_reserved_counts_against_the_limit(lines: list[str]) -> None:
    book = book_with(ACCOUNTS)
    post(book, "hold card -> shop 300", "h")
    if "by" in lines[0]:
        assert post(book, "card -> shop up to 300 by debit").result == {"amount": 200}
    else:
        assert post(book, lines[0]).result == {"headroom": 200, "requested": 300}


class TestCaptures:
    def test_a_capture_never_fails_for_funds(self) -> None:
        book = book_with(ACCOUNTS)
        post(book, "hold card -> shop 500", "h")
        change(book, "limit card 0")
        assert post(book, "capture h", "c").result == {"amount": 500}
        assert book.accounts[TENANT, id_for("card")].headroom == 0

    def test_each_takes_what_it_says_and_the_last_closes_it(self) -> None:
        book = funded()
        post(book, "hold wallet -> bank 300", "h")
        for name, line, state, left in (
            ("c1", "capture h 100", "open", 200),
            ("c2", "capture h 150", "open", 50),
            ("c3", "capture h", "captured", 0),
        ):
            post(book, line, name)
            assert (hold_of(book).state, hold_of(book).remaining) == (state, left)
        assert [posted.transfer.released for posted in book.posted[2:]] == [100, 150, 50]

    def test_a_final_one_releases_the_rest(self) -> None:
        book = funded()
        post(book, "hold wallet -> bank 300", "h")
        post(book, "capture h 100 final", "c")
        assert (hold_of(book).state, hold_of(book).captured) == ("captured", 100)
        assert (book.posted[-1].transfer.amount, book.posted[-1].transfer.released) == (100, 300)
        check_books(book)

    def test_a_final_one_without_an_amount_takes_it_all(self) -> None:
        book = funded()
        post(book, "hold wallet -> bank 300", "h")
        assert post(book, "capture h final", "c").result == {"amount": 300}

    def test_one_sent_again_is_a_replay_and_a_changed_one_is_refused_by_the_field(self) -> None:
        book = funded()
        post(book, "hold wallet -> bank 300", "h")
        post(book, "capture h 100", "c")
        assert post(book, "capture h 100", "c").replayed
        for line, field in (
            ("capture h 101", "amount"),
            ("capture h 100 final", "final"),
            ("force h 100", "reason"),
            ("void h", "kind"),
            ("reverse h 100", "kind"),
        ):
            assert post(book, line, "c").result == {"field": field}
        assert hold_of(book).captured == 100


def test_a_hold_sent_again_is_a_replay_whatever_became_of_it() -> None:
    book = funded()
    first = post(book, "hold wallet -> bank 300 for 1h", "h")
    post(book, "void h", "v")
    again = post(book, "hold wallet -> bank 300 for 1h", "h")
    assert (again.result, again.replayed) == (first.result, True)
    assert post(book, "hold wallet -> bank 300 for 2h", "h").result == {"field": "ttl_s"}
    assert post(book, "hold wallet -> bank 300", "h").result == {"field": "ttl_s"}
    assert post(book, "wallet -> bank 300", "h").result == {"field": "kind"}


class TestExpiry:
    def test_it_comes_to_the_second_and_once(self) -> None:
        book = funded()
        post(book, "hold wallet -> bank 300 for 1h", "h")
        assert let_pass(book, 3_599) == 0
        assert let_pass(book, 3_600) == 1
        assert let_pass(book, 3_600) == 0
        assert hold_of(book).state == "expired"
        check_books(book)

    def test_it_is_a_transfer_of_its_own_that_follows_from_the_holds_id(self) -> None:
        book = funded()
        post(book, "hold wallet -> bank 300 for 1h", "h")
        post(book, "capture h 100", "c")
        let_pass(book, 3_600)
        transfer = book.posted[-1].transfer
        assert (transfer.id, transfer.kind) == (derived_id(id_for("h"), "expire"), Movement.EXPIRE)
        assert (transfer.amount, transfer.released) == (200, 200)
        assert book.drafts[-1].actor == EXPIRY_ACTOR

    def test_a_capture_in_time_is_not_stopped_by_a_late_sweeper(self) -> None:
        book = funded()
        post(book, "hold wallet -> bank 300 for 1h", "h")
        set_clock(book, after_s(3_599))
        assert post(book, "capture h", "c").reason is None

    def test_a_forced_capture_goes_on_from_where_expiry_left_it(self) -> None:
        book = funded()
        post(book, "hold wallet -> bank 300 for 1h", "h")
        post(book, "capture h 100", "c")
        let_pass(book, 3_600)
        post(book, "wallet -> bank 900", "spend")
        assert post(book, "force h 150", "f1").reason is None
        assert (hold_of(book).state, hold_of(book).remaining) == ("expired", 50)
        assert book.posted[-1].transfer.released == 0
        assert post(book, "force h", "f2").result == {"amount": 50}
        assert hold_of(book).state == "captured"
        assert book.accounts[TENANT, id_for("wallet")].balance == -200
        check_books(book)

    @pytest.mark.parametrize(
        ("ending", "reason"), [("void h", Reason.HOLD_VOIDED), ("capture h 1 final", Reason.HOLD_CAPTURED)]
    )
    def test_what_was_ended_by_its_lender_is_not_forced(self, ending: str, reason: Reason) -> None:
        book = funded()
        post(book, "hold wallet -> bank 300 for 1h", "h")
        post(book, ending, "e")
        let_pass(book, 3_600)
        assert post(book, "force h", "f").reason is reason


def test_every_change_of_a_hold_is_an_event_with_the_next_version() -> None:
    book = funded()
    post(book, "hold wallet -> bank 300 for 1h", "h")
    post(book, "capture h 100", "c")
    let_pass(book, 3_600)
    post(book, "force h 50", "f")
    told = [(draft.type, draft.aggregate.version, _shown(draft.data)) for draft in book.drafts[1:]]
    assert told == [
        ("HoldPlaced", 1, {"amount": 300, "expires_at": utc_text(NOW + timedelta(hours=1))}),
        ("HoldCaptured", 2, {"amount": 100, "released": 100, "hold": True}),
        ("HoldExpired", 3, {"amount": 200, "released": 200, "hold": True}),
        ("HoldCaptured", 4, {"amount": 50, "hold": True, "reason": "late_file"}),
    ]


def _shown(data: Any) -> dict[str, Any]:
    """The members that tell one movement from another."""
    assert isinstance(data, MovementData)
    shown = {"amount": data.amount, "expires_at": data.expires_at, "released": data.released, "reason": data.reason}
    shown |= {"hold": data.hold == id_for("h"), "final": data.final}
    return {name: value for name, value in shown.items() if value}


def test_a_group_that_fails_leaves_its_holds_as_they_were() -> None:
    book = funded()
    post(book, "hold wallet -> bank 300", "h")
    before = (hold_of(book).state, hold_of(book).captured, hold_of(book).version)
    answers = linked(book, a="capture h 100", b="void h", c="hold wallet -> bank 10", d="wallet -> bank 5000")
    assert answers[-1].reason is Reason.INSUFFICIENT_FUNDS
    assert (hold_of(book).state, hold_of(book).captured, hold_of(book).version) == before
    assert (TENANT, id_for("c")) not in book.holds
    check_books(book)


steps = st.one_of(
    st.tuples(st.just("hold wallet -> bank {n} for 1h"), st.integers(1, 600)),
    st.tuples(st.just("hold card -> shop {n}"), st.integers(1, 600)),
    st.tuples(st.sampled_from(["wallet -> bank {n}", "card -> shop {n}", "bank -> wallet {n}"]), st.integers(1, 600)),
    st.tuples(st.sampled_from(["capture {h} {n}", "capture {h} {n} final", "force {h} {n}"]), st.integers(1, 600)),
    st.tuples(st.sampled_from(["capture {h}", "void {h}", "reverse {h}"]), st.just(1)),
    st.tuples(st.sampled_from(["wallet -> bank up to {n} by debit", "pass"]), st.integers(1, 3_000)),
)


@given(st.lists(st.tuples(steps, st.integers(0, 8), st.booleans()), max_size=25))
def test_after_any_history_holds_are_what_is_pending_and_nothing_was_spent_twice(
    history: list[tuple[tuple[str, int], int, bool]],
) -> None:
    book = funded()
    group = []
    late = 0
    clock_s = 0
    for index, ((line, n), about, tied) in enumerate(history):
        if line == "pass":
            clock_s += n
            let_pass(book, clock_s)
            continue
        group.append(order(line.format(n=n, h=f"o{about}"), f"o{index}"))
        if not tied:
            moved = len(book.posted)
            post_orders(book, group)
            late += sum(p.transfer.amount for p in book.posted[moved:] if _is_late(p.transfer))
            group = []
        check_books(book)
    for hold in book.holds.values():
        taken = [p.transfer.amount for p in book.posted if p.transfer.hold == hold.id and p.transfer.kind == "capture"]
        assert hold.captured == sum(taken) <= hold.amount
    wallet, card = (book.accounts[TENANT, id_for(name)] for name in ("wallet", "card"))
    assert wallet.balance - wallet.debits_pending >= -late
    assert card.drawn <= 500 + late


def _is_late(transfer: Transfer) -> bool:
    """A forced capture after expiry: the only order that may pass a bound."""
    return transfer.kind == Movement.CAPTURE and transfer.released == 0
