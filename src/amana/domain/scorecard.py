"""Points: one bin of each attribute, summed; the sum falls in a band. Compiled once per policy to plain look-ups."""

from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from amana.domain.facts import FACTS, FactValue, Kind
from amana.domain.policy import Attribute, Band, Scorecard

FACTORS_MAX = 4
"""How many scorecard factors a customer is told: the usual number of key factors in adverse-action notices."""

PointsOf: TypeAlias = Callable[[FactValue], int]


@dataclass(frozen=True, slots=True)
class CompiledAttribute:
    """An attribute ready to score: `best` is the most points that any known value earns."""

    id: str
    fact: str
    reason: str
    best: int
    points_of: PointsOf


@dataclass(frozen=True, slots=True)
class CompiledScorecard:
    """A scorecard ready to score. `band_of` gives the band of a score."""

    base: int
    attributes: tuple[CompiledAttribute, ...]
    band_of: Callable[[int], Band]

    def points(self, values: Mapping[str, FactValue]) -> dict[str, int]:
        """The points of every attribute, by its id, in the order of the policy."""
        return {item.id: item.points_of(values[item.fact]) for item in self.attributes}

    def factors(self, points: Mapping[str, int]) -> tuple[str, ...]:
        """Reasons of the attributes that lost most, at most four; ties go by id; never one that lost nothing."""
        lost = [(points[item.id] - item.best, item.id, item.reason) for item in self.attributes]
        return tuple(reason for less, _, reason in sorted(lost) if less < 0)[:FACTORS_MAX]


def compile_scorecard(card: Scorecard) -> CompiledScorecard:
    """A checked scorecard as look-ups. The bins and bands must have passed `check_policy`."""
    edges = tuple(band.to for band in card.bands if band.to is not None)
    bands = card.bands

    def band_of(score: int) -> Band:
        return bands[bisect_right(edges, score)]

    return CompiledScorecard(card.base, tuple(_compile(item) for item in card.attributes), band_of)


def _compile(attribute: Attribute) -> CompiledAttribute:
    numeric = FACTS[attribute.fact].kind is Kind.INTEGER
    return CompiledAttribute(
        id=attribute.id,
        fact=attribute.fact,
        reason=attribute.reason,
        best=max(item.points for item in attribute.bins),
        points_of=_by_range(attribute) if numeric else _by_value(attribute),
    )


def _by_range(attribute: Attribute) -> PointsOf:
    edges = tuple(item.to for item in attribute.bins if item.to is not None)
    points = tuple(item.points for item in attribute.bins)
    missing = attribute.missing

    def points_of(value: FactValue) -> int:
        if value is None:
            return missing
        assert isinstance(value, int)
        return points[bisect_right(edges, value)]

    return points_of


def _by_value(attribute: Attribute) -> PointsOf:
    points: dict[FactValue, int] = {value: item.points for item in attribute.bins for value in item.values}
    points[None] = attribute.missing
    return points.__getitem__
