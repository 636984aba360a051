"""Reviews: what people may do about a decision after it was made. Pure; each rule is tried top-down.

A decision is never edited. An override decides otherwise, an appeal contests, a resolution answers the appeal, a
reversal withdraws; each is a new fact that points at the decision and moves its version and standing on.

- Four eyes: the key that asked for a decision may neither override it nor resolve an appeal against it.
- Nobody overwrites unseen: an override names the one that it supersedes, so of two at once one is refused.
- A reversal is final. It needs no second pair of eyes where it only takes away; to undo loans moves money, and does.
- An override overrules exactly the knock-outs that the decision named. It can't overrule a product or network that is
  switched off, nor what only comes up later, and it never raises the product's cap. The ledger's limits stay.
"""

from enum import StrEnum
from uuid import UUID

import msgspec

from amana.domain.decision import Assessment, CompiledPolicy, Decision, network_fault
from amana.domain.policy import Outcome, SystemReason
from amana.domain.pricing import Price, is_offered
from amana.domain.reasons import Reason
from amana.domain.transfer import Refused

CLOSED = frozenset({SystemReason.LENDING_OFF.value, SystemReason.NETWORK_NOT_SERVED.value})
"""The closed doors: reasons that no person overrules."""


class Standing(StrEnum):
    """How a decision stands after its reviews."""

    ACTIVE = "active"
    OVERRIDDEN = "overridden"
    REVERSING = "reversing"
    REVERSED = "reversed"


WITHDRAWN = frozenset({Standing.REVERSING, Standing.REVERSED})
"""Nothing may follow from such a decision; while it is `reversing`, what followed before is being undone."""


class ReviewKind(StrEnum):
    """What a review does."""

    OVERRIDE = "override"
    APPEAL = "appeal"
    RESOLUTION = "resolution"
    REVERSAL = "reversal"
    RESUMPTION = "resumption"
    ABANDONMENT = "abandonment"


class OverrideOutcome(StrEnum):
    """What a person decides instead."""

    APPROVE = "approve"
    DECLINE = "decline"


class AppealState(StrEnum):
    """Whether an appeal still waits for a person."""

    OPEN = "open"
    RESOLVED = "resolved"


class ResolutionOutcome(StrEnum):
    """What came of an appeal: the decision stays, or an override or reversal changed it."""

    UPHELD = "upheld"
    CHANGED = "changed"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """An override as asked. Of an approving one, `amount` and `exposure_cap` are there, in minor units."""

    outcome: OverrideOutcome
    amount: int | None = None
    exposure_cap: int | None = None
    term_days: int | None = None
    supersedes: UUID | None = None


class OverrideTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What an approving override offers, and the knock-outs of the decision that it overrules."""

    amount: int
    exposure_cap: int
    price: Price
    overruled: tuple[str, ...]
    policy: str
    policy_version: int
    policy_hash: str


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A decision with the state in which its reviews left it, read under its lock.

    `outcome` is what stands now, the newest override's where there is one. `confirms` is the offer that the decision
    looked at again, None for a first decision. `offers` are those that ever were made of it, booked or not.
    """

    tenant: int
    decision_id: UUID
    customer: UUID
    product: str
    currency: str
    asked_by: str
    confirms: UUID | None
    outcome: Outcome
    knockouts: tuple[str, ...]
    term_days: int | None
    network: str | None
    version: int
    standing: Standing
    override_id: UUID | None
    open_appeal: UUID | None
    offers: tuple[UUID, ...]


def refuse_override(case: Case, actor: str, wanted: Wanted) -> Refused | None:
    """Why this key may not override this decision so; the first that applies."""
    if refused := _refuse_any(case) or _need_other_eyes(case, actor) or _refuse_reversed(case):
        return refused
    if case.override_id is not None and case.override_id != wanted.supersedes:
        return Refused(Reason.DECISION_OVERRIDDEN, {"override": str(case.override_id)})
    if case.override_id is None and wanted.supersedes is not None:
        return Refused(Reason.OVERRIDE_NOT_FOUND)
    if wanted.outcome is OverrideOutcome.DECLINE and case.outcome is Outcome.DECLINE:
        return Refused(Reason.NOTHING_TO_DECLINE)
    return None


