"""Arrays as PostgreSQL's text literals: `$1::text::uuid[]` in the statement, `uuids(ids)` for the parameter.

asyncpg's own array codec asks of every element whether it is itself an array: about 0.7 us for an id and 0.4 us for an
integer, against 0.3 and 0.05 us here. A batch passes thirty of them for every transfer, and twenty for every decision.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID


def integers(values: Sequence[int | None]) -> str:
    """A literal of `smallint[]`, `integer[]` or `bigint[]`."""
    # A list as Python writes it is how PostgreSQL reads an array but for what is absent.
    return "{" + str([*values])[1:-1].replace("None", "NULL") + "}"


def same_integers(value: int, count: int) -> str:
    """`integers` of one value so many times."""
    return "{" + ",".join([str(value)] * count) + "}"


def uuids(values: Iterable[UUID | None]) -> str:
    """A literal of `uuid[]`."""
    return "{" + ",".join(["NULL" if value is None else value.hex for value in values]) + "}"


def texts(values: Sequence[str]) -> str:
    """A literal of `text[]`."""
    whole = "".join(values)
    if '"' in whole or "\\" in whole:
        values = [value.replace("\\", "\\\\").replace('"', '\\"') for value in values]
    return '{"' + '","'.join(values) + '"}' if values else "{}"


def booleans(values: Iterable[bool]) -> str:
    """A literal of `boolean[]`."""
    return "{" + ",".join(["t" if value else "f" for value in values]) + "}"


def instants(values: Iterable[datetime | None]) -> str:
    """A literal of `timestamptz[]`; each says its own offset from UTC."""
    return "{" + ",".join(["NULL" if value is None else f'"{value.isoformat()}"' for value in values]) + "}"
