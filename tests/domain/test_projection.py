"""Folds of events into rows: complete, strict about what they do not know, and quick to see what can't be."""

import tracemalloc
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from amana.domain.event_types import CATALOGUE, VERSIONS
from amana.domain.events import Aggregate, Event, event_bytes
from amana.domain.projection.exposures import ExposureRow, limit, owe
from amana.domain.projection.folds import FOLDS, NO_EFFECT, UnknownEvent, fold_of, read
from amana.domain.projection.state import State

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
TILL, PURSE = UUID(int=1 << 12), UUID(int=2 << 12)


def tell(state: State, type_: str, data: dict[str, Any], *, position: int = 0, of_version: int = 1) -> None:
    """Folds one event."""
    subject = UUID(
        str(data.get("account") or data.get("loan") or data.get("hold") or data.get("transfer") or data["customer"])
    )
    occurred_at = data.pop("occurred_at", NOW)
    event = Event(uuid4(), 7, type_, of_version, occurred_at, Aggregate("thing", subject, 1), "k", "", data)
    fold = fold_of(type_)
    assert fold is not None
    told = read(type_, fold, event_bytes(event))
    for part in fold.parts:
        part.apply(state, told, position)


def opened(state: State, id_: UUID) -> None:
    data = {"account": str(id_), "owner": str(id_), "currency": "NGN", "code": "general", "normal_side": "debit"}
    tell(state, "AccountOpened", data | {"credit_limit": None, "floor": None})


def moved(state: State, kind: str, amount: int, debit: tuple[int, ...], credit: tuple[int, ...], **more: Any) -> None:
    """A movement that leaves both accounts with (pending, posted, version)."""
    none = {"credits_pending": 0, "credits_posted": 0, "debits_pending": 0, "debits_posted": 0}
    sides = {
        side: none | {"account": str(id_), f"{side}s_pending": pending, f"{side}s_posted": posted, "version": version}
        for side, id_, (pending, posted, version) in (("debit", TILL, debit), ("credit", PURSE, credit))
    }
    data = {"amount": amount, "code": "x", "currency": "NGN", "effective_on": "2026-03-01", "transfer": str(uuid4())}
    tell(state, kind, data | sides | more, position=9)


DECIDED: dict[str, Any] = {
    "customer": str(PURSE),
    "product": "nano",
    "currency": "NGN",
    "amount": 1_000,
    "term_days": None,
    "terms": None,
    "request_to_borrow": False,
    "offer_id": None,
    "as_of": "2026-03-01T12:00:00.000000Z",
    "as_of_past": False,
    "policy": {"name": "nano", "version": 1, "hash": "0" * 64},
    "outcome": "decline",
    "limit": 0,
    "price": None,
    "reasons": ["loan_overdue"],
}
"""What a fold reads of a decision."""


def test_every_type_of_event_has_a_fold_or_is_said_to_have_no_effect() -> None:
    assert FOLDS.keys() | NO_EFFECT == VERSIONS.keys()
    assert not FOLDS.keys() & NO_EFFECT


def test_every_field_that_a_fold_must_have_is_one_that_the_event_is_declared_with() -> None:
    declared = {type_.name: set(type_.data.__struct_fields__) for type_ in CATALOGUE.types}
    for name, fold in FOLDS.items():
        data = fold.decode.__self__.type.__args__[0]  # type: ignore[attr-defined]  # a bound method of the decoder
        assert (
            set(data.__struct_fields__[: len(data.__struct_fields__) - len(data.__struct_defaults__)])
            <= (declared[name])
        ), name


def test_a_type_that_nobody_knows_is_an_error_and_so_is_a_newer_version() -> None:
    with pytest.raises(UnknownEvent, match="LoanForgiven"):
        fold_of("LoanForgiven")
    with pytest.raises(UnknownEvent, match="version 2 of AccountClosed"):
        tell(State(1), "AccountClosed", {"account": str(TILL)}, of_version=2)
    with pytest.raises(UnknownEvent, match="version 3 of DecisionMade"):
        tell(State(1), "DecisionMade", DECIDED, of_version=3)


