"""What the folds read of each event: the least that rebuilds a row. A field that no fold needs is not here.

Fields that came later have defaults; what an event says beyond these is passed over.
"""

from datetime import date, datetime
from typing import Generic, TypeVar
from uuid import UUID

import msgspec

Data = TypeVar("Data")


class Subject(msgspec.Struct, frozen=True, gc=False):
    """The thing that changed, and the version that the change gave it."""

    id: UUID
    version: int


class Told(msgspec.Struct, Generic[Data], frozen=True):
    """An event as the folds read it."""

    actor: str
    aggregate: Subject
    data: Data
    occurred_at: datetime
    tenant: int
    type: str
    version: int


class Side(msgspec.Struct, frozen=True, gc=False):
    """One account of a movement, with its version and counters after it."""

    account: UUID
    credits_pending: int
    credits_posted: int
    debits_pending: int
    debits_posted: int
    version: int


class Moved(msgspec.Struct, frozen=True, gc=False):
    """Any movement of money, and what it did to a hold."""

    amount: int
    code: str
    credit: Side
    currency: str
    debit: Side
    effective_on: date
    transfer: UUID
    command: UUID | None = None
    expires_at: datetime | None = None
    final: bool = False
    hold: UUID | None = None
    released: int = 0
    reverses: UUID | None = None


class Opened(msgspec.Struct, frozen=True, gc=False):
    """An account as it was opened."""

    account: UUID
    owner: UUID
    currency: str
    code: str
    normal_side: str
    credit_limit: int | None
    floor: int | None


class StatusChanged(msgspec.Struct, frozen=True, gc=False):
    """An account that was frozen, opened again or closed."""

    account: UUID
    frozen_for: str | None = None


class Bounded(msgspec.Struct, frozen=True, gc=False):
    """New bounds of an account; with a customer it is a credit line."""

    account: UUID
    currency: str
    to: int | None
    floor_to: int | None
    customer: UUID | None = None


class Booked(msgspec.Struct, frozen=True, gc=False):
    """A loan as it was booked."""

    loan: UUID
    customer: UUID
    outstanding: int
    product: str
    currency: str
    principal: int
    fee: int
    term_days: int
    origin: str
    decision_id: UUID | None
    effective_at: datetime
    due_on: date


class Repaid(msgspec.Struct, frozen=True, gc=False):
    """A repayment, or that it was taken back, and what the loan owes after it."""

    loan: UUID
    customer: UUID
    outstanding: int
    repayment: UUID
    amount: int
    fee_part: int
    principal_part: int
    excess: int
    inferred: bool
    effective_at: datetime
    reversal: UUID | None = None


class Settled(msgspec.Struct, frozen=True, gc=False):
    """A loan of which nothing is left."""

    loan: UUID
    effective_at: datetime


class FactsRecorded(msgspec.Struct, frozen=True):
    """Which parts of a customer's record are known now."""

    customer: UUID
    facts_version: int
    kyc_tier: int
    blocked: bool
    known: list[str]
    consents: dict[str, bool] = {}


class CustomerTold(msgspec.Struct, frozen=True, gc=False):
    """That a customer was restricted, or erased."""

    customer: UUID
    facts_version: int


class Blocked(msgspec.Struct, frozen=True, gc=False):
    """A block on a customer."""

    customer: UUID
    facts_version: int
    block: UUID
    code: str
    until: datetime | None


class Lifted(msgspec.Struct, frozen=True):
    """The blocks that were lifted."""

    customer: UUID
    facts_version: int
    blocks: list[UUID]


class TermsAsked(msgspec.Struct, frozen=True, gc=False):
    """A price that the lender named."""

    fee: int
    term_days: int


class PolicyNamed(msgspec.Struct, frozen=True, gc=False):
    """The policy that decided."""

    version: int
    hash: str


class PriceTold(msgspec.Struct, frozen=True, gc=False):
    """The price that a decision names, in the order of its members' names."""

    fee: int
    principal: int
    rate_bps: int
    term_days: int
    total_due: int


class Decided(msgspec.Struct, frozen=True):
    """A computed decision: the question and the answer."""

    customer: UUID
    product: str
    currency: str
    amount: int
    term_days: int | None
    terms: TermsAsked | None
    request_to_borrow: bool
    offer_id: UUID | None
    as_of: datetime
    as_of_past: bool
    policy: PolicyNamed
    outcome: str
    limit: int
    price: PriceTold | None
    reasons: list[str]


class Reviewed(msgspec.Struct, frozen=True):
    """What a person did about a decision. `terms` are bytes of JSON, with the members of an object in any order."""

    review: UUID
    standing: str
    words: str
    outcome: str | None = None
    terms: msgspec.Raw = msgspec.Raw(b"null")
    expires_at: datetime | None = None
    withdrawn: list[UUID] = []
    appeal: UUID | None = None


class Undone(msgspec.Struct, frozen=True):
    """What the reversal of its decision does to a loan."""

    loan: UUID
    outstanding: int
    reversal: UUID
    reversed_by: UUID | None = None
    effective_at: datetime | None = None
    repayments: list[UUID] = []


class PolicyTold(msgspec.Struct, frozen=True, gc=False):
    """A step in the life of a policy's version."""

    product: str
    policy_version: int
    hash: str
    restores: int | None = None
    valid_from: datetime | None = None
