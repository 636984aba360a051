"""Points: one bin of each attribute, summed; what was lost makes the factors that a customer is told."""

from collections.abc import Sequence

from amana.domain.policy import Attribute

FACTORS_MAX = 4
"""How many scorecard factors a customer is told: the usual number of key factors in adverse-action notices."""

RANKS_MAX = 64
"""More than a scorecard has attributes: what an attribute lost and its place by id fit in one integer."""


def best_points(attribute: Attribute) -> int:
    """The most points that any known value earns."""
    return max(item.points for item in attribute.bins)


def ranked(attributes: Sequence[Attribute]) -> list[Attribute]:
    """The attributes by id: where two lost the same, the first is told first. A place in this list is a rank."""
    return sorted(attributes, key=lambda item: item.id)


def told_factors(lost: list[int], reasons: Sequence[str]) -> tuple[str, ...]:
    """Reasons of the attributes that lost most, at most four; ties go by id.

    `lost` has (points - best) * `RANKS_MAX` + rank of every attribute that lost points, and is sorted here; `reasons`
    are by rank.
    """
    lost.sort()
    return tuple([reasons[item % RANKS_MAX] for item in lost[:FACTORS_MAX]])
