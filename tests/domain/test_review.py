"""What people may do about a decision: who may judge, what may be overruled, and which refusal comes first."""

from itertools import combinations
from typing import Any

import msgspec
import pytest
from tests.domain.ledger import id_for
from tests.domain.policy_model import NOW, compiled, facts, shipped
from tests.domain.review_cases import ASKER, JUDGE, case

from amana.domain.commitments import Words, differing_words, salted_digest
from amana.domain.decision import CompiledPolicy, assess, decide
from amana.domain.policy import Network, Outcome
from amana.domain.reasons import Reason
from amana.domain.review import (
    Case,
    OverrideOutcome,
    OverrideTerms,
    ResolutionOutcome,
    Standing,
    Wanted,
    cap_now,
    refuse_appeal,
    refuse_help,
    refuse_override,
    refuse_resolution,
    refuse_reversal,
    refuse_withdrawn,
    terms_of,
)
from amana.domain.transfer import Refused

NANO = compiled(shipped("nano"))
CAP = NANO.document.caps.product
APPROVE = Wanted(outcome=OverrideOutcome.APPROVE, amount=1_000_000, exposure_cap=1_500_000)
DECLINE = Wanted(outcome=OverrideOutcome.DECLINE)
MTN = Network(id="mtn", lending=False)
FIRST, SECOND = id_for("first override"), id_for("second override")


def wanting(**changes: Any) -> Wanted:
    return msgspec.structs.replace(APPROVE, **changes)


def terms(**changes: Any) -> OverrideTerms:
    made = terms_of(case(), NANO, wanting(**changes))
    assert isinstance(made, OverrideTerms), made
    return made


def reason_of(refused: object) -> Reason | None:
    return refused.reason if isinstance(refused, Refused) else None


def ruled(given: Case, actor: str, wanted: Wanted) -> Reason | None:
    return reason_of(refuse_override(given, actor, wanted)) or reason_of(
        terms_of(given, NANO, wanted) if wanted.outcome is OverrideOutcome.APPROVE else None
    )


