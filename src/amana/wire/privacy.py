"""Requests and responses about a customer's personal data as such: erasing it, and a copy of all of it."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from amana.domain.privacy import ErasureReason
from amana.wire.blocks import BlockView
from amana.wire.common import Request, Response
from amana.wire.customers import CustomerView
from amana.wire.reviews import ReviewedDecision


class ErasureRequest(Request):
    """Erase the customer. The reason is a code, because a free text could name the person."""

    id: UUID
    reason: ErasureReason


class ErasureView(Response):
    """How a request to erase stands.

    `restricted`: the data is kept and not used, and destroyed at `due_at` (null while something is owed, or while the
    ledger could not be asked). `erased`: nothing personal is left. A customer is erased once: another request for them
    is answered with the first one.

    `held`: a legal hold stands, and nothing is destroyed before it is released, `due_at` or not. It is null in a copy
    for the customer to read, who is not told of holds.
    """

    id: UUID
    customer: UUID
    reason: ErasureReason
    state: Literal["restricted", "erased"]
    requested_by: str
    requested_at: datetime
    due_at: datetime | None
    destroyed_at: datetime | None
    held: bool | None = None
    replayed: bool = False


class DecisionCopy(ReviewedDecision):
    """A decision about the customer, and the key that asked for it: it was told the answer."""

    asked_by: str


class SourceView(Response):
    """Where a part of what is known came from."""

    part: str
    source: str


class CustomerExport(Response):
    """All that eligibility knows of one customer, for them to read.

    Reasons are in the words of the policy that decided. `decisions` are a page, newest first: `next` names the one to
    go on before, null at the end. `disclosed_to` are the keys of the lender's programs that were told a decision of
    this page. What the ledger knows is asked of transactions.
    """

    customer: UUID
    exported_at: datetime
    record: CustomerView
    sources: list[SourceView]
    blocks: list[BlockView]
    erasure: ErasureView | None
    decisions: list[DecisionCopy]
    disclosed_to: list[str]
    next: UUID | None
