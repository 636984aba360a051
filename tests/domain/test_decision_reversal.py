"""What a reversal makes of the ledger's answers, offer by offer."""

from datetime import timedelta

import msgspec
import pytest
from tests.domain.ledger import id_for
from tests.domain.policy_model import compiled, shipped

from amana.domain.decision_reversal import (
    ENDS,
    SETTLED_S,
    Moved,
    SagaState,
    Step,
    StepState,
    UndoLoans,
    Withdrawn,
    abandoned,
    after,
    resumed,
    state_of,
    undo_terms,
)
from amana.domain.ids import bucket_of
from amana.domain.loan_reversal import Kept, OfferOutcome
from amana.domain.policy import LoanReversal, OnRepaid, PrincipalFrom, policy_bytes, policy_from
from amana.domain.reasons import Reason
from amana.domain.transfer import Refused

ADA, REVERSAL, LOAN = id_for("ada"), id_for("reversal"), id_for("loan")
NEW = timedelta(0)
TERMS = LoanReversal(within_days=3, repaid=OnRepaid.RETURN, principal_from=PrincipalFrom.FUNDING)


def step(state: StepState = StepState.WITHDRAWING, **more: object) -> Step:
    loan = None if state in (StepState.WITHDRAWING, StepState.UNBOOKED, StepState.UNKNOWN) else LOAN
    return msgspec.structs.replace(Step(offer=id_for("offer"), state=state, loan=loan), **more)


@pytest.mark.parametrize(
    ("outcome", "loan", "kept", "state"),
    [
        (OfferOutcome.UNBOOKED, None, None, StepState.UNBOOKED),
        (OfferOutcome.KEPT, LOAN, Kept.TOO_LATE, StepState.KEPT),
        (OfferOutcome.REVERSING, LOAN, None, StepState.REVERSING),
    ],
)
def test_a_withdrawal_says_what_became_of_the_offer(
    outcome: OfferOutcome, loan: object, kept: Kept | None, state: StepState
) -> None:
    found = after(step(), Withdrawn(outcome, LOAN if loan else None, kept), NEW)
    assert (found.state, found.loan, found.kept_because) == (state, loan, kept)
    assert found.goes_on is (state is StepState.REVERSING)


def test_a_loan_is_reversed_once_its_money_has_moved_and_kept_once_it_is_left() -> None:
    assert after(step(StepState.REVERSING), Moved(), NEW).state is StepState.REVERSED
    left = after(step(StepState.ABANDONING), Moved(), NEW)
    assert (left.state, left.kept_because) == (StepState.KEPT, Kept.ABANDONED)


@pytest.mark.parametrize(
    ("state", "reason", "end"),
    [
        (StepState.REVERSING, Reason.ALREADY_REVERSED, StepState.REVERSED),
        (StepState.ABANDONING, Reason.ALREADY_REVERSED, StepState.REVERSED),
        (StepState.ABANDONING, Reason.LOAN_NOT_REVERSING, StepState.KEPT),
    ],
)
def test_what_was_done_before_is_done(state: StepState, reason: Reason, end: StepState) -> None:
    assert after(step(state), Refused(reason), NEW).state is end


@pytest.mark.parametrize("reason", [Reason.INSUFFICIENT_FUNDS, Reason.ACCOUNT_FROZEN, Reason.TOO_MANY_REPAYMENTS])
def test_a_refusal_waits_for_a_person_and_is_asked_again_under_another_id(reason: Reason) -> None:
    before = step(StepState.REVERSING)
    waits = after(before, Refused(reason), NEW)
    assert (waits.state, waits.stuck_because, waits.goes_on) == (StepState.REVERSING, reason, False)
    assert state_of((waits,)) is SagaState.STUCK
    again = resumed(waits)
    assert again.goes_on and state_of((again,)) is SagaState.RUNNING
    assert again.command_id(ADA, REVERSAL) != before.command_id(ADA, REVERSAL)


def test_the_same_step_asks_under_the_same_id_in_the_customers_shard() -> None:
    ids = {step(state).command_id(ADA, REVERSAL) for state in StepState for _ in range(2)}
    assert len(ids) == len(StepState)
    assert {bucket_of(id_) for id_ in ids} == {bucket_of(ADA)}


def test_who_has_no_credit_line_has_no_loan_once_no_booking_can_be_under_way() -> None:
    no_line = Refused(Reason.CREDIT_LINE_NOT_FOUND)
    early = after(step(), no_line, timedelta(seconds=SETTLED_S - 1))
    assert (early.state, early.goes_on, early.refusals) == (StepState.WITHDRAWING, True, 1)
    assert after(early, no_line, timedelta(seconds=SETTLED_S)).state is StepState.UNBOOKED


def test_what_a_person_gives_up_is_left_as_it_is() -> None:
    assert abandoned(step(StepState.REVERSING, stuck_because="x")).state is StepState.ABANDONING
    assert abandoned(step(StepState.WITHDRAWING, stuck_because="x")).state is StepState.UNKNOWN
    assert abandoned(step(StepState.ABANDONING, stuck_because="x")).goes_on


def test_a_reversal_is_over_when_all_of_its_offers_are() -> None:
    for end in ENDS:
        assert state_of((step(end),)) is SagaState.OVER
        assert state_of((step(end), step())) is SagaState.RUNNING
        assert state_of((step(end), step(stuck_because="x"))) is SagaState.STUCK
    assert state_of((step(), step(stuck_because="x"))) is SagaState.RUNNING, "one that is stuck stops no other"


def test_loans_are_kept_unless_it_is_asked_and_the_policy_allows() -> None:
    silent = compiled(shipped("nano"))
    allowing = compiled(msgspec.structs.replace(shipped("nano"), loan_reversal=TERMS))
    assert undo_terms(UndoLoans.KEEP, allowing).kept is Kept.NOT_ASKED
    assert undo_terms(UndoLoans.REVERSE, silent).kept is Kept.NOT_ALLOWED
    assert undo_terms(UndoLoans.REVERSE, None).kept is Kept.NOT_ALLOWED
    found = undo_terms(UndoLoans.REVERSE, allowing)
    assert (found.terms, found.kept, found.policy_hash) == (TERMS, None, allowing.hash)


def test_a_policy_that_says_nothing_of_it_keeps_its_bytes() -> None:
    silent = policy_bytes(shipped("nano"))
    assert b"loan_reversal" not in silent
    allowing = msgspec.structs.replace(shipped("nano"), loan_reversal=TERMS)
    assert policy_from(policy_bytes(allowing)) == allowing
    for wrong in (b'"within_days":-1', b'"within_days":3651', b'"within_days":true', b'"within_day":1'):
        with pytest.raises(msgspec.ValidationError, match="loan_reversal"):
            policy_from(policy_bytes(allowing).replace(b'"within_days":3', wrong))
