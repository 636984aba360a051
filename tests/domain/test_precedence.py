"""The public table of precedence, pair by pair: whatever two causes meet, the earlier one is the answer."""

import ast
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest
from tests.domain.ledger import TENANT, after_s, book_with, id_for, linked, order, post, set_clock
from tests.style.source import SRC, tree

from amana.domain.account import Account, AccountCode, AccountStatus, Freeze
from amana.domain.book import Answer, Book, StoredAnswer
from amana.domain.money import MAX_AMOUNT
from amana.domain.precedence import KINDS, PRECEDENCE, Cause
from amana.domain.reasons import REFUSALS, Reason
from amana.domain.transfer import HoldState, Movement
from amana.domain.transfer_commands import expire_holds, post_orders

SHARDS = 8
BEFORE = {
    "post": [],
    "hold": [],
    "capture": ["hold payer -> payee 100 for 1h"],
    "forced capture": ["hold payer -> payee 100 for 1h"],
    "void": ["hold payer -> payee 100 for 1h"],
    "reverse": ["payee -> payer 100", "payer -> world 100", "world -> payee 100"],
}
LINES = {
    "post": "payer -> payee 60",
    "hold": "hold payer -> payee 60",
    "capture": "capture b0 60",
    "forced capture": "force b0 60",
    "void": "void b0",
    "reverse": "reverse b0 60",
}


class Case:
    """An order of a kind that would go through, until causes are added."""

    def __init__(self, kind: str) -> None:
        self.book: Book = book_with("""
            account  side
            payer    credit
            payee    debit
            world    debit
        """)
        self.book.shards = SHARDS
        for index, line in enumerate(BEFORE[kind]):
            assert post(self.book, line, f"b{index}").reason is None
        if kind == "forced capture":
            set_clock(self.book, after_s(3_600))
            expire_holds(self.book)
        self.fields: dict[str, Any] = {}
        self.line = LINES[kind]

    def account(self, side: str) -> Account:
        return self.book.accounts[TENANT, id_for("payer" if side == "debit" else "payee")]

    def change_original(self, **fields: Any) -> None:
        key = TENANT, id_for("b0")
        self.book.transfers[key] = msgspec.structs.replace(self.book.transfers[key], **fields)

    def answer(self) -> Answer:
        return post_orders(self.book, [order(self.line, "t1", **self.fields)])[0]


class Setting(NamedTuple):
    """How a cause comes about, and what it needs for itself: two that need the same thing can't meet."""

    needs: set[str]
    arrange: Callable[[Case], object]


def use_id_before(case: Case) -> None:
    id_ = case.fields.get("id", id_for("t1"))
    case.book.answers[TENANT, id_] = StoredAnswer("limit", {}, None, {})


def settings_of(side: str) -> dict[tuple[Reason, str], Setting]:
    """The causes that look at one account."""
    whole = {f"{side}.{part}" for part in ("code", "currency", "status", "counters", "limit", "floor")}

    def setting(name: str, **values: Any) -> Setting:
        def arrange(case: Case) -> None:
            for attribute, value in values.items():
                setattr(case.account(side), attribute, value)

        return Setting({f"{side}.{name}"}, arrange)

    return {
        (Reason.ACCOUNT_NOT_FOUND, side): Setting(
            whole, lambda case: case.book.accounts.pop((TENANT, case.account(side).id))
        ),
        (Reason.ACCOUNT_RESERVED, side): setting("code", code=AccountCode.EXPOSURE),
        (Reason.CURRENCY_MISMATCH, side): setting("currency", currency="USD"),
        (Reason.ACCOUNT_CLOSED, side): setting("status", status=AccountStatus.CLOSED),
        (Reason.ACCOUNT_FROZEN, side): setting("status", status=AccountStatus.FROZEN, frozen_for=Freeze.ALL),
        (Reason.BALANCE_OVERFLOW, side): setting("counters", **{f"{side}s_posted": MAX_AMOUNT}),
        (Reason.INSUFFICIENT_FUNDS, side): setting("floor", floor=0),
        (Reason.LIMIT_EXCEEDED, side): setting("limit", credit_limit=0),
    }


def state_of_hold(state: HoldState) -> Setting:
    def arrange(case: Case) -> None:
        case.book.holds[TENANT, id_for("b0")].state = state

    return Setting({"hold"}, arrange)


