"""Requests and responses of the eligibility service."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from amana.domain.decision import RuleState
from amana.domain.facts import FactValue, Source, Through
from amana.domain.money import Currency
from amana.domain.policy import NetworkCode, Op, Outcome
from amana.wire.common import END, Amount, AmountOrZero, Instant, Request, Response

Product = Annotated[str, Meta(min_length=1, max_length=40, pattern=rf"^[a-z][a-z0-9_-]*{END}")]
TermDays = Annotated[int, Meta(ge=1, le=3_650)]


class GivenTerms(Request):
    """The price that an older book charged for the amount. Needs the scope `tape:import`."""

    fee: AmountOrZero
    term_days: TermDays


class CheckRequest(Request):
    """May this customer borrow this amount?

    With an `id` it is a request to borrow: decided afresh, recorded, and an offer when approved. `as_of` looks back
    to a past instant; it and `terms` need the scope `tape:import`.
    """

    customer: UUID
    product: Product
    amount: Amount
    currency: Currency
    id: UUID | None = None
    term_days: TermDays | None = None
    network: NetworkCode | None = None
    as_of: Instant | None = None
    terms: GivenTerms | None = None


class ReasonView(Response):
    """Why not: a stable code and the policy's words for the customer."""

    code: str
    text: str


class PriceView(Response):
    """What the amount would cost. `principal` is paid out; `total_due` = `principal` + `fee` is owed."""

    principal: int
    fee: int
    total_due: int
    rate_bps: int
    term_days: int


class PolicyReference(Response):
    """Which policy decided."""

    name: str
    version: int
    hash: str


class OfferView(Response):
    """An offer to book before it expires. Its id is the decision's."""

    id: UUID
    expires_at: datetime


class CheckView(Response):
    """The answer to a check. `limit` is the largest amount that would be lent now; caps bound `exposure`.

    From a cache (of the service, or in the process' own memory), `decision_id` is the decision that recorded the
    assessment, `age_ms` old. `degraded`: the database is away, so that a change of the policy might not be known.
    """

    decision_id: UUID
    outcome: Outcome
    limit: int
    exposure: int
    exposure_cap: int
    price: PriceView | None
    reasons: list[ReasonView]
    policy: PolicyReference
    as_of: datetime
    age_ms: int
    source: Literal["fresh", "cache", "memory"]
    offer: OfferView | None
    replayed: bool
    degraded: bool


class FactView(Response):
    """One input: who says so, and as of when; null where that source had said nothing."""

    name: str
    value: FactValue
    source: Source
    as_of: datetime | None


class RuleView(Response):
    """One rule and what it found. It fails the customer when `fact op value` holds."""

    id: str
    fact: str
    op: Op
    value: bool | int | str | tuple[int | str, ...]
    found: FactValue
    state: RuleState
    reason: str | None


class PointsView(Response):
    """The points of one attribute, of the `best` that it gives."""

    attribute: str
    fact: str
    found: FactValue
    points: int
    best: int


class StepView(Response):
    """One step of the arithmetic of the limit; null where a cap does not apply."""

    step: str
    amount: int | None


class DecisionView(Response):
    """A recorded decision, explained whole.

    `ledger_through`: how the ledger's facts came, as of the instant that they name: `ledger` where it was asked for
    this decision, `projection` where eligibility had them.
    """

    decision_id: UUID
    customer: UUID
    product: str
    currency: str
    amount: int
    outcome: Outcome
    limit: int
    price: PriceView | None
    reasons: list[ReasonView]
    policy: PolicyReference
    facts: list[FactView]
    ledger_through: Through
    rules: list[RuleView]
    base_points: int
    points: list[PointsView]
    score: int
    band: str
    limit_steps: list[StepView]
    request_to_borrow: bool
    confirms_offer: UUID | None
    as_of: datetime
    as_of_past: bool
    decided_at: datetime
    offer: OfferView | None


class ConfirmationRequest(Request):
    """Asks whether an offer still stands: now, or at the past instant of a booking from a tape."""

    as_of: Instant | None = None


class CacheValidationRequest(Request):
    """How many cached answers to look at."""

    sample: Annotated[int, Meta(ge=1, le=200)] = 200


class CacheValidation(Response):
    """How many answers of one process were worked out again, and how many differed, by cause."""

    looked_at: int
    divergent: dict[str, int]