class TestAnOverride:
    def test_approves_at_the_policys_price_against_the_knockouts_that_the_decision_named(self) -> None:
        made = terms(amount=1_000_000)
        assert (made.price.principal, made.price.fee, made.price.total_due) == (1_000_000, 300_000, 1_300_000)
        assert (made.exposure_cap, made.overruled) == (1_500_000, ("loan_overdue",))
        assert (made.policy, made.policy_version, made.policy_hash) == ("nano", 1, NANO.hash)

    def test_keeps_the_decisions_term_unless_it_names_one(self) -> None:
        assert [
            made.price.term_days
            for made in (terms(), terms(term_days=15), terms_of(case(term_days=15), NANO, APPROVE))
            if isinstance(made, OverrideTerms)
        ] == [30, 15, 15]

    def test_is_not_for_the_key_that_asked(self) -> None:
        assert ruled(case(), ASKER, APPROVE) is Reason.FOUR_EYES_NEEDED
        assert ruled(case(), JUDGE, APPROVE) is None

    def test_of_an_overridden_decision_names_the_one_that_it_supersedes(self) -> None:
        overridden = case(standing=Standing.OVERRIDDEN, override_id=FIRST)
        for blind in (APPROVE, wanting(supersedes=SECOND)):
            refused = refuse_override(overridden, JUDGE, blind)
            assert refused == Refused(Reason.DECISION_OVERRIDDEN, {"override": str(FIRST)})
        assert refuse_override(overridden, JUDGE, wanting(supersedes=FIRST)) is None

    def test_supersedes_only_what_is_there(self) -> None:
        assert ruled(case(), JUDGE, wanting(supersedes=FIRST)) is Reason.OVERRIDE_NOT_FOUND

    def test_declines_only_what_is_no_decline(self) -> None:
        assert ruled(case(), JUDGE, DECLINE) is Reason.NOTHING_TO_DECLINE
        assert ruled(case(outcome=Outcome.REFER), JUDGE, DECLINE) is None
        assert ruled(case(outcome=Outcome.APPROVE), JUDGE, DECLINE) is None

    @pytest.mark.parametrize(
        ("changes", "figures"),
        [
            ({"exposure_cap": CAP + 1}, {"product_cap": CAP, "requested": CAP + 1}),
            ({"exposure_cap": 1_299_999}, {"exposure_cap": 1_299_999, "total_due": 1_300_000}),
        ],
    )
    def test_stays_under_the_products_cap_and_its_own(self, changes: dict[str, int], figures: dict[str, int]) -> None:
        refused = terms_of(case(), NANO, wanting(**changes))
        assert isinstance(refused, Refused)
        assert refused.figures == figures
        assert isinstance(terms_of(case(), NANO, wanting(exposure_cap=CAP)), OverrideTerms)
        assert isinstance(terms_of(case(), NANO, wanting(exposure_cap=1_300_000)), OverrideTerms)

    @pytest.mark.parametrize("changes", [{"amount": 1_000_001}, {"amount": 100}, {"term_days": 31}])
    def test_lends_only_what_the_policy_prices(self, changes: dict[str, int]) -> None:
        assert reason_of(terms_of(case(), NANO, wanting(exposure_cap=CAP, **changes))) is Reason.TERMS_NOT_OFFERED

    @pytest.mark.parametrize(
        ("closed", "network", "reason"),
        [
            ({"lending": False}, None, "lending_off"),
            ({"networks": (MTN,)}, "mtn", "lending_off"),
            ({"networks": (MTN,)}, None, "network_not_served"),
        ],
    )
    def test_does_not_lend_behind_a_closed_door(self, closed: dict[str, Any], network: str | None, reason: str) -> None:
        off = compiled(msgspec.structs.replace(shipped("nano"), **closed))
        refused = terms_of(case(network=network), off, APPROVE)
        assert refused == Refused(Reason.NOT_OVERRIDABLE, {"reason": reason})

    def test_is_in_the_decisions_currency(self) -> None:
        assert reason_of(terms_of(case(currency="USD"), NANO, APPROVE)) is Reason.CURRENCY_MISMATCH


def cap_of(made: OverrideTerms, policy: CompiledPolicy = NANO, **changes: Any) -> int | None:
    """What an override comes to when the policy looks at the customer again."""
    fresh = assess(policy, facts(changes), NOW)
    return cap_now(made, fresh, decide(policy, fresh, made.amount))


class TestAnOverrideLookedAtAgain:
    """Before it is booked, against what the policy says then."""

    def test_stands_against_what_it_overruled_and_tells_its_cap(self) -> None:
        assert assess(NANO, facts({"current_days_past_due": 3}), NOW).knockouts == ("loan_overdue",)
        assert cap_of(terms(), current_days_past_due=3) == 1_500_000

    def test_ends_with_a_knockout_that_nobody_overruled(self) -> None:
        assert cap_of(terms(), current_days_past_due=3, blocked=True) is None

    @pytest.mark.parametrize("closed", [{"lending": False}, {"networks": (MTN,)}], ids=["product", "network"])
    def test_ends_with_a_closed_door_even_if_that_was_among_the_reasons(self, closed: dict[str, Any]) -> None:
        off = compiled(msgspec.structs.replace(shipped("nano"), **closed))
        made = msgspec.structs.replace(terms(), overruled=("lending_off", "network_not_served", "loan_overdue"))
        assert cap_of(made) == 1_500_000
        assert cap_of(made, off) is None

    @pytest.mark.parametrize(("exposure", "cap"), [(200_000, 1_500_000), (200_001, None)])
    def test_leaves_room_for_what_is_owed_already(self, exposure: int, cap: int | None) -> None:
        assert cap_of(terms(), exposure=exposure) == cap

    def test_falls_with_the_products_cap(self) -> None:
        document = shipped("nano")
        caps = msgspec.structs.replace(document.caps, product=1_400_000)
        assert cap_of(terms(), compiled(msgspec.structs.replace(document, caps=caps))) == 1_400_000