CREDIT_SIDE = settings_of("credit")[Reason.ACCOUNT_NOT_FOUND, "credit"].needs
SETTINGS: dict[tuple[Reason, str], Setting] = {
    (Reason.ID_CONFLICT, ""): Setting({"id"}, use_id_before),
    (Reason.ID_SHARD_MISMATCH, ""): Setting({"shard"}, lambda c: c.fields.update(id=UUID(int=0x900))),
    (Reason.HOLD_NOT_FOUND, ""): Setting({"hold"}, lambda c: c.fields.update(original=id_for("nothing"))),
    (Reason.HOLD_CAPTURED, ""): state_of_hold(HoldState.CAPTURED),
    (Reason.HOLD_VOIDED, ""): state_of_hold(HoldState.VOIDED),
    (Reason.HOLD_EXPIRED, ""): state_of_hold(HoldState.EXPIRED),
    (Reason.EXCEEDS_HOLD, ""): Setting({"amount"}, lambda c: c.fields.update(amount=101)),
    (Reason.ORIGINAL_NOT_FOUND, ""): Setting({"original"}, lambda c: c.fields.update(original=id_for("nothing"))),
    (Reason.SAME_ACCOUNT, ""): Setting(CREDIT_SIDE, lambda c: c.fields.update(credit_account=id_for("payer"))),
    (Reason.ORIGINAL_NOT_POSTED, ""): Setting({"kind"}, lambda c: c.change_original(kind=Movement.HOLD)),
    (Reason.ORIGINAL_IS_REVERSAL, ""): Setting({"kind"}, lambda c: c.change_original(original=id_for("t0"))),
    (Reason.ORIGINAL_RESERVED, ""): Setting({"leg"}, lambda c: c.change_original(command=id_for("loan"))),
    (Reason.EXCEEDS_ORIGINAL, ""): Setting({"amount"}, lambda c: c.fields.update(amount=101)),
    (Reason.NOTHING_AVAILABLE, ""): Setting({"balancing"}, lambda c: c.fields.update(balancing="debit")),
} | {key: setting for side in ("debit", "credit") for key, setting in settings_of(side).items()}

SINGLE = [cause for cause in PRECEDENCE if cause.reason is not Reason.LINKED_FAILED]


def of_kind(kind: str) -> list[Cause]:
    return [cause for cause in SINGLE if kind in cause.kinds]


def setting_of(cause: Cause) -> Setting:
    return SETTINGS[cause.reason, cause.side]


def pairs() -> list[tuple[str, Cause, Cause]]:
    """Every two causes of a kind that can meet, the earlier one first."""
    return [
        (kind, first, second)
        for kind in KINDS
        for first, second in itertools.combinations(of_kind(kind), 2)
        if not setting_of(first).needs & setting_of(second).needs
    ]


def told(value: object) -> str:
    return f"{value.side} {value.reason}".strip() if isinstance(value, Cause) else str(value)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_cause_nothing_is_refused(kind: str) -> None:
    assert Case(kind).answer().reason is None


@pytest.mark.parametrize(("kind", "cause"), [(kind, cause) for kind in KINDS for cause in of_kind(kind)], ids=told)
def test_each_cause_alone_is_the_answer_with_its_figures(kind: str, cause: Cause) -> None:
    case = Case(kind)
    setting_of(cause).arrange(case)
    moved = len(case.book.posted)
    answer = case.answer()
    assert (answer.reason, sorted(answer.result)) == (cause.reason, sorted(cause.figures.split()))
    assert len(case.book.posted) == moved


@pytest.mark.parametrize(("kind", "first", "second"), pairs(), ids=told)
def test_of_two_causes_the_earlier_in_the_table_is_the_answer(kind: str, first: Cause, second: Cause) -> None:
    case = Case(kind)
    setting_of(second).arrange(case)
    setting_of(first).arrange(case)
    answer = case.answer()
    assert (answer.reason, sorted(answer.result)) == (first.reason, sorted(first.figures.split()))
    if first.side and "account" in answer.result:
        assert answer.result["account"] == str(id_for("payer" if first.side == "debit" else "payee"))


def test_every_cause_that_the_code_knows_is_in_the_table() -> None:
    named = {
        Reason[node.attr]
        for file in ("posting", "resolving", "transfer_commands")
        for node in ast.walk(tree(SRC / "domain" / f"{file}.py"))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Reason"
    }
    assert named == {cause.reason for cause in PRECEDENCE}


def test_none_of_them_may_be_retried_under_the_same_id() -> None:
    assert not any(REFUSALS[cause.reason].retryable for cause in PRECEDENCE)


def test_in_a_group_the_first_refusal_names_its_cause_and_the_others_are_linked() -> None:
    case = Case("post")
    answers = linked(case.book, a="payer -> payee 1", b="payer -> payer 1", c="payer -> nobody 1")
    assert [answer.reason for answer in answers] == [Reason.LINKED_FAILED, Reason.SAME_ACCOUNT, Reason.LINKED_FAILED]
