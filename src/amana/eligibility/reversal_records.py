"""What eligibility keeps of a reversal that has something to undo, as a value."""

from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from amana.domain.decision_reversal import SagaState, Step, UndoTerms
from amana.domain.money import Currency


class Saga(msgspec.Struct, frozen=True, kw_only=True):
    """A reversal with its steps, one for each offer. `age` is by the database's clock, when it was read.

    `attempts` counts those to reach the ledger since it last answered.
    """

    tenant: int
    reversal_id: UUID
    decision_id: UUID
    customer: UUID
    product: str
    currency: Currency
    state: SagaState
    undo: UndoTerms
    attempts: int
    begun_at: datetime
    over_at: datetime | None
    age: timedelta
    steps: tuple[Step, ...]
