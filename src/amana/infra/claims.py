"""What batches in flight claim: two that yield to each other never claim the same thing."""

from collections.abc import Callable, Collection, Hashable

from amana.infra.elsewhere import Elsewhere


class Claimed:
    """What one batch in flight claims, and who waits for its end."""

    def __init__(self) -> None:
        self.keys: set[Hashable] = set()
        self.aside: list[Callable[[], None]] = []


class Board:
    """The claims of all batches in flight; `elsewhere` has what others have locked."""

    def __init__(self, elsewhere: Elsewhere | None = None) -> None:
        self.elsewhere = Elsewhere() if elsewhere is None else elsewhere
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
