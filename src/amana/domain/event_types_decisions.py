"""`DecisionMade`, declared: what is written now, what was written before, and how that is raised."""

from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct

from amana.domain.decision import RuleState
from amana.domain.event_kinds import ABSENT, Absent, Count, Data, Digest, Instant, Whole
from amana.domain.facts import FactValue, Source, Through
from amana.domain.policy import Outcome
from amana.domain.pricing import Price, Terms


class NamedPolicy(Struct, frozen=True, kw_only=True):
    """A version of a policy. The hash names its document."""

    name: str
    version: Count
    hash: Digest


class FactsSaid(Struct, frozen=True, kw_only=True):
    """What one source says, and as of when: facts by name."""

    as_of: Instant
    values: dict[str, FactValue]


class KnownFact(Struct, frozen=True, kw_only=True):
    """A fact, who says so, and as of when."""

    value: FactValue
    source: Source
    as_of: Instant


class _Decided(Data, frozen=True, kw_only=True):
    """What every version says."""

    customer: UUID
    product: str
    currency: str
    amount: Count
    term_days: Count | None
    terms: Terms | None
    request_to_borrow: bool
    offer_id: UUID | None
    as_of: Instant
    as_of_past: bool
    facts_version: Count
    policy: NamedPolicy
    rules: dict[str, RuleState]
    points: dict[str, Whole]
    score: Whole
    band: str
    caps: dict[str, Whole | None]
    exposure_cap: Whole
    exposure: Whole
    headroom: Whole
    outcome: Outcome
    limit: Count
    price: Price | None
    reasons: list[str]
    network: str | Absent = ABSENT
    ledger_through: Through | Absent = ABSENT


class DecisionMade(_Decided, frozen=True, kw_only=True):
    """A decision was computed: the question, the facts, every rule, the limit, the outcome.

    `facts` by their source; one that said nothing is not there. `ledger_through` where the ledger's facts were not
    asked of it for this: they came from eligibility's projection.
    """

    facts: dict[Source, FactsSaid]


class DecisionMadeV1(_Decided, frozen=True, kw_only=True):
    """A decision was computed: the question, the facts, every rule, the limit, the outcome.

    `ledger_through` where the ledger's facts were not asked of it for this: they came from eligibility's projection.
    """

    facts: dict[str, KnownFact]


def facts_by_source(before: DecisionMadeV1) -> DecisionMade:
    """Version 2 of what version 1 said: it had each source's instant beside every fact of it."""
    said: dict[Source, FactsSaid] = {}
    for name, fact in before.facts.items():
        said.setdefault(fact.source, FactsSaid(as_of=fact.as_of, values={})).values[name] = fact.value
    same: dict[str, Any] = msgspec.structs.asdict(before)
    return DecisionMade(**same | {"facts": said})
