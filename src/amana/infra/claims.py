"""What batches in flight claim: two that yield to each other never claim the same thing."""

from collections.abc import Callable, Collection, Hashable


class Claimed:
    """What one batch in flight claims, and who waits for its end."""

    def __init__(self) -> None:
        self.keys: set[Hashable] = set()
        self.aside: list[Callable[[], None]] = []


class Board:
    """The claims of all batches in flight."""

    def __init__(self) -> None:
        self._in_flight: list[Claimed] = []

    def find(self, keys: Collection[Hashable]) -> Claimed | None:
        """A batch that has claimed any of `keys`."""
        for claimed in self._in_flight:
            if not claimed.keys.isdisjoint(keys):
                return claimed
        return None

    def add(self, claimed: Claimed) -> None:
        """A batch begins."""
        self._in_flight.append(claimed)

    def remove(self, claimed: Claimed) -> None:
        """It ended: whoever waited for it goes first, in order."""
        self._in_flight.remove(claimed)
        for put_back in reversed(claimed.aside):
            put_back()
