"""The data of `DecisionMade` in the fixed shape that makes its bytes cheap: the largest event, and one a miss."""

from collections.abc import Collection
from uuid import UUID

import msgspec

from amana.domain.decision import RuleState
from amana.domain.events import Shaped
from amana.domain.facts import FactValue
from amana.domain.policy import Outcome


class SaidData(msgspec.Struct, frozen=True, gc=False):
    """What a source says, and as of when. Members in the order of their bytes, as in all that follows."""

    as_of: str
    values: dict[str, FactValue]


class PolicyData(msgspec.Struct, frozen=True, gc=False):
    """A version of a policy."""

    hash: str
    name: str
    version: int


class PriceData(msgspec.Struct, frozen=True, gc=False):
    """What was offered."""

    fee: int
    principal: int
    rate_bps: int
    term_days: int
    total_due: int


class TermsData(msgspec.Struct, frozen=True, gc=False):
    """A price that is not the policy's."""

    fee: int
    term_days: int


class DecisionData(Shaped, frozen=True, kw_only=True):
    """See the module. What is not asked for over a network, or not known through the projection, says nothing of it."""

    amount: int
    as_of: str
    as_of_past: bool
    band: str
    caps: dict[str, int | None]
    currency: str
    customer: UUID
    exposure: int
    exposure_cap: int
    facts: dict[str, SaidData]
    facts_version: int
    headroom: int
    ledger_through: str | msgspec.UnsetType = msgspec.UNSET
    limit: int
    network: str | msgspec.UnsetType = msgspec.UNSET
    offer_id: UUID | None
    outcome: Outcome
    points: dict[str, int]
    policy: PolicyData
    price: PriceData | None
    product: str
    reasons: tuple[str, ...]
    request_to_borrow: bool
    rules: dict[str, RuleState]
    score: int
    term_days: int | None
    terms: TermsData | None

    def values(self) -> list[object]:
        """See `Shaped`."""
        found: list[object] = [*self.points.values(), *self.caps.values()]
        found += (self.amount, self.exposure, self.exposure_cap, self.facts_version, self.headroom, self.limit)
        found += (self.policy.version, self.score, self.term_days)
        for said in self.facts.values():
            found += said.values.values()
        if (price := self.price) is not None:
            found += (price.fee, price.principal, price.rate_bps, price.term_days, price.total_due)
        if self.terms is not None:
            found += (self.terms.fee, self.terms.term_days)
        return found

    def names(self) -> Collection[str]:
        """See `Shaped`."""
        facts = [name for said in self.facts.values() for name in said.values]
        return (*self.facts, *facts, *self.points, *self.caps, *self.rules)
