"""The typed inputs of a decision, declared once: name, kind, source, and whether they may be unknown.

A fact is a non-identifying scalar. What identifies a person (birth date, phone, bank account) stays in the customer's
record; the age in whole years and "a bank is known" are what a policy sees, and all that an event may carry.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID

import msgspec

from amana.domain.lending import business_date
from amana.domain.money import MAX_AMOUNT

FactValue: TypeAlias = bool | int | str | None


class Kind(StrEnum):
    """What a fact's value is."""

    INTEGER = "integer"
    BOOLEAN = "boolean"
    TEXT = "text"


class Source(StrEnum):
    """Who says so: the customer's record, or the ledger through the customer's standing."""

    CUSTOMER = "customer"
    LEDGER = "ledger"


class Employment(StrEnum):
    """How a customer earns a living."""

    PERMANENT = "permanent"
    CONTRACT = "contract"
    SELF_EMPLOYED = "self_employed"
    STUDENT = "student"
    UNEMPLOYED = "unemployed"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class FactSpec:
    """The declaration of one fact. `values` lists what a text fact may be; `nullable` says that it may be unknown."""

    name: str
    kind: Kind
    source: Source
    nullable: bool = False
    values: tuple[str, ...] = ()


FACTS: dict[str, FactSpec] = {
    spec.name: spec
    for spec in (
        FactSpec("kyc_tier", Kind.INTEGER, Source.CUSTOMER),
        FactSpec("age_years", Kind.INTEGER, Source.CUSTOMER, nullable=True),
        FactSpec("employment", Kind.TEXT, Source.CUSTOMER, nullable=True, values=tuple(Employment)),
        FactSpec("monthly_income", Kind.INTEGER, Source.CUSTOMER, nullable=True),
        FactSpec("bank_known", Kind.BOOLEAN, Source.CUSTOMER),
        FactSpec("blocked", Kind.BOOLEAN, Source.CUSTOMER),
        FactSpec("exposure", Kind.INTEGER, Source.LEDGER),
        FactSpec("loans_total", Kind.INTEGER, Source.LEDGER),
        FactSpec("loans_open", Kind.INTEGER, Source.LEDGER),
        FactSpec("loans_closed", Kind.INTEGER, Source.LEDGER),
        FactSpec("worst_days_past_due", Kind.INTEGER, Source.LEDGER),
        FactSpec("current_days_past_due", Kind.INTEGER, Source.LEDGER),
        FactSpec("largest_principal_repaid", Kind.INTEGER, Source.LEDGER),
        FactSpec("repaid_total", Kind.INTEGER, Source.LEDGER),
        FactSpec("days_since_first_loan", Kind.INTEGER, Source.LEDGER, nullable=True),
        FactSpec("days_since_last_closed", Kind.INTEGER, Source.LEDGER, nullable=True),
    )
}


class CustomerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the lender recorded about a customer; income in kobo. Holds personal data: it never enters an event."""

    kyc_tier: int
    birth_date: date | None = None
    employment: Employment | None = None
    monthly_income: int | None = None
    bank_code: str | None = None
    phone: str | None = None
    blocked: bool = False


class CustomerStanding(msgspec.Struct, frozen=True, kw_only=True):
    """How a customer stands in the ledger in one currency at `as_of`. Amounts in minor units, days as Lagos dates."""

    customer: UUID
    exposure: int
    loans_total: int
    loans_open: int
    loans_closed: int
    worst_days_past_due: int
    current_days_past_due: int
    largest_principal_repaid: int
    repaid_total: int
    first_loan_on: date | None
    last_closed_on: date | None
    as_of: datetime


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Every declared fact by name (null where unknown) and, for each source, the instant it spoke of.

    `version` is the customer's `facts_version` when the record was read.
    """

    values: dict[str, FactValue]
    as_of: dict[Source, datetime]
    version: int

    @property
    def exposure(self) -> int:
        """What the customer owes, in minor units."""
        owed = self.values["exposure"]
        assert isinstance(owed, int)
        return owed


def facts_of(
    record: CustomerRecord, recorded_at: datetime, version: int, standing: CustomerStanding, at: datetime
) -> Facts:
    """The facts of a customer at the instant `at`: ages and spans are counted to its business date.

    Sums of the ledger stop at the largest amount: beyond it a fact could not be written down exactly.
    """
    today = business_date(at)
    values: dict[str, FactValue] = {
        "kyc_tier": record.kyc_tier,
        "age_years": None if record.birth_date is None else whole_years(record.birth_date, today),
        "employment": None if record.employment is None else str(record.employment),
        "monthly_income": record.monthly_income,
        "bank_known": record.bank_code is not None,
        "blocked": record.blocked,
        "exposure": min(standing.exposure, MAX_AMOUNT),
        "loans_total": standing.loans_total,
        "loans_open": standing.loans_open,
        "loans_closed": standing.loans_closed,
        "worst_days_past_due": standing.worst_days_past_due,
        "current_days_past_due": standing.current_days_past_due,
        "largest_principal_repaid": standing.largest_principal_repaid,
        "repaid_total": min(standing.repaid_total, MAX_AMOUNT),
        "days_since_first_loan": _days_since(standing.first_loan_on, today),
        "days_since_last_closed": _days_since(standing.last_closed_on, today),
    }
    spoke = {Source.CUSTOMER: recorded_at.astimezone(UTC), Source.LEDGER: standing.as_of.astimezone(UTC)}
    return Facts(values=values, as_of=spoke, version=version)


def fact_faults(values: Mapping[str, FactValue]) -> list[str]:
    """What is wrong with `values` as a set of facts, in the order of the declarations; empty when nothing is."""
    faults = [f"{name}: not a declared fact" for name in values if name not in FACTS]
    for name, spec in FACTS.items():
        if name not in values:
            faults.append(f"{name}: not given")
        elif not fits(spec, values[name]):
            faults.append(f"{name}: {values[name]!r} is no {spec.kind} that it may be")
    return faults


def fits(spec: FactSpec, value: FactValue) -> bool:
    """Whether `value` may be the value of the fact. A boolean is not an integer here."""
    match value:
        case None:
            return spec.nullable
        case bool():
            return spec.kind is Kind.BOOLEAN
        case int():
            return spec.kind is Kind.INTEGER
        case str():
            return spec.kind is Kind.TEXT and value in spec.values


def whole_years(born: date, today: date) -> int:
    """Age in completed years; somebody born on 29 February turns a year older on 1 March in other years."""
    return today.year - born.year - ((today.month, today.day) < (born.month, born.day))


def _days_since(day: date | None, today: date) -> int | None:
    return None if day is None else (today - day).days
