"""Eligibility's own copy of how customers stand in the ledger, and when it may be believed.

A row holds what the ledger said of a customer in a currency. An event of the ledger that concerns the customer makes
it stale, and whoever asks the ledger next fills it again. What changes by the passage of days alone is worked out when
the row is read (`domain.aging`). So a row that is not stale is what the ledger would say, up to the watermark:
everything that the ledger had committed before that instant has been applied here.

Only a plain question is answered from here, and only while the watermark is at most `LAG_MAX` old. Else, and for every
request to borrow, every look at an offer, every question about the past and every validation, the ledger is asked.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from amana.domain.aging import aged
from amana.domain.decision import Assessment
from amana.domain.facts import CustomerStanding, Source, Through

LAG_MAX = timedelta(seconds=5)
CACHED_LAG_MAX = timedelta(seconds=2)
"""What was further behind than this when it was decided is told and not cached: it would be too old too soon."""
STREAM = "transactions"


def may_be_cached(assessment: Assessment) -> bool:
    """Whether what the ledger's facts say was recent when they were assessed."""
    facts = assessment.facts
    return (
        facts.ledger_through is Through.LEDGER or assessment.assessed_at - facts.as_of[Source.LEDGER] <= CACHED_LAG_MAX
    )


class StandingKey(NamedTuple):
    """Whose row it is, in which currency."""

    tenant: int
    customer: UUID
    currency: str


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row. Stale where `as_of` is None, whatever else it says; `moves` grows as events concern it. `given_up`: how
    many letters of the stream had been given up before the ledger was asked, as far as the watermark knew."""

    customer: UUID
    currency: str
    moves: int
    as_of: datetime | None
    exposure: int | None
    loans_total: int | None
    loans_open: int | None
    loans_closed: int | None
    worst_days_past_due: int | None
    current_days_past_due: int | None
    largest_principal_repaid: int | None
    repaid_total: int | None
    first_loan_on: date | None
    last_closed_on: date | None
    open_due_on: date | None
    given_up: int = 0

    def standing(self, ledger_at: datetime | None = None) -> CustomerStanding | None:
        """What the ledger said; None where the row is stale. With `ledger_at` as of then, if that is later, and said to
        be known through the projection."""
        as_of, through = self.as_of, Through.LEDGER
        if as_of is None:
            return None
        if ledger_at is not None:
            as_of, through = max(as_of, ledger_at).astimezone(UTC), Through.PROJECTION
        whole: Any = self  # by a constraint
        return CustomerStanding(
            customer=self.customer,
            exposure=whole.exposure,
            loans_total=whole.loans_total,
            loans_open=whole.loans_open,
            loans_closed=whole.loans_closed,
            worst_days_past_due=whole.worst_days_past_due,
            current_days_past_due=whole.current_days_past_due,
            largest_principal_repaid=whole.largest_principal_repaid,
            repaid_total=whole.repaid_total,
            first_loan_on=self.first_loan_on,
            last_closed_on=self.last_closed_on,
            as_of=as_of,
            open_due_on=self.open_due_on,
            lasts=True,
            through=through,
        )


class Watermark(NamedTuple):
    """Everything that the ledger had committed before `ledger_at`, by its clock, is here; that is `lag` ago. But for
    the letters that a person gave up on the way, `given_up` by number: nobody knows whom they concerned."""

    ledger_at: datetime
    lag: timedelta
    given_up: int = 0


class Projection(NamedTuple):
    """The rows of one person's numbers, in every currency, and the watermark that was read with them.

    No `watermark` where the projection was never level with the ledger: then nothing of it is believed, nor kept.
    """

    rows: Sequence[Row] = ()
    watermark: Watermark | None = None

    def row(self, customer: UUID, currency: str) -> Row | None:
        """One row, stale or not."""
        return next((row for row in self.rows if row.customer == customer and row.currency == currency), None)

    def standings(self, customers: Sequence[UUID], currency: str, at: datetime) -> list[CustomerStanding] | None:
        """How each of the customers stands at the instant `at`; None where that is not known of all of them."""
        if self.watermark is None or self.watermark.lag > LAG_MAX:
            return None
        found = [self._standing(customer, currency, at, self.watermark) for customer in customers]
        return [standing for standing in found if standing is not None] if None not in found else None

    def _standing(self, customer: UUID, currency: str, at: datetime, watermark: Watermark) -> CustomerStanding | None:
        row = self.row(customer, currency)
        told = None if row is None else row.standing(watermark.ledger_at)
        return None if told is None else aged(told, at)
