"""The events of eligibility, declared: customers, decisions, what people did about them, policies."""

from typing import Literal
from uuid import UUID

from msgspec import Struct

from amana.domain.decision_reversal import StepState, UndoLoans
from amana.domain.event_kinds import ABSENT, Absent, Count, Data, DataRead, Digest, EventType, Instant, Whole
from amana.domain.event_types_decisions import DecisionMade, DecisionMadeV1, NamedPolicy
from amana.domain.loan_reversal import Kept
from amana.domain.policy import LoanReversal
from amana.domain.privacy import ErasureReason, HoldReason, ReleaseReason
from amana.domain.review import OverrideOutcome, OverrideTerms, ResolutionOutcome, Standing


class CustomerBlockLifted(Data, frozen=True):
    """Blocks on a customer were lifted: all that were in force under the code."""

    customer: UUID
    facts_version: Count
    code: str
    blocks: list[UUID]


class CustomerBlocked(Data, frozen=True):
    """A block was placed on a customer. When its time is over it binds no longer, without an event."""

    customer: UUID
    facts_version: Count
    block: UUID
    code: str
    until: Instant | None


class CustomerErased(Data, frozen=True):
    """The customer's key was destroyed: nothing personal is left of them, in no backup either."""

    customer: UUID
    facts_version: Count
    erasure: UUID


class CustomerErasurePlanned(Data, frozen=True):
    """When a customer is due to be erased became known, or is another; null while something is owed."""

    customer: UUID
    erasure: UUID
    due_at: Instant | None


class CustomerExported(Data, frozen=True):
    """A copy of all that is known of a customer was handed to the caller."""

    customer: UUID
    export: UUID


class CustomerRestricted(Data, frozen=True):
    """A customer is to be erased: from now on their data is kept, and used for nothing but what they owe."""

    customer: UUID
    facts_version: Count
    erasure: UUID
    reason: ErasureReason


class LegalHoldPlaced(Data, frozen=True):
    """A legal hold keeps the customer from being erased; `placed_for` had the key place it."""

    customer: UUID
    legal_hold: UUID
    reason: HoldReason
    placed_for: str


class LegalHoldReleased(Data, frozen=True):
    """A legal hold stands no longer; `released_for` had the key release it. Others may stand."""

    customer: UUID
    legal_hold: UUID
    reason: ReleaseReason
    released_for: str


class CustomerFactsRecorded(Data, frozen=True):
    """What is known of a customer changed: the lender's record or another source's word. Which parts are known, not
    what they say; `blocked` is the record's own. A consent is said: given, or refused and withdrawn."""

    customer: UUID
    facts_version: Count
    kyc_tier: Whole
    blocked: bool
    known: list[str]
    consents: dict[str, bool] | Absent = ABSENT


class _Reviewed(Data, frozen=True):
    """Of a decision that is `reversing` these say `reversed`: to their readers it is withdrawn for good."""

    review: UUID
    customer: UUID
    product: str
    standing: Literal["active", "overridden", "reversed"]
    words: Digest


class _OnReversal(Data, frozen=True):
    review: UUID
    customer: UUID
    product: str
    standing: Standing
    words: Digest


class DecisionAppealed(_Reviewed, frozen=True):
    """The customer contests a decision; it waits for a person."""


class AppealResolved(_Reviewed, frozen=True):
    """A person answered an appeal: the decision is `upheld`, or `changed` by the review that is named."""

    appeal: UUID
    outcome: ResolutionOutcome
    changed_by: UUID | None


class DecisionOverridden(_Reviewed, frozen=True):
    """A person decided otherwise. `terms` are what an approval offers, until `expires_at`, under the review's id,
    and the knock-outs that it overrules; null for a decline."""

    outcome: OverrideOutcome
    supersedes: UUID | None
    terms: OverrideTerms | None
    expires_at: Instant | None


class DecisionReversalStarted(_OnReversal, frozen=True):
    """A decision with offers is being reversed: none can be booked any more, and what followed is being undone.
    `loans`: what was asked about them; `terms`: how they go back, by the `policy` live then."""

    withdrawn: list[UUID]
    loans: UndoLoans
    kept_because: Kept | None
    policy: NamedPolicy | None
    terms: LoanReversal | None