def test_a_decision_is_the_same_row_whatever_version_its_event_has() -> None:
    rows = []
    for version in (1, 2):
        state = State(1)
        tell(state, "DecisionMade", dict(DECIDED), of_version=version)
        rows += [row._replace(decision_id=PURSE) for row in state.decisions]
    assert rows[0] == rows[1]


def test_counters_are_worked_out_again_and_an_event_that_says_otherwise_is_objected_to() -> None:
    state = State(1)
    opened(state, TILL)
    opened(state, PURSE)
    moved(state, "TransferPosted", 100, (0, 100, 1), (0, 100, 1))
    assert not state.contradictions
    moved(state, "TransferPosted", 50, (0, 151, 2), (0, 150, 2))
    (found,) = state.contradictions
    assert (found.about, found.position) == (f"account {TILL}", 9)
    assert "150" in found.folded
    assert "151" in found.told


def test_a_missing_event_is_seen_at_the_next_one() -> None:
    state = State(1)
    opened(state, TILL)
    opened(state, PURSE)
    moved(state, "TransferPosted", 100, (0, 300, 2), (0, 100, 1))
    assert "version 1" in state.contradictions[0].folded


def test_what_was_never_opened_can_not_move() -> None:
    state = State(1)
    opened(state, TILL)
    moved(state, "TransferPosted", 100, (0, 100, 1), (0, 100, 1))
    assert [found.folded for found in state.contradictions] == ["never opened"]
    assert state.transfers == []


def test_time_does_not_go_back_on_an_account_whatever_the_clock_did() -> None:
    state = State(1)
    opened(state, TILL)
    opened(state, PURSE)
    moved(state, "TransferPosted", 1, (0, 1, 1), (0, 1, 1), occurred_at=NOW.replace(hour=8))
    assert state.transfers[0].posted_at == NOW


def test_an_instant_is_that_of_posting_and_what_follows_on_the_account_is_later_too() -> None:
    state = State(1, until=NOW.replace(hour=9, minute=0))
    for id_ in (TILL, PURSE):
        opened(state, id_)  # at 9:30: of accounts that are opened later nothing is folded at all
    moved(state, "TransferPosted", 1, (0, 1, 1), (0, 1, 1), occurred_at=NOW.replace(hour=8))
    assert state.transfers == []
    assert state.accounts[7, TILL].debits_posted == 0


def test_a_row_takes_less_memory_than_the_bound_of_a_replay_counts_on() -> None:
    state, rows = State(1), 2_000
    tracemalloc.start()
    try:
        for number in range(1, rows + 1):
            opened(state, UUID(int=number << 20))
        assert tracemalloc.get_traced_memory()[0] < rows * 1_024
    finally:
        tracemalloc.stop()


def test_exposures_follow_from_what_each_loan_owes_alone() -> None:
    exposure = ExposureRow(7, TILL, "NGN")
    limit(exposure, 5_000)
    owe(exposure, 0, 1_300)
    owe(exposure, 0, 700)
    owe(exposure, 1_300, 0)
    assert (exposure.credit_limit, exposure.owed, exposure.loans_open) == (5_000, 700, 1)
    owe(exposure, 0, 1_300)  # a repayment was taken back
    assert (exposure.owed, exposure.loans_open) == (2_000, 2)


def test_of_an_erased_customer_the_row_says_nothing_any_more() -> None:
    state, ada = State(1), uuid4()
    facts = {"customer": str(ada), "facts_version": 1, "kyc_tier": 2, "blocked": False}
    tell(state, "CustomerFactsRecorded", facts | {"known": ["bvn", "phone"], "consents": {"terms": True}}, position=1)
    (row,) = state.customers.values()
    assert (row.known, row.consent_terms) == (["bvn"], True)  # no row tells a phone without its key
    tell(state, "CustomerRestricted", {"customer": str(ada), "facts_version": 2}, position=2)
    assert (row.known, row.processing) == (["bvn"], "restricted")
    tell(state, "CustomerErased", {"customer": str(ada), "facts_version": 3}, position=3)
    assert (row.facts_version, row.known, row.consent_terms, row.kyc_tier) == (3, [], None, 2)
    assert row.processing == "erased"
