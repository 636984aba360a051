"""The rows of eligibility's tables, as `rows` has those of the ledger's."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct


class CustomerRow(Struct):
    """What may be said of a customer without saying who it is. `known` are the parts of the record that are there."""

    tenant: int
    customer: UUID
    facts_version: int
    kyc_tier: int
    blocked: bool
    known: list[str]
    consent_terms: bool | None
    consent_bureau: bool | None
    consent_recovery: bool | None
    processing: str = "open"
    position: int | None = None


class BlockRow(Struct, gc=False):
    """A block, and whose key lifted it."""

    tenant: int
    block_id: UUID
    customer: UUID
    code: str
    until: datetime | None
    placed_by: str
    lifted_by: str | None = None
    position: int | None = None


class DecisionRow(NamedTuple):
    """A decision as it was made. `decision` is its one spelling in JSON; `is_offer` says that it may be booked."""

    tenant: int
    decision_id: UUID
    customer: UUID
    product: str
    amount: int
    currency: str
    term_days: int | None
    terms_fee: int | None
    as_of: datetime | None
    to_borrow: bool
    offer_id: UUID | None
    outcome: str
    policy_version: int
    policy_hash: str
    decision: bytes
    is_offer: bool
    asked_by: str
    position: int | None


class StandingRow(Struct, gc=False):
    """How a decision stands after its reviews."""

    tenant: int
    decision_id: UUID
    version: int
    standing: str
    override_id: UUID | None = None
    position: int | None = None


class ReviewRow(NamedTuple):
    """What a person did about a decision."""

    tenant: int
    review_id: UUID
    decision_id: UUID
    version: int
    kind: str
    standing: str
    outcome: str | None
    terms: bytes | None
    expires_at: datetime | None
    offers: list[UUID] | None
    actor: str
    words_digest: str
    reviewed_at: datetime
    position: int | None


class AppealRow(Struct, gc=False):
    """An appeal, and what answered it."""

    tenant: int
    appeal_id: UUID
    decision_id: UUID
    state: str
    filed_at: datetime
    filed_version: int
    resolution_id: UUID | None = None
    position: int | None = None


class ReversalRow(Struct):
    """A reversal with something to undo. `undo` says whether and how loans are, as JSON; `steps` are its offers."""

    tenant: int
    reversal_id: UUID
    decision_id: UUID
    state: str
    undo: bytes
    begun_at: datetime
    steps: list[UUID]
    over_at: datetime | None = None
    over_version: int | None = None
    position: int | None = None


class ReversalStepRow(Struct, gc=False):
    """What became of one offer; while its reversal runs nothing is said of it."""

    tenant: int
    reversal_id: UUID
    offer: UUID
    state: str | None = None
    loan: UUID | None = None
    kept_because: str | None = None
    stuck_because: str | None = None
    position: int | None = None


class PolicyRow(NamedTuple):
    """A version of a policy, by the hash that names its document."""

    tenant: int
    product: str
    version: int
    hash: str
    restores: int | None
    position: int | None


class StepRow(NamedTuple):
    """A step in a version's life."""

    tenant: int
    product: str
    version: int
    step: str
    actor: str
    valid_from: datetime | None
    position: int | None


class ProductRow(Struct, gc=False):
    """A product: how many versions and events there are, and the start that was told last."""

    tenant: int
    product: str
    versions: int = 0
    events: int = 0
    told: int | None = None
    told_from: datetime | None = None
    position: int | None = None
