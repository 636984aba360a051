"""The tables that a replay rebuilds: their rows, their keys, the group and stream that they come from."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from amana.domain.projection import eligibility_rows, rows
from amana.domain.projection.exposures import ExposureRow
from amana.domain.projection.folds import Group


class Table(NamedTuple):
    """One table. The keys are the first columns. A `kept` one has rows that change; of others each row comes once."""

    name: str
    group: Group
    row: type[Any]
    keys: tuple[str, ...]
    kept: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """Its columns in order, `position` last."""
        return tuple(getattr(self.row, "_fields", None) or self.row.__struct_fields__)


STREAM_OF = {
    Group.LEDGER: "transactions",
    Group.LENDING: "transactions",
    Group.CUSTOMERS: "eligibility",
    Group.DECISIONS: "eligibility",
    Group.POLICIES: "eligibility",
}
_ID = ("tenant", "id")

TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        Table("accounts", Group.LEDGER, rows.AccountRow, _ID, kept=True),
        Table("transfers", Group.LEDGER, rows.TransferRow, _ID, kept=False),
        Table("holds", Group.LEDGER, rows.HoldRow, _ID, kept=True),
        Table("marks", Group.LEDGER, rows.MarkRow, ("tenant", "account", "version"), kept=False),
        Table("loans", Group.LENDING, rows.LoanRow, _ID, kept=True),
        Table("repayments", Group.LENDING, rows.RepaymentRow, _ID, kept=True),
        Table("withdrawn_offers", Group.LENDING, rows.WithdrawnRow, ("tenant", "offer"), kept=False),
        Table("exposures", Group.LENDING, ExposureRow, ("tenant", "customer", "currency"), kept=True),
        Table("customers", Group.CUSTOMERS, eligibility_rows.CustomerRow, ("tenant", "customer"), kept=True),
        Table("customer_blocks", Group.CUSTOMERS, eligibility_rows.BlockRow, ("tenant", "block_id"), kept=True),
        Table("decisions", Group.DECISIONS, eligibility_rows.DecisionRow, ("tenant", "decision_id"), kept=False),
        Table(
            "decision_standings", Group.DECISIONS, eligibility_rows.StandingRow, ("tenant", "decision_id"), kept=True
        ),
        Table("reviews", Group.DECISIONS, eligibility_rows.ReviewRow, ("tenant", "review_id"), kept=False),
        Table("appeals", Group.DECISIONS, eligibility_rows.AppealRow, ("tenant", "appeal_id"), kept=True),
        Table("reversals", Group.DECISIONS, eligibility_rows.ReversalRow, ("tenant", "reversal_id"), kept=True),
        Table(
            "reversal_steps",
            Group.DECISIONS,
            eligibility_rows.ReversalStepRow,
            ("tenant", "reversal_id", "offer"),
            kept=True,
        ),
        Table("policies", Group.POLICIES, eligibility_rows.PolicyRow, ("tenant", "product", "version"), kept=False),
        Table(
            "policy_steps",
            Group.POLICIES,
            eligibility_rows.StepRow,
            ("tenant", "product", "version", "step"),
            kept=False,
        ),
        Table("policy_products", Group.POLICIES, eligibility_rows.ProductRow, ("tenant", "product"), kept=True),
    )
}
