"""Ranges that follow one another, as an expression of generated source: bins, bands, caps, price steps."""

from collections.abc import Sequence
from typing import Protocol


class Range(Protocol):
    """From `from_` (included) to `to` (not included); None is without end."""

    @property
    def from_(self) -> int | None:
        """Where it begins."""

    @property
    def to(self) -> int | None:
        """Where it ends."""


def tree(ranges: Sequence[Range], leaves: Sequence[int], name: str) -> str:
    """An expression for the leaf of the range that the integer called `name` falls in. Ranges must be checked.

    A value before the first range gets the first leaf, one after the last range the last.
    """
    return edges_tree(edges_of(ranges), leaves, name)


def edges_of(ranges: Sequence[Range]) -> list[int]:
    """Where each range but the last ends."""
    return [item.to for item in ranges[:-1] if item.to is not None]


def edges_tree(edges: Sequence[int], leaves: Sequence[int], name: str) -> str:
    """The same, where leaf `i` ends before edge `i` and the next one begins there."""
    if all(leaf == leaves[0] for leaf in leaves):
        return str(leaves[0])
    middle = len(edges) // 2
    below = edges_tree(edges[:middle], leaves[: middle + 1], name)
    above = edges_tree(edges[middle + 1 :], leaves[middle + 1 :], name)
    return f"({below} if {name} < {edges[middle]} else {above})"
