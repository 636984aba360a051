"""What others than the lender's record and the ledger say of a customer, each with the instant that it speaks of.

A source that never spoke says None: unknown, never zero and never "no".
"""

from datetime import datetime
from typing import NamedTuple

import msgspec


class BureauSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What credit bureaus report. `bureau_count` is how many of them it rests on; `as_of` the date of their report.

    A field is None where the report does not say: a thin file has no score.
    """

    as_of: datetime
    bureau_count: int
    score: int | None = None
    worst_days_past_due: int | None = None
    open_facilities: int | None = None


class TopUps(msgspec.Struct, frozen=True, kw_only=True):
    """Top-up behaviour as the network reports it: `monthly` in minor units a month."""

    as_of: datetime
    monthly: int


class Consent(NamedTuple):
    """One answer of the customer: given, or (False) refused or withdrawn, at the instant `at`."""

    given: bool
    at: datetime


class Consents(NamedTuple):
    """The newest answer for each purpose; None where the customer was never asked."""

    terms: Consent | None = None
    bureau: Consent | None = None
    recovery: Consent | None = None

    def by(self, at: datetime) -> dict[str, Consent]:
        """The answers that were given by the instant `at`, by purpose."""
        asked = zip(self._fields, self, strict=True)
        return {purpose: answer for purpose, answer in asked if answer is not None and answer.at <= at}


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """All of that. `blocked`: a block is in force, on the customer or on another number of the same person."""

    bureau: BureauSummary | None = None
    topups: TopUps | None = None
    consents: Consents = Consents()
    blocked: bool = False


NOTHING_SAID = Said()
