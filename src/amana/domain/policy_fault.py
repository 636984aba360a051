"""One thing wrong with a policy document."""

from collections.abc import Iterator, Sequence

import msgspec


class PolicyFault(msgspec.Struct, frozen=True):
    """One thing wrong with a policy: an RFC 6901 pointer into the document, a stable code, words for people."""

    pointer: str
    code: str
    detail: str


def repeated(pointer: str, name: str, values: Sequence[str | int]) -> Iterator[PolicyFault]:
    """A fault for each value that came before: `values` are those of the field `name`, item by item."""
    seen: set[str | int] = set()
    for at, value in enumerate(values):
        if value in seen:
            yield PolicyFault(f"{pointer}/{at}/{name}", "duplicate", f"{value} is used before.")
        seen.add(value)
