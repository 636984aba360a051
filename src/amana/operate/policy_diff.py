"""What differs between two policy documents, by pointer. Parts with an id are matched by it, wherever they stand."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import msgspec

Tree: TypeAlias = Any
"""A parsed JSON value."""


def differences(before: Tree, after: Tree, pointer: str = "") -> Iterator[str]:
    """A line for each value that came (`+`), went (`-`) or changed (`~`), in the order of the first document.

    In a pointer a rule, attribute or band stands by its id, so these are for people and not RFC 6901.
    """
    old, new = _named(before), _named(after)
    if old is None or new is None:
        if before != after:
            yield f"~ {pointer}  {_text(before)} -> {_text(after)}"
        return
    for name, value in old.items():
        if name not in new:
            yield f"- {pointer}/{name}  {_text(value)}"
        else:
            yield from differences(value, new[name], f"{pointer}/{name}")
    for name, value in new.items():
        if name not in old:
            yield f"+ {pointer}/{name}  {_text(value)}"


def _named(value: Tree) -> dict[str, Tree] | None:
    """The parts of a value by name: members, items with an id, else items by their place. None where it has none."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, list):
        return None
    return {str(item.get("id", at)) if isinstance(item, dict) else str(at): item for at, item in enumerate(value)}


def _text(value: Tree) -> str:
    return msgspec.json.encode(value).decode()
