"""Requests and responses about legal holds on customers."""

from datetime import datetime
from typing import Annotated, TypeAlias
from uuid import UUID

from msgspec import Meta

from amana.domain.privacy import HoldReason, ReleaseReason
from amana.wire.common import END, Request, Response

Person: TypeAlias = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        pattern=rf"^[A-Za-z0-9._-]+{END}",
        description="Who has it done, as they are known to the lender. It stands in the log: no name of a customer.",
    ),
]


HELD_PAGE_MAX = 1_000


class LegalHoldRequest(Request):
    """Keep the customer from being erased. The reason is a code, because a free text could name the person: note `id`
    in the file of the matter."""

    id: UUID
    reason: HoldReason
    by: Person


class LegalHoldRelease(Request):
    """The hold stands no longer."""

    reason: ReleaseReason
    by: Person


class LegalHoldView(Response):
    """A legal hold. What is of its release is null while it stands.

    `placed_by` and `released_by` are the keys' ids, `placed_for` and `released_for` who had it done.
    """

    id: UUID
    customer: UUID
    reason: HoldReason
    placed_by: str
    placed_for: str
    placed_at: datetime
    release_reason: ReleaseReason | None
    released_by: str | None
    released_for: str | None
    released_at: datetime | None
    replayed: bool = False


class LegalHoldPage(Response):
    """Legal holds in the order of their ids; `next` is the cursor of the next page, null at the end."""

    legal_holds: list[LegalHoldView]
    next: UUID | None


class HeldCustomer(Response):
    """A customer whom a legal hold keeps."""

    tenant: int
    customer: UUID


class HeldPage(Response):
    """Held customers in order of tenant and id; a page that is not full is the last."""

    held: list[HeldCustomer]
