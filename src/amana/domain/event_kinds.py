"""What a declaration of an event type is made of: the kinds of its fields, and the row that says what it is.

The data of an event is a struct. A field that is null where nothing is known is `… | None`; one that is left out where
it is not set is `… | Absent`, with `ABSENT` as its default. Nothing else may be missing. The docstring says when the
event is written.
"""

import re
from typing import Annotated, Final, NamedTuple, TypeAlias
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from amana.domain.events import MAX_INTEGER

Absent: TypeAlias = UnsetType
ABSENT: Final = UNSET
Whole: TypeAlias = Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
"""A number of things or of minor units; never below 0."""
Digest: TypeAlias = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
"""SHA-256 in hexadecimal."""
Instant: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$",
        description="UTC with microseconds.",
        extra_json_schema={"format": "date-time"},
    ),
]
"""The one spelling of `events.utc_text`."""


class Data(Struct, frozen=True):
    """The data of an event. Declared fields only; readers pass over what they do not know."""


class DataRead(Data, frozen=True):
    """What a service records of a read of customers' data; see `gateway.read_log`."""

    route: str
    rows: Count
    customers: list[UUID]
    account: UUID | Absent = ABSENT
    decision_id: UUID | Absent = ABSENT
    loan: UUID | Absent = ABSENT
    transfer: UUID | Absent = ABSENT


class EventType(NamedTuple):
    """One version of a type of event: its stream, the kind of thing that it is about, and the shape of its data.

    Versions count from 1. What was published keeps its shape and its meaning for ever; see `event_types`.
    """

    name: str
    version: int
    stream: str
    aggregate: str
    data: type[Data]

    @property
    def title(self) -> str:
        """`DecisionMade.v1`."""
        return f"{self.name}.v{self.version}"

    @property
    def meaning(self) -> str:
        """When it is written and what is not plain from its fields: the docstring, on one line."""
        return re.sub(r"\s+", " ", self.data.__doc__ or "").strip()
