"""Exposures from the events of loans and credit lines alone: what a service that has no ledger may keep of one.

Each step needs the row of the customer and currency, and what the loan owed before; nothing else. So a consumer that
keeps both with its progress folds by the same two functions as a replay.
"""

from uuid import UUID

from msgspec import Struct


class ExposureRow(Struct, gc=False):
    """What a customer owes in a currency, in how many open loans, and may owe at most (None before a credit line)."""

    tenant: int
    customer: UUID
    currency: str
    credit_limit: int | None = None
    owed: int = 0
    loans_open: int = 0
    position: int | None = None


def limit(exposure: ExposureRow, credit_limit: int | None) -> None:
    """A credit line was set."""
    exposure.credit_limit = credit_limit


def owe(exposure: ExposureRow, before: int, after: int) -> None:
    """A loan owes `after`, and owed `before` (0 for one that was not there), in minor units."""
    exposure.owed += after - before
    exposure.loans_open += (after > 0) - (before > 0)
