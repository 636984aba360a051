"""What follows from the reversal of a decision, offer by offer: a saga whose every step is idempotent. Pure.

    withdrawing ─┬─ the ledger closed it ─────────────────────────────────────► unbooked
                 ├─ booked, and not to be undone ─────────────────────────────► kept
                 └─ booked ──► reversing ─┬─ the money went back ─────────────► reversed
                                          └─ a person gave up ──► abandoning ─► kept
    withdrawing ── a person gave up ──────────────────────────────────────────► unknown

A step asks the ledger under an id that follows from the reversal, the offer and how often the ledger said no before. So
whoever asks again after a crash gets the first answer, and after a refusal that a person resolved gets a new one. What
is refused leaves the step where it is, with the reason, until a person has it go on or gives it up.
"""

from datetime import timedelta
from enum import StrEnum
from uuid import UUID

import msgspec

from amana.domain.decision import CompiledPolicy
from amana.domain.ids import derived_id
from amana.domain.loan_reversal import Kept, OfferOutcome
from amana.domain.policy import LoanReversal
from amana.domain.reasons import Reason
from amana.domain.transfer import Refused

SETTLED_S = 60
"""After which no booking is under way that was confirmed before the reversal: a confirmation is waited for 3 s, a place
in the queue 5 s, and a transaction begins 5 s later at most."""


class UndoLoans(StrEnum):
    """What a reversal does about loans that were booked: nothing, or what the policy allows."""

    KEEP = "keep"
    REVERSE = "reverse"


class StepState(StrEnum):
    """Where one offer of a reversed decision is."""

    WITHDRAWING = "withdrawing"
    REVERSING = "reversing"
    ABANDONING = "abandoning"
    UNBOOKED = "unbooked"
    KEPT = "kept"
    REVERSED = "reversed"
    UNKNOWN = "unknown"


ENDS = frozenset({StepState.UNBOOKED, StepState.KEPT, StepState.REVERSED, StepState.UNKNOWN})


class SagaState(StrEnum):
    """A `stuck` saga needs a person."""

    RUNNING = "running"
    STUCK = "stuck"
    OVER = "over"


class UndoTerms(msgspec.Struct, frozen=True, kw_only=True):
    """Under which rule loans are undone, fixed when the reversal is asked for: that of the policy live then.

    Without `terms` they are kept, because of `kept`.
    """

    terms: LoanReversal | None
    kept: Kept | None
    policy: str | None = None
    policy_version: int | None = None
    policy_hash: str | None = None

    @property
    def asked(self) -> UndoLoans:
        """What was asked about loans."""
        return UndoLoans.KEEP if self.kept is Kept.NOT_ASKED else UndoLoans.REVERSE


def undo_terms(wanted: UndoLoans, policy: CompiledPolicy | None) -> UndoTerms:
    """What a reversal does about loans, by what is asked and the policy that is live, None where there is none."""
    if wanted is UndoLoans.KEEP:
        return UndoTerms(terms=None, kept=Kept.NOT_ASKED)
    terms = None if policy is None else policy.document.loan_reversal
    if policy is None or terms is None:
        return UndoTerms(terms=None, kept=Kept.NOT_ALLOWED)
    return UndoTerms(
        terms=terms,
        kept=None,
        policy=policy.document.name,
        policy_version=policy.version,
        policy_hash=policy.hash,
    )


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One offer. `refusals` counts those of the ledger; `stuck_because` is the newest, until a person looks at it."""

    offer: UUID
    state: StepState = StepState.WITHDRAWING
    loan: UUID | None = None
    kept_because: Kept | None = None
    stuck_because: str | None = None
    refusals: int = 0

    @property
    def goes_on(self) -> bool:
        """Whether the ledger is to be asked."""
        return self.state not in ENDS and self.stuck_because is None

    def command_id(self, customer: UUID, reversal: UUID) -> UUID:
        """The id under which the ledger is asked: in the customer's shard, and always the same."""
        return derived_id(customer, f"{self.state}/{reversal}/{self.offer}/{self.refusals}")


class Withdrawn(msgspec.Struct, frozen=True):
    """The ledger's answer to a withdrawal, as far as it matters here."""

    outcome: OfferOutcome
    loan: UUID | None
    kept_because: Kept | None


class Moved(msgspec.Struct, frozen=True):
    """The ledger's yes to a reversal or an abandonment."""


_SETTLED = {
    (StepState.REVERSING, Reason.ALREADY_REVERSED): StepState.REVERSED,
    (StepState.ABANDONING, Reason.ALREADY_REVERSED): StepState.REVERSED,
    (StepState.ABANDONING, Reason.LOAN_NOT_REVERSING): StepState.KEPT,
}
"""Refusals that say that it was done before."""


def after(step: Step, reply: Withdrawn | Moved | Refused, age: timedelta) -> Step:
    """What the ledger's answer makes of a step. `age` is the reversal's."""
    match reply:
        case Withdrawn():
            state = StepState(reply.outcome)
            return msgspec.structs.replace(step, state=state, loan=reply.loan, kept_because=reply.kept_because)
        case Moved():
            return _ended(step, StepState.REVERSED if step.state is StepState.REVERSING else StepState.KEPT)
        case Refused():
            return _refused(step, reply.reason, age)


def _refused(step: Step, reason: Reason, age: timedelta) -> Step:
    if settled := _SETTLED.get((step.state, reason)):
        return _ended(step, settled)
    if (step.state, reason) == (StepState.WITHDRAWING, Reason.CREDIT_LINE_NOT_FOUND):
        # Who has no credit line has no loan; only a booking that was confirmed before could still find a new line.
        if age >= timedelta(seconds=SETTLED_S):
            return msgspec.structs.replace(step, state=StepState.UNBOOKED)
        return msgspec.structs.replace(step, refusals=step.refusals + 1)
    return msgspec.structs.replace(step, stuck_because=reason.value, refusals=step.refusals + 1)


def _ended(step: Step, state: StepState) -> Step:
    kept = Kept.ABANDONED if state is StepState.KEPT else None
    return msgspec.structs.replace(step, state=state, kept_because=kept)


def resumed(step: Step) -> Step:
    """A step of a stuck saga that a person has go on."""
    return msgspec.structs.replace(step, stuck_because=None)


def abandoned(step: Step) -> Step:
    """A step of a stuck saga that a person gave up: a loan is left as it is; of an offer nothing is known."""
    go_on = {StepState.WITHDRAWING: StepState.UNKNOWN, StepState.REVERSING: StepState.ABANDONING}
    return msgspec.structs.replace(step, state=go_on.get(step.state, step.state), stuck_because=None)


def state_of(steps: tuple[Step, ...]) -> SagaState:
    """A saga goes on while any step does; it is over when all are."""
    if any(step.goes_on for step in steps):
        return SagaState.RUNNING
    return SagaState.OVER if all(step.state in ENDS for step in steps) else SagaState.STUCK
