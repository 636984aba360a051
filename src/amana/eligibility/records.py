"""What eligibility keeps: customers, policy versions and decisions, as values."""

from datetime import datetime
from typing import NamedTuple, TypeAlias
from uuid import UUID

import msgspec

from amana.domain.decision import Assessment, CompiledPolicy, Decision, DecisionInputs
from amana.domain.money import Currency
from amana.domain.pricing import Price, Terms
from amana.domain.privacy import Processing
from amana.domain.record import Profile
from amana.domain.review import Standing
from amana.domain.sources import Said
from amana.eligibility.projection import Projection

Key: TypeAlias = tuple[int, UUID]
"""(tenant, id): nothing is ever looked up without its tenant."""
ProductKey: TypeAlias = tuple[int, str]
"""(tenant, product)."""


class Sealed(NamedTuple):
    """What identifies a customer, sealed under their key: the birth date, and all else. None where nothing is known."""

    birth: bytes | None = None
    identity: bytes | None = None


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A customer's row. The birth date of `profile` is None until `sealed` is opened."""

    version: int
    profile: Profile
    sealed: Sealed
    bvn_token: UUID | None
    nin_token: UUID | None
    said: Said
    processing: Processing


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """A customer's record, the version of the facts, when it was recorded, and what other sources say.

    The birth date of `record` is None until `sealed` is opened. `linked` are the other customers who are the same
    person; `too_widely_linked` where there are more than a person may have, and `linked` is some of them. `projection`
    is how the person stood in the ledger when this was read.
    """

    customer: UUID
    facts_version: int
    record: Profile
    sealed: Sealed
    recorded_at: datetime
    said: Said
    processing: Processing = Processing.OPEN
    linked: tuple[UUID, ...] = ()
    too_widely_linked: bool = False
    projection: Projection = Projection()

    @property
    def person(self) -> tuple[UUID, ...]:
        """The customers who are this person, this one first."""
        return self.customer, *self.linked


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """A block on a customer: who placed it and why, until when, and who lifted it. `in_force` when it was read.

    `reason` and `lift_reason` are None until they are opened, and once they are erased.
    """

    block_id: UUID
    customer: UUID
    code: str
    until: datetime | None
    placed_by: str
    placed_at: datetime
    lift_id: UUID | None
    lifted_by: str | None
    lifted_at: datetime | None
    in_force: bool
    words_sealed: bytes | None = None
    lift_words_sealed: bytes | None = None
    reason: str | None = None
    lift_reason: str | None = None


class PolicyVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version's canonical bytes, and the hash that names them."""

    product: str
    version: int
    hash: str
    document: bytes


class PolicyStep(msgspec.Struct, frozen=True, kw_only=True):
    """What was done to a version under a client's id: enough to give the first answer again.

    `asked_from` is the start that the client asked for (None is "at once"), `valid_from` the start. `taken_at` is None
    until it is written.
    """

    step: str
    product: str
    version: int
    hash: str
    restores: int | None
    taken_at: datetime | None = None
    asked_from: datetime | None = None
    valid_from: datetime | None = None


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One eligibility request, once its caller is known.

    With an `id` it is a request to borrow. `offer_id` is set where an offer is looked at again before it is booked.
    """

    tenant: int
    actor: str
    trace: str
    id: UUID | None
    customer: UUID
    product: str
    amount: int
    currency: Currency
    term_days: int | None = None
    terms: Terms | None = None
    as_of: datetime | None = None
    offer_id: UUID | None = None
    network: str | None = None

    @property
    def is_cacheable(self) -> bool:
        """Only a plain question about now may be answered from the cache."""
        return self.id is None and self.as_of is None and self.terms is None and self.offer_id is None

    def asked(self) -> dict[str, object]:
        """The fields that a replay under the same id must repeat, by their names in the request."""
        return {
            "customer": self.customer,
            "product": self.product,
            "amount": self.amount,
            "currency": self.currency,
            "as_of": self.as_of,
            "term_days": self.term_days if self.terms is None else None,
            "terms": self.terms,
            "network": self.network,
        }


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """A decision as it is stored: the request, what it came from, what it says, and its offer's end if it is one."""

    tenant: int
    decision_id: UUID
    customer: UUID
    product: str
    currency: Currency
    as_of: datetime | None
    to_borrow: bool
    offer_id: UUID | None
    inputs: DecisionInputs
    assessment: Assessment
    decision: Decision
    decided_at: datetime
    expires_at: datetime | None

    def asked(self) -> dict[str, object]:
        """The request's fields, as `Check.asked` gives them."""
        return {
            "customer": self.customer,
            "product": self.product,
            "amount": self.inputs.amount,
            "currency": self.currency,
            "as_of": self.as_of,
            "term_days": self.inputs.term_days,
            "terms": self.inputs.terms,
            "network": self.inputs.network,
        }


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that is computed and not yet stored."""

    check: Check
    decision_id: UUID
    policy: CompiledPolicy
    inputs: DecisionInputs
    assessment: Assessment
    decision: Decision


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that looked at an offer, and how old it is."""

    decision_id: UUID
    as_of: datetime | None
    assessment: Assessment
    decision: Decision
    decided_at: datetime
    age_ms: int


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """An offer and the newest decision on it: its own, or one made when it was looked at again.

    `standing` and `override_id` are those of the decision that made it, whose id it has; `processing` the customer's.
    """

    offer_id: UUID
    customer: UUID
    product: str
    currency: Currency
    network: str | None
    decision: Decision
    expires_at: datetime
    expired: bool
    newest: Look
    standing: Standing
    override_id: UUID | None
    processing: Processing

    @property
    def decision_id(self) -> UUID:
        """The decision that made it."""
        return self.offer_id

    @property
    def amount(self) -> int:
        """What was asked for."""
        return self.decision.amount

    @property
    def price(self) -> Price:
        """What was offered."""
        assert self.decision.price is not None, "an approved decision has a price"
        return self.decision.price
