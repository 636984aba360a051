"""Requests and responses of notification requests: what a borrower is to be told, and what came of it."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from msgspec import Meta

from amana.wire.common import Code, Request, Response

CLAIM_MAX = 100
LEASE_S_MIN, LEASE_S_MAX = 5, 600


class NotificationState(StrEnum):
    """`waiting` for a sender, `claimed` by one; then for good `delivered`, `failed`, or `expired`: told to nobody."""

    WAITING = "waiting"
    CLAIMED = "claimed"
    DELIVERED = "delivered"
    FAILED = "failed"
    EXPIRED = "expired"


class NotificationView(Response):
    """One notification request. `text` is the wording's version `wording` with its `figures`; amounts in the figures
    are minor units. `about` is the loan or decision. `attempts` counts claims; `error` is the sender's last code."""

    id: UUID
    template: str
    wording: int
    text: str
    figures: dict[str, Any]
    customer: UUID
    about: UUID
    event_id: UUID
    occurred_at: datetime
    expires_at: datetime
    state: NotificationState
    attempts: int
    error: str | None
    settled_at: datetime | None


class NotificationPage(Response):
    """Requests in the order in which they were made. `next`, when there may be more, is the `after` of the next."""

    notifications: list[NotificationView]
    next: int | None


class ClaimRequest(Request):
    """Lease up to `limit` requests for `lease_s` seconds; one that is not reported by then is handed out again."""

    limit: Annotated[int, Meta(ge=1, le=CLAIM_MAX)] = CLAIM_MAX
    lease_s: Annotated[int, Meta(ge=LEASE_S_MIN, le=LEASE_S_MAX)] = 60


class Claimed(Response):
    """What was leased, and the `lease` that reports must name."""

    lease: UUID
    until: datetime | None
    notifications: list[NotificationView]


class DeliveryReport(Request):
    """What came of one request. `error` is a code; `final` says that trying again is useless."""

    id: UUID
    outcome: Literal["delivered", "failed"]
    error: Code | None = None
    final: bool = False


class ReportRequest(Request):
    """Reports of one claim."""

    lease: UUID
    reports: Annotated[list[DeliveryReport], Meta(min_length=1, max_length=CLAIM_MAX)]


class ReportResult(Response):
    """`ok`, or `refused` with a reason; `state` is where the request is now, null where it does not exist."""

    id: UUID
    status: Literal["ok", "refused"]
    reason: str | None
    state: NotificationState | None
    replayed: bool


class ReportResults(Response):
    """One result for each report, in order."""

    results: list[ReportResult]