class TestAnAppeal:
    @pytest.mark.parametrize("outcome", list(Outcome))
    def test_may_contest_any_outcome(self, outcome: Outcome) -> None:
        assert refuse_appeal(case(outcome=outcome)) is None

    def test_is_one_at_a_time(self) -> None:
        refused = refuse_appeal(case(open_appeal=id_for("appeal")))
        assert refused == Refused(Reason.APPEAL_OPEN, {"appeal": str(id_for("appeal"))})

    def test_needs_a_decision_that_is_not_withdrawn(self) -> None:
        assert reason_of(refuse_appeal(case(standing=Standing.REVERSED))) is Reason.DECISION_REVERSED

    def resolution(
        self, given: Case, outcome: ResolutionOutcome, *, actor: str = JUDGE, changed_since: bool = False
    ) -> Reason | None:
        appeal = id_for("appeal")
        return reason_of(refuse_resolution(given, actor, appeal, outcome, changed_since=changed_since))

    def test_is_resolved_once_and_by_other_eyes(self) -> None:
        open_ = case(open_appeal=id_for("appeal"))
        assert self.resolution(open_, ResolutionOutcome.UPHELD) is None
        assert self.resolution(case(), ResolutionOutcome.UPHELD) is Reason.APPEAL_RESOLVED
        later = case(open_appeal=id_for("another appeal"))
        assert self.resolution(later, ResolutionOutcome.UPHELD) is Reason.APPEAL_RESOLVED
        assert self.resolution(open_, ResolutionOutcome.UPHELD, actor=ASKER) is Reason.FOUR_EYES_NEEDED

    def test_is_changed_only_by_a_review_made_since(self) -> None:
        open_ = case(open_appeal=id_for("appeal"))
        assert self.resolution(open_, ResolutionOutcome.CHANGED) is Reason.CHANGE_NOT_FOUND
        assert self.resolution(open_, ResolutionOutcome.CHANGED, changed_since=True) is None

    def test_of_a_decision_that_was_withdrawn_meanwhile_can_still_be_answered(self) -> None:
        withdrawn = case(open_appeal=id_for("appeal"), standing=Standing.REVERSED)
        assert self.resolution(withdrawn, ResolutionOutcome.CHANGED, changed_since=True) is None


def test_a_reversal_is_final_and_needs_no_other_key() -> None:
    assert refuse_reversal(case(), ASKER, undoes_loans=False) is None
    for standing in (Standing.REVERSING, Standing.REVERSED):
        again = refuse_reversal(case(standing=standing), ASKER, undoes_loans=False)
        assert reason_of(again) is Reason.DECISION_REVERSED


def test_to_undo_loans_needs_another_key_than_the_one_that_asked() -> None:
    assert refuse_reversal(case(), JUDGE, undoes_loans=True) is None
    for standing in Standing:
        refused = refuse_reversal(case(standing=standing), ASKER, undoes_loans=True)
        assert reason_of(refused) is Reason.FOUR_EYES_NEEDED


def test_a_person_helps_only_a_reversal_that_is_stuck() -> None:
    assert refuse_help(case(), ASKER, undoes_loans=False, stuck=True) is None
    assert reason_of(refuse_help(case(), JUDGE, undoes_loans=True, stuck=False)) is Reason.REVERSAL_NOT_STUCK
    assert reason_of(refuse_help(case(), ASKER, undoes_loans=True, stuck=False)) is Reason.FOUR_EYES_NEEDED


