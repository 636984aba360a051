"""Points, bands and the factors that a customer is told."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.policy_model import NOW, compiled, facts, shipped

from amana.domain.decision import Assessment, assess
from amana.domain.facts import FactValue
from amana.domain.policy import Attribute, Band, Bin, Outcome, Scorecard
from amana.domain.scorecard import FACTORS_MAX, best_points


def attribute(id_: str, fact: str, *points: tuple[int | None, int], missing: int = 0) -> Attribute:
    """An attribute from (to, points) pairs; each bin begins where the one before it ends."""
    starts = [None, *[to for to, _ in points]]
    bins = tuple(Bin(from_=start, to=to, points=worth) for start, (to, worth) in zip(starts, points, strict=False))
    return Attribute(id=id_, fact=fact, reason=f"reason_{id_}", missing=missing, bins=bins)


def card(*attributes: Attribute, base: int = 100) -> Scorecard:
    bands = (
        Band(id="low", to=110, cap=0, outcome=Outcome.DECLINE, reason="low"),
        Band(id="middle", from_=110, to=150, cap=10, outcome=Outcome.REFER, reason="middle"),
        Band(id="high", from_=150, cap=20, outcome=Outcome.APPROVE),
    )
    return Scorecard(base=base, attributes=attributes, bands=bands)


def scored(card: Scorecard, **changes: FactValue) -> Assessment:
    """A customer without a flaw but for `changes`, under a policy with this scorecard."""
    return assess(compiled(msgspec.structs.replace(shipped("nano"), scorecard=card)), facts(changes), NOW)


def test_a_bin_begins_at_its_start_and_ends_before_its_end() -> None:
    loans_card = card(attribute("loans", "loans_closed", (1, 0), (3, 10), (None, 25)))
    table = """
        loans | points
            0 | 0
            1 | 10
            2 | 10
            3 | 25
          900 | 25
    """
    for line in table.strip().splitlines()[1:]:
        loans, points = map(int, line.split("|"))
        assert scored(loans_card, loans_closed=loans).points == {"loans": points}


def test_an_unknown_fact_gets_the_points_of_missing() -> None:
    age_card = card(attribute("age", "age_years", (25, 5), (None, 15), missing=-7))
    assert scored(age_card, age_years=None).points == {"age": -7}


def test_a_score_falls_in_the_band_that_begins_at_or_below_it() -> None:
    nothing = attribute("loans", "loans_closed", (None, 0))
    assert [scored(card(nothing, base=score)).band for score in (-5, 109, 110, 149, 150, 10_000)] == [
        "low", "low", "middle", "middle", "high", "high",
    ]  # fmt: skip


def test_factors_come_by_points_lost_and_ties_by_attribute_id() -> None:
    attributes = [
        attribute("d", "loans_closed", (None, 10)),  # loses nothing below
        attribute("c", "loans_total", (50, 0), (None, 20)),
        attribute("b", "repaid_total", (50, 0), (None, 20)),
        attribute("a", "kyc_tier", (50, 0), (None, 5)),
    ]
    made = scored(card(*attributes), loans_total=1, repaid_total=1)
    assert made.factors == ("reason_b", "reason_c", "reason_a")


@given(st.lists(st.integers(-40, 40), min_size=1, max_size=9))
def test_a_factor_that_lost_nothing_is_never_a_reason(worth: list[int]) -> None:
    attributes = [
        attribute(f"a{at}", "loans_closed", (1, points), (None, 20 if at % 2 else points))
        for at, points in enumerate(worth)
    ]
    made = scored(card(*attributes), loans_closed=0)
    told = made.factors
    losses: dict[str, Any] = {item.reason: best_points(item) - made.points[item.id] for item in attributes}
    assert len(told) == min(FACTORS_MAX, sum(loss > 0 for loss in losses.values()))
    assert all(losses[reason] > 0 for reason in told)
    assert [losses[reason] for reason in told] == sorted((losses[reason] for reason in told), reverse=True)
    untold = [loss for reason, loss in losses.items() if reason not in told]
    assert not told or max(untold, default=0) <= losses[told[-1]]
