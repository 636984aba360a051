"""Facts: typed, complete, and counted in business days."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from tests.domain.policy_model import GOOD, shipped

from amana.domain.decision import Assessment, DecisionInputs, canonical, compile_policy, replay
from amana.domain.facts import FACTS, CustomerStanding, Source, fact_faults, facts_of, whole_years
from amana.domain.money import MAX_AMOUNT
from amana.domain.record import CustomerRecord, Employment
from amana.domain.sources import BureauSummary, Consent, Consents, Said, TopUps

AT = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)  # already 2 March in Lagos
DAY = timedelta(days=1)
OTHERS = {Source.BUREAU, Source.TOPUPS, Source.CONSENTS}


def standing(**changes: object) -> CustomerStanding:
    zeros: dict[str, object] = {
        "customer": UUID(int=7),
        "exposure": 0,
        "loans_total": 0,
        "loans_open": 0,
        "loans_closed": 0,
        "worst_days_past_due": 0,
        "current_days_past_due": 0,
        "largest_principal_repaid": 0,
        "repaid_total": 0,
        "first_loan_on": None,
        "last_closed_on": None,
        "as_of": AT,
    }
    return CustomerStanding(**(zeros | changes))  # type: ignore[arg-type]


def test_every_declared_fact_is_made_and_fits_its_declaration() -> None:
    made = facts_of(CustomerRecord(kyc_tier=1).profile(), AT, 3, standing(), AT)
    assert set(made.values) == set(FACTS)
    assert fact_faults(made.values) == []
    assert made.version == 3
    assert made.as_of == {Source.CUSTOMER: AT, Source.LEDGER: AT}


def test_what_is_not_known_is_null_and_never_zero() -> None:
    made = facts_of(CustomerRecord(kyc_tier=1).profile(), AT, 1, standing(), AT).values
    unknown = {name for name, value in made.items() if value is None}
    assert unknown == {
        "age_years", "employment", "monthly_income", "days_since_first_loan", "days_since_last_closed",
        "bureau_score", "bureau_worst_days_past_due", "bureau_open_facilities", "bureau_count", "bureau_age_days",
        "topup_monthly", "consent_terms", "consent_bureau", "consent_recovery",
    }  # fmt: skip


def test_days_are_counted_to_the_lagos_date() -> None:
    record = CustomerRecord(kyc_tier=2, birth_date=date(2008, 3, 2), employment=Employment.STUDENT, bank_code="058")
    ledger = standing(first_loan_on=date(2026, 2, 28), last_closed_on=date(2026, 3, 2))
    made = facts_of(record.profile(), AT, 1, ledger, AT).values
    assert (made["age_years"], made["days_since_first_loan"], made["days_since_last_closed"]) == (18, 2, 0)
    assert (made["employment"], made["bank_known"]) == ("student", True)


def test_sums_of_the_ledger_stop_at_the_largest_amount() -> None:
    ledger = standing(exposure=MAX_AMOUNT + 1, repaid_total=3 * MAX_AMOUNT)
    made = facts_of(CustomerRecord(kyc_tier=1).profile(), AT, 1, ledger, AT).values
    assert (made["exposure"], made["repaid_total"]) == (MAX_AMOUNT, MAX_AMOUNT)


def test_nothing_that_identifies_a_person_is_a_fact() -> None:
    record = CustomerRecord(
        kyc_tier=1,
        birth_date=date(1990, 5, 17),
        phone="+2348031234567",
        bank_code="50211",
        nuban="2000000013",
        bvn="22212345678",
        nin="70123456789",
    )
    made = facts_of(record.profile(), AT, 1, standing(), AT).values
    secrets = ("1990", "8031234567", "50211", "2000000013", "22212345678", "70123456789")
    assert not any(secret in str(made) for secret in secrets)
    assert (made["bvn_known"], made["nin_known"]) == (True, True)


def test_each_source_keeps_its_own_instant() -> None:
    terms, bureau = Consent(given=True, at=AT - DAY), Consent(given=False, at=AT - 3 * DAY)
    said = Said(
        bureau=BureauSummary(as_of=AT - 40 * DAY, bureau_count=2, score=640, worst_days_past_due=12),
        topups=TopUps(as_of=AT - 2 * DAY, monthly=450_000),
        consents=Consents(terms=terms, bureau=bureau),
    )
    made = facts_of(CustomerRecord(kyc_tier=1).profile(), AT, 1, standing(), AT, said)
    assert fact_faults(made.values) == []
    assert {name: made.values[name] for name, spec in FACTS.items() if spec.source in OTHERS} == {
        "bureau_score": 640, "bureau_worst_days_past_due": 12, "bureau_open_facilities": None, "bureau_count": 2,
        "bureau_age_days": 40, "topup_monthly": 450_000,
        "consent_terms": True, "consent_bureau": False, "consent_recovery": None,
    }  # fmt: skip
    assert made.as_of == {
        Source.CUSTOMER: AT, Source.LEDGER: AT,
        Source.BUREAU: AT - 40 * DAY, Source.TOPUPS: AT - 2 * DAY, Source.CONSENTS: AT - DAY,
    }  # fmt: skip


def test_what_was_said_later_is_not_known_earlier() -> None:
    later = AT + DAY
    said = Said(
        bureau=BureauSummary(as_of=later, bureau_count=2, score=640),
        topups=TopUps(as_of=later, monthly=450_000),
        consents=Consents(terms=Consent(given=True, at=later)),
    )
    assert facts_of(CustomerRecord(kyc_tier=1).profile(), AT, 1, standing(), AT, said) == facts_of(
        CustomerRecord(kyc_tier=1).profile(), AT, 1, standing(), AT
    )


def test_a_block_in_force_is_a_block_like_the_records_own() -> None:
    for record, said in ((True, False), (False, True), (True, True)):
        made = facts_of(CustomerRecord(kyc_tier=1, blocked=record).profile(), AT, 1, standing(), AT, Said(blocked=said))
        assert made.values["blocked"] is True


def test_every_fact_that_came_later_may_be_absent_and_is_null() -> None:
    assert fact_faults(GOOD) == []
    later = FACTS.keys() - GOOD.keys()
    assert len(later) == 12
    assert all(FACTS[name].nullable for name in later)
    assert fact_faults({name: value for name, value in GOOD.items() if name != "kyc_tier"}) == ["kyc_tier: not given"]


def test_a_decision_of_before_there_were_other_sources_replays_to_the_same_bytes() -> None:
    kept = json.loads(Path(__file__).with_name("decision_before_sources.json").read_bytes())
    inputs = msgspec.json.decode(kept["inputs"], type=DecisionInputs)
    assert canonical(inputs).decode() == kept["inputs"]
    assessment, decision = replay(compile_policy(shipped(kept["product"]), 1, inputs.policy_hash), inputs)
    assert (canonical(assessment).decode(), canonical(decision).decode()) == (kept["assessment"], kept["decision"])
    assert msgspec.json.decode(kept["assessment"], type=Assessment) == assessment


@pytest.mark.parametrize(
    ("born", "today", "years"),
    [
        (date(2000, 3, 2), date(2026, 3, 1), 25),
        (date(2000, 3, 2), date(2026, 3, 2), 26),
        (date(2004, 2, 29), date(2022, 2, 28), 17),
        (date(2004, 2, 29), date(2022, 3, 1), 18),
    ],
)
def test_age_is_in_completed_years(born: date, today: date, years: int) -> None:
    assert whole_years(born, today) == years


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("blocked", 1),
        ("kyc_tier", True),
        ("kyc_tier", None),
        ("employment", "astronaut"),
        ("monthly_income", "250000"),
        ("shoe_size", 43),
    ],
)
def test_a_value_of_another_type_is_named(name: str, value: object) -> None:
    faults = fact_faults(GOOD | {name: value})  # type: ignore[arg-type]
    assert len(faults) == 1
    assert faults[0].startswith(f"{name}: ")
