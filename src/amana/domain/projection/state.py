"""What stands so far: the rows in hand, by table and key, and those that are written once and done with.

The folds find here every row that an event changes. Who keeps the state may hold some of its rows elsewhere, if it
brings back those that `needs` names before an event is folded.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from amana.domain.projection import eligibility_rows, rows
from amana.domain.projection.exposures import ExposureRow

Key: TypeAlias = tuple[int, UUID]
"""(tenant, id)."""
Needs: TypeAlias = Iterable[tuple[str, tuple[Any, ...]]]
"""(table, key) of the rows that an event may change."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """What an event says that does not follow from the events before it."""

    position: int | None
    about: str
    folded: str
    told: str


@dataclass(slots=True)
class State:
    """See the module. `until` is the instant before which everything counts, None for all of time."""

    shards: int
    until: datetime | None = None
    accounts: dict[Key, rows.AccountRow] = field(default_factory=dict)
    holds: dict[Key, rows.HoldRow] = field(default_factory=dict)
    loans: dict[Key, rows.LoanRow] = field(default_factory=dict)
    repayments: dict[Key, rows.RepaymentRow] = field(default_factory=dict)
    exposures: dict[tuple[int, UUID, str], ExposureRow] = field(default_factory=dict)
    customers: dict[Key, eligibility_rows.CustomerRow] = field(default_factory=dict)
    customer_blocks: dict[Key, eligibility_rows.BlockRow] = field(default_factory=dict)
    decision_standings: dict[Key, eligibility_rows.StandingRow] = field(default_factory=dict)
    appeals: dict[Key, eligibility_rows.AppealRow] = field(default_factory=dict)
    reversals: dict[Key, eligibility_rows.ReversalRow] = field(default_factory=dict)
    reversal_steps: dict[tuple[int, UUID, UUID], eligibility_rows.ReversalStepRow] = field(default_factory=dict)
    policy_products: dict[tuple[int, str], eligibility_rows.ProductRow] = field(default_factory=dict)
    transfers: list[rows.TransferRow] = field(default_factory=list)
    marks: list[rows.MarkRow] = field(default_factory=list)
    withdrawn_offers: list[rows.WithdrawnRow] = field(default_factory=list)
    decisions: list[eligibility_rows.DecisionRow] = field(default_factory=list)
    reviews: list[eligibility_rows.ReviewRow] = field(default_factory=list)
    policies: list[eligibility_rows.PolicyRow] = field(default_factory=list)
    policy_steps: list[eligibility_rows.StepRow] = field(default_factory=list)
    contradictions: list[Contradiction] = field(default_factory=list)

    def object_to(self, position: int | None, about: str, folded: object, told: object) -> None:
        """Notes that an event says `told` where the events before it come to `folded`."""
        self.contradictions.append(Contradiction(position, about, str(folded), str(told)))
