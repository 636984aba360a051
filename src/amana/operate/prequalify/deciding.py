"""One row for each customer of a page, decided with the table form of the policy.

The table decides twice. About the largest amount on offer first: that gives the limit. Then about the amount of the
row, which is the limit where there is one: so the row's outcome, price and reasons are those of what could be offered,
and are what a check says about that amount.
"""

import time
from collections.abc import Sequence
from typing import Any

import polars as pl

from amana.domain.decision import CompiledPolicy
from amana.domain.facts import FACTS, Facts, Kind
from amana.domain.policy_table import OUTPUT, PolicyTable
from amana.domain.reasons import Reason
from amana.operate.prequalify.options import largest_on_offer
from amana.operate.prequalify.pages import Page

REFUSED = "refused"
"""The outcome of a row about which a check would be refused: nothing was decided."""
_TYPES: dict[Kind, Any] = {Kind.INTEGER: pl.Int64, Kind.BOOLEAN: pl.Boolean, Kind.TEXT: pl.String}
_TEXTS: dict[str, Any] = {"outcome": pl.String, "band": pl.String, "reasons": pl.List(pl.String)}
SCHEMA: dict[str, Any] = {
    "customer": pl.String,
    "as_of": pl.Datetime("us", "UTC"),
    "product": pl.String,
    "policy_version": pl.Int64,
    "policy_hash": pl.String,
    "currency": pl.String,
    "network": pl.String,
    "amount": pl.Int64,
    **{name: _TEXTS.get(name, pl.Int64) for name in OUTPUT},
}
"""The columns of the rows and their types, in order."""


class Decider:
    """Decides pages under one policy. `decisions` counts those of the table, `table_s` the time that they took."""

    def __init__(self, policy: CompiledPolicy, network: str | None) -> None:
        self.largest = largest_on_offer(policy)
        self.decisions = 0
        self.table_s = 0.0
        self._table = PolicyTable(policy)
        self._same = {
            "product": policy.document.product,
            "policy_version": policy.version,
            "policy_hash": policy.hash,
            "currency": str(policy.document.currency),
            "network": network,
        }

    def rows(self, page: Page) -> pl.DataFrame:
        """The rows of a page in the order of the customers' ids, with the columns of `SCHEMA`."""
        same = [pl.lit(value, SCHEMA[name]).alias(name) for name, value in self._same.items()]
        same.append(pl.lit(page.as_of, SCHEMA["as_of"]).alias("as_of"))
        refused = pl.DataFrame({"customer": [str(id_) for id_ in page.ambiguous]}, schema={"customer": pl.String})
        refused = refused.with_columns(outcome=pl.lit(REFUSED), reasons=pl.lit([Reason.PERSON_AMBIGUOUS.value]))
        both = pl.concat([self._decided(page), refused], how="diagonal").with_columns(same)
        return both.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items()).sort("customer")

    def _decided(self, page: Page) -> pl.DataFrame:
        frame = frame_of(page.facts, sorted(self._table.facts))
        frame = frame.with_columns(network=pl.lit(self._same["network"], pl.String), amount=pl.lit(self.largest))
        begun = time.perf_counter()
        limits = self._table.decide(frame)["limit"]
        frame = frame.with_columns(amount=pl.when(limits > 0).then(limits).otherwise(self.largest))
        decided = self._table.decide(frame)
        self.table_s += time.perf_counter() - begun
        self.decisions += 2 * frame.height
        customers = pl.Series("customer", [str(id_) for id_ in page.decidable], pl.String)
        return decided.with_columns(customers, frame["amount"], *(pl.col(name).cast(_TEXTS[name]) for name in _TEXTS))


def frame_of(facts: Sequence[Facts], names: Sequence[str]) -> pl.DataFrame:
    """These facts as columns: a row for each customer, null where a fact is unknown."""
    return pl.DataFrame(
        [pl.Series(name, [one.values[name] for one in facts], _TYPES[FACTS[name].kind]) for name in names]
    )
