"""Requests and responses about blocks on customers."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta

from amana.wire.common import Code, Instant, Request, Response

BLOCKS_MAX = 100
"""Blocks in one answer: the newest."""

Words = Annotated[str, Meta(min_length=1, max_length=500, description="Why, in words for people; in no event.")]


class BlockRequest(Request):
    """A block to place: nothing is lent to the person while it is in force. Without `until`, until it is lifted."""

    id: UUID
    code: Code
    reason: Words
    until: Instant | None = None


class BlockLiftRequest(Request):
    """Lifts every block of the customer under the code."""

    id: UUID
    reason: Words


class BlockView(Response):
    """A block: who placed it, why and until when, who lifted it. `in_force` by the database's clock.

    `reason` and `lift_reason` are null once they are erased.
    """

    id: UUID
    customer: UUID
    code: str
    reason: str | None
    until: datetime | None
    placed_by: str
    placed_at: datetime
    lifted_by: str | None
    lifted_at: datetime | None
    lift_reason: str | None
    in_force: bool
    replayed: bool = False


class BlockList(Response):
    """A customer's newest blocks, lifted and expired ones too; the newest first."""

    blocks: list[BlockView]


class BlockLifted(Response):
    """The blocks that were lifted."""

    id: UUID
    code: str
    blocks: list[UUID]
    replayed: bool
