"""What a check comes to: the answer that was computed, or the verdict from which it follows."""

from datetime import datetime, timedelta
from typing import Literal, TypeAlias
from uuid import UUID

import msgspec

from amana.domain.decision import Assessment, CompiledPolicy, Decision, Verdict, decide
from amana.domain.transfer import Refused
from amana.eligibility.memory import Kept

Source: TypeAlias = Literal["fresh", "cache", "memory"]
Asked: TypeAlias = tuple[int, int | None, str | None]
"""What a plain question asks of a customer: (amount, term_days, network)."""


class Answer(msgspec.Struct, frozen=True):
    """What a check comes to. `as_of` is the instant that it speaks of, `expires_at` the end of its offer if it is one.

    From a cache, `decision_id` is the decision that recorded the assessment. `degraded`: the live policy could not be
    asked for, because the database is away.
    """

    decision_id: UUID
    policy: CompiledPolicy
    assessment: Assessment | Verdict
    decision: Decision
    as_of: datetime
    decided_at: datetime
    expires_at: datetime | None = None
    source: Source = "fresh"
    replayed: bool = False
    degraded: bool = False

    def age(self, now: datetime) -> timedelta:
        """How old the assessment is; never below zero, whatever two clocks say."""
        return max(timedelta(0), now - self.assessment.assessed_at)


class Quotable(msgspec.Struct, frozen=True):
    """A verdict from which whatever a plain question asks of the customer follows. `degraded` as in `Answer`;
    `computed` for who asked for it to be computed: nobody had it. Else it was in the cache."""

    policy: CompiledPolicy
    kept: Kept
    degraded: bool
    computed: Answer | None = None

    def quoted(self, asked: Asked) -> Answer:
        """The answer to what is asked, by whoever it is computed for."""
        if self.computed is not None:
            return self.computed
        return quoted(self.policy, self.kept.verdict, asked, "cache", degraded=self.degraded)


Result: TypeAlias = Answer | Refused
Told: TypeAlias = Answer | Quotable | Refused


def quoted(policy: CompiledPolicy, verdict: Verdict, asked: Asked, source: Source, *, degraded: bool) -> Answer:
    """The answer that follows from a verdict for what is asked."""
    amount, term_days, network = asked
    return Answer(
        verdict.decision_id,
        policy,
        verdict,
        decide(policy, verdict, amount, term_days, None, network),
        verdict.assessed_at,
        verdict.assessed_at,
        source=source,
        degraded=degraded,
    )


def told_again(first: Quotable | Refused) -> Quotable | Refused:
    """What is told to who asked the same while the first of them was answered, maybe of another amount."""
    if isinstance(first, Refused) or first.computed is None:
        return first
    return Quotable(first.policy, first.kept, first.degraded)
