"""What the strict parser meets in a body that no plain JSON value can stand for."""

from typing import Any


class Suspicious(Exception):
    """Raised inside the quick parse: something is odd, and the patient parse is to find where."""


class Odd:
    """Stands where a number was that is refused; `code` says why."""

    __slots__ = ("code",)

    def __init__(self, code: str) -> None:
        self.code = code


class RepeatedNames(dict[str, Any]):
    """An object in which a name came twice; `names` are those."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        seen: set[str] = set()
        self.names = [name for name, _ in pairs if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
