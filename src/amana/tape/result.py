"""What a replay did: counted as it goes, summed up at the end."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

ERRORS_KEPT_MAX = 100
"""How many errors are kept in full. At as many the replay stops: something is wrong with more than a row."""


@dataclass(frozen=True, slots=True)
class StepError:
    """An answer that should not have come. `status` 0: nobody answered."""

    step: str
    ref: str
    status: int
    code: str
    body: str


@dataclass(slots=True)
class ReplayResult:
    """Counts of one replay. `reasons` counts why the policy did not approve (each reason of each such decision);
    `offers_not_booked` why an approved loan was imported all the same; `skipped` steps of a loan that failed earlier.

    `outstanding_closed` is what is owed in the end (kobo) on loans that the book says are closed: must be 0.
    """

    customers: int = 0
    loans: int = 0
    booked_from_offer: int = 0
    imported: int = 0
    decisions: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    offers_not_booked: Counter[str] = field(default_factory=Counter)
    repayments: int = 0
    inferred: int = 0
    reversals: int = 0
    outstanding_closed: int = 0
    steps: int = 0
    steps_done: int = 0
    skipped: int = 0
    retries: int = 0
    seconds: float = 0.0
    latency_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    errors: list[StepError] = field(default_factory=list)
    errors_total: int = 0

    @property
    def failed(self) -> bool:
        """Whether anything came out otherwise than it must: the command then ends with exit code 1."""
        return bool(self.errors_total or self.outstanding_closed or self.steps_done < self.steps)

    def add_error(self, error: StepError) -> None:
        """Counts an error, and keeps it while there is room."""
        self.errors_total += 1
        if len(self.errors) < ERRORS_KEPT_MAX:
            self.errors.append(error)

    def to_json(self, refused: Mapping[str, int] | None = None) -> dict[str, Any]:
        """The result as JSON values; `refused` are the rows that the check refused, by reason."""
        counts = {name: getattr(self, name) for name in self.__slots__}
        counts["errors"] = [{name: getattr(each, name) for name in each.__slots__} for each in self.errors]
        counts |= {name: dict(counts[name]) for name in ("decisions", "reasons", "offers_not_booked")}
        return counts | {"seconds": round(self.seconds, 3), "refused": dict(refused or {})}


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    """p50 and p99 by nearest rank, and how many samples; zeros without samples. Milliseconds in, milliseconds out."""
    ordered = sorted(samples)
    if not ordered:
        return {"p50": 0.0, "p99": 0.0, "samples": 0}

    def at(percent: int) -> float:
        return round(ordered[ceil(len(ordered) * percent / 100) - 1], 3)

    return {"p50": at(50), "p99": at(99), "samples": len(ordered)}