def terms_of(case: Case, policy: CompiledPolicy, wanted: Wanted) -> OverrideTerms | Refused:
    """What an approving override offers under the policy that is live; the first refusal that applies."""
    document = policy.document
    assert wanted.amount is not None and wanted.exposure_cap is not None, "an approval has an amount and a cap"
    if document.currency != case.currency:
        return Refused(Reason.CURRENCY_MISMATCH, {"currency": str(document.currency)})
    if closed := _closed(policy, case.network):
        return Refused(Reason.NOT_OVERRIDABLE, {"reason": closed[0]})
    if wanted.exposure_cap > document.caps.product:
        figures = {"product_cap": document.caps.product, "requested": wanted.exposure_cap}
        return Refused(Reason.EXCEEDS_PRODUCT_CAP, figures)
    price = _price(policy, wanted.amount, case.term_days if wanted.term_days is None else wanted.term_days)
    if price is None:
        return Refused(Reason.TERMS_NOT_OFFERED)
    if price.total_due > wanted.exposure_cap:
        figures = {"exposure_cap": wanted.exposure_cap, "total_due": price.total_due}
        return Refused(Reason.EXCEEDS_EXPOSURE_CAP, figures)
    return OverrideTerms(
        amount=wanted.amount,
        exposure_cap=wanted.exposure_cap,
        price=price,
        overruled=case.knockouts,
        policy=document.name,
        policy_version=policy.version,
        policy_hash=policy.hash,
    )


def refuse_appeal(case: Case) -> Refused | None:
    """Why this decision can't be contested now. Any outcome may be: an approval of less than was asked, too."""
    if refused := _refuse_any(case) or _refuse_reversed(case):
        return refused
    if case.open_appeal is not None:
        return Refused(Reason.APPEAL_OPEN, {"appeal": str(case.open_appeal)})
    return None


def refuse_resolution(
    case: Case, actor: str, appeal: UUID, outcome: ResolutionOutcome, *, changed_since: bool
) -> Refused | None:
    """Why this key may not resolve this appeal so. `changed_since`: the named review changed the decision since."""
    if refused := _need_other_eyes(case, actor):
        return refused
    if case.open_appeal != appeal:
        return Refused(Reason.APPEAL_RESOLVED)
    if outcome is ResolutionOutcome.CHANGED and not changed_since:
        return Refused(Reason.CHANGE_NOT_FOUND)
    return None


def refuse_reversal(case: Case, actor: str, *, undoes_loans: bool) -> Refused | None:
    """Why this key can't withdraw this decision so."""
    return _refuse_any(case) or (_need_other_eyes(case, actor) if undoes_loans else None) or _refuse_reversed(case)


def refuse_help(case: Case, actor: str, *, undoes_loans: bool, stuck: bool) -> Refused | None:
    """Why this key can't have a reversal go on, or give it up: only one that is stuck needs a person."""
    if refused := _need_other_eyes(case, actor) if undoes_loans else None:
        return refused
    return None if stuck else Refused(Reason.REVERSAL_NOT_STUCK)


def refuse_withdrawn(offer: UUID, standing: Standing, override_id: UUID | None) -> Refused | None:
    """Why an offer can't be booked any more, its decision standing so. Of overrides only the newest one's may be."""
    if standing in WITHDRAWN:
        return Refused(Reason.DECISION_REVERSED)
    if standing is Standing.OVERRIDDEN and override_id != offer:
        return Refused(Reason.DECISION_OVERRIDDEN, {"override": str(override_id)})
    return None


def cap_now(terms: OverrideTerms, fresh: Assessment, decision: Decision) -> int | None:
    """What the customer may owe in all under an override, by a fresh decision; None where it no longer stands.

    It stands against what it overruled: a knock-out that it did not, or exposure that leaves no room, ends it, and so
    does a closed door. A product cap that was lowered since counts.
    """
    product_cap = fresh.caps["product"]
    cap = terms.exposure_cap if product_cap is None else min(terms.exposure_cap, product_cap)
    if not set(fresh.knockouts) <= set(terms.overruled) or not CLOSED.isdisjoint(decision.reasons):
        return None
    return cap if fresh.exposure + terms.price.total_due <= cap else None


def _refuse_any(case: Case) -> Refused | None:
    if case.confirms is not None:
        return Refused(Reason.DECISION_CONFIRMS_OFFER, {"offer": str(case.confirms)})
    return None


def _need_other_eyes(case: Case, actor: str) -> Refused | None:
    return Refused(Reason.FOUR_EYES_NEEDED) if case.asked_by == actor else None


def _refuse_reversed(case: Case) -> Refused | None:
    return Refused(Reason.DECISION_REVERSED) if case.standing in WITHDRAWN else None


def _closed(policy: CompiledPolicy, network: str | None) -> tuple[str, ...]:
    if not policy.document.lending:
        return (SystemReason.LENDING_OFF.value,)
    return network_fault(policy.networks, network) if policy.networks else ()


def _price(policy: CompiledPolicy, amount: int, term_days: int | None) -> Price | None:
    """The policy's price of an amount that it offers for this term; None for any other."""
    amounts, quote = policy.document.amounts, policy.quotes.get(term_days)
    if quote is None or not amounts.minimum <= amount <= amounts.maximum or not is_offered(amounts, amount):
        return None
    _limit, price = quote(amount, 0)
    return price