@pytest.mark.parametrize("standing", [Standing.REVERSING, Standing.REVERSED])
def test_nothing_follows_from_a_decision_that_is_being_reversed(standing: Standing) -> None:
    withdrawn = case(standing=standing)
    assert reason_of(refuse_override(withdrawn, JUDGE, APPROVE)) is Reason.DECISION_REVERSED
    assert reason_of(refuse_appeal(withdrawn)) is Reason.DECISION_REVERSED
    assert reason_of(refuse_withdrawn(id_for("decision"), standing, None)) is Reason.DECISION_REVERSED


@pytest.mark.parametrize(
    ("standing", "override", "booked", "reason"),
    [
        (Standing.ACTIVE, None, "decision", None),
        (Standing.OVERRIDDEN, FIRST, "decision", Reason.DECISION_OVERRIDDEN),
        (Standing.OVERRIDDEN, FIRST, "first override", None),
        (Standing.OVERRIDDEN, SECOND, "first override", Reason.DECISION_OVERRIDDEN),
        (Standing.REVERSED, None, "decision", Reason.DECISION_REVERSED),
        (Standing.REVERSED, FIRST, "first override", Reason.DECISION_REVERSED),
    ],
)
def test_only_the_newest_word_on_a_decision_can_be_booked(
    standing: Standing, override: Any, booked: str, reason: Reason | None
) -> None:
    assert reason_of(refuse_withdrawn(id_for(booked), standing, override)) is reason


def test_a_decision_that_looked_at_an_offer_again_is_reviewed_at_its_offer() -> None:
    again = case(confirms=id_for("offer"))
    refused = Refused(Reason.DECISION_CONFIRMS_OFFER, {"offer": str(id_for("offer"))})
    assert refuse_override(again, JUDGE, APPROVE) == refuse_appeal(again) == refused
    assert refuse_reversal(again, JUDGE, undoes_loans=True) == refused


FAULTS: list[tuple[Reason, dict[str, Any], dict[str, Any]]] = [
    (Reason.DECISION_CONFIRMS_OFFER, {"confirms": id_for("offer")}, {}),
    (Reason.FOUR_EYES_NEEDED, {"asked_by": JUDGE}, {}),
    (Reason.DECISION_REVERSED, {"standing": Standing.REVERSED}, {}),
    (Reason.DECISION_OVERRIDDEN, {"override_id": FIRST}, {}),
    (Reason.CURRENCY_MISMATCH, {"currency": "USD"}, {}),
    (Reason.EXCEEDS_PRODUCT_CAP, {}, {"exposure_cap": CAP + 1}),
    (Reason.TERMS_NOT_OFFERED, {"term_days": 31}, {}),
    (Reason.EXCEEDS_EXPOSURE_CAP, {}, {"exposure_cap": 1}),
]
"""In order of precedence: what makes a case meet each."""


@pytest.mark.parametrize(("first", "second"), list(combinations(FAULTS, 2)), ids=lambda fault: str(fault[0]))
def test_of_two_causes_the_earlier_is_the_answer(first: Any, second: Any) -> None:
    both = second[2] | first[2]
    assert ruled(case(**(first[1] | second[1])), JUDGE, wanting(**both)) is first[0]


class TestWords:
    SAID = Words("staff-17", "The payment was late at the bank.", b"0123456789abcdef")

    def test_are_committed_to_under_their_salt(self) -> None:
        said = {"reviewer": "staff-17", "reason": "The payment was late at the bank."}
        assert self.SAID.digest() == salted_digest(b"0123456789abcdef", said)
        assert self.SAID.digest() != msgspec.structs.replace(self.SAID, salt=b"another salt").digest()

    @pytest.mark.parametrize("name", ["reason", "reviewer"])
    def test_that_differ_are_named(self, name: str) -> None:
        assert differing_words(msgspec.structs.replace(self.SAID, **{name: "other"}), self.SAID) == name
        again = msgspec.structs.replace(self.SAID, salt=b"drawn anew")
        assert differing_words(again, self.SAID) is None

    def test_that_were_erased_are_not_compared(self) -> None:
        assert differing_words(self.SAID, None) is None
