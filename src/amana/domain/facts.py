"""The typed inputs of a decision, declared once: name, kind, source, and whether they may be unknown.

A fact is a non-identifying scalar. What identifies a person (BVN, NIN, birth date, phone, bank account) stays in the
customer's record; the age in whole years and "a BVN is known" are what a policy sees, and all that an event may carry.

Facts are added over time: a name that `Facts.values` of an old decision lacks is null, so what came later is nullable.
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
from amana.domain.record import Employment, Profile
from amana.domain.sources import NOTHING_SAID, Said

FactValue: TypeAlias = bool | int | str | None


class Kind(StrEnum):
    """What a fact's value is."""

    INTEGER = "integer"
    BOOLEAN = "boolean"
    TEXT = "text"


class Source(StrEnum):
    """Who says so: the lender's record, the ledger through the customer's standing, or another source."""

    CUSTOMER = "customer"
    LEDGER = "ledger"
    BUREAU = "bureau"
    TOPUPS = "topups"
    CONSENTS = "consents"


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
        FactSpec("bvn_known", Kind.BOOLEAN, Source.CUSTOMER, nullable=True),
        FactSpec("nin_known", Kind.BOOLEAN, Source.CUSTOMER, nullable=True),
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
        FactSpec("linked_customers", Kind.INTEGER, Source.LEDGER, nullable=True),
        FactSpec("bureau_score", Kind.INTEGER, Source.BUREAU, nullable=True),
        FactSpec("bureau_worst_days_past_due", Kind.INTEGER, Source.BUREAU, nullable=True),
        FactSpec("bureau_open_facilities", Kind.INTEGER, Source.BUREAU, nullable=True),
        FactSpec("bureau_count", Kind.INTEGER, Source.BUREAU, nullable=True),
        FactSpec("bureau_age_days", Kind.INTEGER, Source.BUREAU, nullable=True),
        FactSpec("topup_monthly", Kind.INTEGER, Source.TOPUPS, nullable=True),
        FactSpec("consent_terms", Kind.BOOLEAN, Source.CONSENTS, nullable=True),
        FactSpec("consent_bureau", Kind.BOOLEAN, Source.CONSENTS, nullable=True),
        FactSpec("consent_recovery", Kind.BOOLEAN, Source.CONSENTS, nullable=True),
    )
}


class Through(StrEnum):
    """How a standing came here: asked of the ledger, or kept in eligibility's projection of it."""

    LEDGER = "ledger"
    PROJECTION = "projection"


class CustomerStanding(msgspec.Struct, frozen=True, kw_only=True):
    """How a customer stands in the ledger in one currency at `as_of`. Amounts in minor units, days as Lagos dates.

    `linked`: how many other numbers of the same person are counted in. `open_due_on` is the first due date of a loan
    that owes. `lasts`: only the passage of days changes it until the ledger records something (`domain.aging`).
    """

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
    linked: int = 0
    open_due_on: date | None = None
    lasts: bool = False
    through: Through = Through.LEDGER


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Facts by name (null where unknown), the instant that each source spoke of, and the version that was read.

    `ledger_through`: how the ledger's facts came here. Left out of the bytes where the ledger was asked: they are then
    those of before there was another way.
    """

    values: dict[str, FactValue]
    as_of: dict[Source, datetime]
    version: int
    ledger_through: Through = Through.LEDGER

    @property
    def exposure(self) -> int:
        """What the customer owes, in minor units."""
        owed = self.values["exposure"]
        assert isinstance(owed, int)
        return owed


def facts_of(
    record: Profile,
    recorded_at: datetime,
    version: int,
    standing: CustomerStanding,
    at: datetime,
    said: Said = NOTHING_SAID,
) -> Facts:
    """The facts of a customer at the instant `at`: spans are counted to its business date, later words are unknown.

    Sums of the ledger stop at the largest amount: beyond it a fact could not be written down exactly.
    """
    today = business_date(at)
    spoke = {Source.CUSTOMER: _in_utc(recorded_at), Source.LEDGER: _in_utc(standing.as_of)}
    values: dict[str, FactValue] = {
        "kyc_tier": record.kyc_tier,
        "age_years": None if record.birth_date is None else whole_years(record.birth_date, today),
        "employment": None if record.employment is None else str(record.employment),
        "monthly_income": record.monthly_income,
        "bank_known": record.bank_known,
        "blocked": record.blocked or said.blocked,
        "bvn_known": record.bvn_known,
        "nin_known": record.nin_known,
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
        "linked_customers": standing.linked,
        **_UNSAID,
    }
    if said is not NOTHING_SAID:
        _add_said(said, at, spoke, values)
    return Facts(values=values, as_of=spoke, version=version, ledger_through=standing.through)


_UNSAID = {name: None for name, spec in FACTS.items() if spec.source not in (Source.CUSTOMER, Source.LEDGER)}
"""Until another source spoke. (One literal takes half the time of parts that are joined.)"""


def _in_utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)


def _add_said(said: Said, at: datetime, spoke: dict[Source, datetime], values: dict[str, FactValue]) -> None:
    """Adds what was known of the other sources at the instant `at`."""
    if (bureau := said.bureau) is not None and bureau.as_of <= at:
        spoke[Source.BUREAU] = bureau.as_of.astimezone(UTC)
        values["bureau_score"] = bureau.score
        values["bureau_worst_days_past_due"] = bureau.worst_days_past_due
        values["bureau_open_facilities"] = bureau.open_facilities
        values["bureau_count"] = bureau.bureau_count
        values["bureau_age_days"] = _days_since(business_date(bureau.as_of), business_date(at))
    if (topups := said.topups) is not None and topups.as_of <= at:
        spoke[Source.TOPUPS] = topups.as_of.astimezone(UTC)
        values["topup_monthly"] = topups.monthly
    if answers := said.consents.by(at):
        spoke[Source.CONSENTS] = max(answer.at for answer in answers.values()).astimezone(UTC)
        values |= {f"consent_{purpose}": answer.given for purpose, answer in answers.items()}


def fact_faults(values: Mapping[str, FactValue]) -> list[str]:
    """What is wrong with `values` as a set of facts, in the order of the declarations; empty when nothing is.

    A nullable fact may be absent: it was declared after these values were written down, and is null.
    """
    faults = [f"{name}: not a declared fact" for name in values if name not in FACTS]
    for name, spec in FACTS.items():
        if name not in values and not spec.nullable:
            faults.append(f"{name}: not given")
        elif not fits(spec, values.get(name)):
            faults.append(f"{name}: {values.get(name)!r} is no {spec.kind} that it may be")
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