class UndoneOffer(Struct, frozen=True, kw_only=True):
    """Where an offer of a reversed decision is, and the loan that it was booked as."""

    offer: UUID
    state: StepState
    loan: UUID | None
    kept_because: Kept | None


class StuckOffer(UndoneOffer, frozen=True, kw_only=True):
    """The same, with the ledger's reason where it is stuck."""

    stuck_because: str | None


class DecisionReversalStuck(Data, frozen=True):
    """The ledger refused a step of a reversal, or could not be reached for too long: a person is needed."""

    reversal: UUID
    customer: UUID
    product: str
    standing: Standing
    offers: list[StuckOffer]


class DecisionReversalResumed(_OnReversal, frozen=True):
    """A person has a stuck reversal go on."""

    reversal: UUID


class DecisionReversalAbandoned(_OnReversal, frozen=True):
    """A person gave up what a stuck reversal could not undo: the loan goes on."""

    reversal: UUID


class DecisionReversed(_Reviewed, frozen=True):
    """A decision was withdrawn for good, and with it the offers that are named, booked or not. `offers`: what became
    of each of them, and of the loan that it was booked as."""

    withdrawn: list[UUID]
    offers: list[UndoneOffer] | Absent = ABSENT


class _OfPolicy(Data, frozen=True):
    product: str
    policy_version: Count
    hash: Digest


class PolicyApproved(_OfPolicy, frozen=True):
    """A key approved a version that another key drafted. It decides from `valid_from` on, unless it is withdrawn."""

    drafted_by: str
    valid_from: Instant


class PolicyDrafted(_OfPolicy, frozen=True):
    """A version without fault was drafted. `restores`: the earlier version to whose document it rolls back."""

    restores: Count | None


class PolicyPublished(_OfPolicy, frozen=True):
    """A version decides since `valid_from`, in place of the version `replaces`; the hash names its document."""

    valid_from: Instant
    replaces: Count | None


class PolicyRetired(_OfPolicy, frozen=True):
    """A version decides no longer, since another was published."""

    replaced_by: Count


class PolicyWithdrawn(_OfPolicy, frozen=True):
    """A draft, or a version that was to start later, was taken back. It never decides."""


class CustomerRecordRead(DataRead, frozen=True):
    """A key was shown what is known of customers, or was decided about them, by `route`: a template. `customers` are
    those whom it was about, `rows` how much it was; what was asked for by its id stands beside them."""


class DeadLettersPruned(Data, frozen=True):
    """Dead letters of the service that were settled more than `settled_days` days ago were deleted, so many."""

    letters: Count
    settled_days: Count


STREAM = "eligibility"
_ABOUT: dict[str, tuple[type[Data], ...]] = {
    "customer": (
        CustomerBlockLifted,
        CustomerBlocked,
        CustomerErased,
        CustomerFactsRecorded,
        CustomerRestricted,
    ),
    "erasure": (CustomerErasurePlanned,),
    "export": (CustomerExported,),
    "legal_hold": (LegalHoldPlaced, LegalHoldReleased),
    "decision": (
        AppealResolved,
        DecisionAppealed,
        DecisionOverridden,
        DecisionReversalAbandoned,
        DecisionReversalResumed,
        DecisionReversalStarted,
        DecisionReversalStuck,
        DecisionReversed,
    ),
    "read": (CustomerRecordRead,),
    "retention": (DeadLettersPruned,),
    "policy": (PolicyApproved, PolicyDrafted, PolicyPublished, PolicyRetired, PolicyWithdrawn),
}

ELIGIBILITY_EVENTS = (
    *(EventType(data.__name__, 1, STREAM, aggregate, data) for aggregate, types in _ABOUT.items() for data in types),
    EventType("DecisionMade", 1, STREAM, "decision", DecisionMadeV1),
    EventType("DecisionMade", 2, STREAM, "decision", DecisionMade),
)
