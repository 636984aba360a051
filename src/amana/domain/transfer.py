"""Transfers: immutable movements of one amount from a debit account to a credit account."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TypeAlias
from uuid import UUID

from amana.domain.reasons import Reason

Key: TypeAlias = tuple[int, UUID]
"""(tenant, id): nothing is ever looked up without its tenant."""

Figures: TypeAlias = Mapping[str, int | str]


@dataclass(frozen=True, slots=True)
class Transfer:
    """What is to move. `amount` is positive, in minor units of `currency`.

    `command` is the loan command that this is a leg of, or None for a client's own transfer. `limit_applies` is False
    only where money that is already owed or was already lent is being recorded.
    """

    tenant: int
    id: UUID
    debit_account: UUID
    credit_account: UUID
    amount: int
    currency: str
    code: str
    effective_on: date
    reverses: UUID | None = None
    command: UUID | None = None
    limit_applies: bool = True


@dataclass(frozen=True, slots=True)
class Standing:
    """One account's version and counters just after a transfer."""

    version: int
    debits_pending: int
    debits_posted: int
    credits_pending: int
    credits_posted: int


@dataclass(frozen=True, slots=True)
class Posted:
    """A transfer that moved, and how it left both accounts."""

    transfer: Transfer
    posted_at: datetime
    debit: Standing
    credit: Standing


@dataclass(frozen=True, slots=True)
class Refused:
    """An expected "no": the reason and the figures behind it. Final for its id."""

    reason: Reason
    figures: Figures = field(default_factory=dict)
