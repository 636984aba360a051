"""What policies are measured on: a policy of twenty rules and eight attributes, and customers drawn from a seed."""

from importlib.resources import files
from random import Random
from typing import Any

import msgspec
import polars as pl

from amana.bench.movements import seeded
from amana.domain.facts import FACTS, FactValue
from amana.domain.policy import Policy
from amana.domain.policy_checks import check_policy
from amana.domain.record import Employment

RULES, ATTRIBUTES = 20, 8
UNKNOWN = 0.1
"""The share of customers of whom a fact that may be unknown is."""

_MORE = (
    ("many_loans", "loans_total", "gt", 60),
    ("high_income", "monthly_income", "gt", 58_000_000),
    ("owes_much", "exposure", "gt", 5_500_000),
    ("repaid_much", "repaid_total", "gt", 90_000_000),
    ("first_loan_just_now", "days_since_first_loan", "lt", 3),
    ("long_away", "days_since_last_closed", "gt", 480),
    ("senior", "age_years", "gt", 70),
    ("large_loans", "largest_principal_repaid", "gt", 5_900_000),
    ("many_closed", "loans_closed", "gt", 50),
    ("no_bank", "bank_known", "eq", False),
    ("student", "employment", "in", ("student",)),
    ("two_loans", "loans_open", "ge", 2),
)
"""Rules beside those of the nano policy: (id, fact, comparison, value). All refer, and pass over the unknown."""


def benched_policy() -> Policy:
    """The nano policy that ships with Amana, with twelve more rules."""
    plain: dict[str, Any] = msgspec.json.decode(files("amana").joinpath("policies", "nano.json").read_bytes())
    for at, (id_, fact, op, value) in enumerate(_MORE):
        rule = {"id": id_, "fact": fact, "op": op, "value": value, "reason": id_, "precedence": 100 + at}
        plain["rules"].append(rule | {"outcome": "refer", "on_missing": "skip"})
        plain["reasons"][id_] = "A person will look at your request."
    policy = msgspec.convert(plain, Policy)
    assert not check_policy(policy), "the policy of the bench may be published"
    assert (len(policy.rules), len(policy.scorecard.attributes)) == (RULES, ATTRIBUTES)
    return policy


def population(seed: int, rows: int, term_days: list[int | None]) -> pl.DataFrame:
    """`rows` customers: every declared fact, `amount`, and `term_days`, one of those given."""
    random = seeded(seed)
    kinds: dict[str, list[Any]] = {name: [] for name in (*FACTS, "amount", "term_days")}
    for _ in range(rows):
        for name, value in _customer(random).items():
            kinds[name].append(value)
        kinds["amount"].append(random.randint(3, 40) * 100_000)
        kinds["term_days"].append(random.choice(term_days))
    return pl.DataFrame(kinds, schema_overrides={"term_days": pl.Int64})


def _customer(random: Random) -> dict[str, FactValue]:
    """Facts of somebody: most have repaid a few loans well. What no rule of the bench reads is unknown."""
    closed = min(80, int(random.expovariate(1 / 6)))
    late = 0 if random.random() < 0.7 else min(90, int(random.expovariate(1 / 8)))
    largest = random.randint(3, 60) * 100_000 if closed else 0
    is_open = random.random() < 0.08
    drawn: dict[str, FactValue] = {
        "kyc_tier": random.choice((1, 2, 2, 3)),
        "age_years": random.randint(17, 72),
        "employment": str(random.choice(list(Employment))),
        "monthly_income": random.randint(2_000_000, 60_000_000),
        "bank_known": random.random() < 0.9,
        "blocked": random.random() < 0.01,
        "exposure": random.randint(0, 5_800_000) if is_open else 0,
        "loans_total": closed + is_open,
        "loans_open": int(is_open) + (random.random() < 0.01),
        "loans_closed": closed,
        "worst_days_past_due": late,
        "current_days_past_due": late if random.random() < 0.1 else 0,
        "largest_principal_repaid": largest,
        "repaid_total": largest * closed // 2,
        "days_since_first_loan": random.randint(1, 900) if closed else None,
        "days_since_last_closed": random.randint(0, 500) if closed else None,
    }
    unknown = {name for name, spec in FACTS.items() if spec.nullable and random.random() < UNKNOWN}
    return {name: None if name in unknown else drawn.get(name) for name in FACTS}
