"""The life of a policy version: drafted, approved by the owner of another key, live from an instant on, retired.

A draft that is kept has passed every check, so it is `validated`. Of the approved versions that started, the one that
did so last decides (of two in one instant the higher number), so nothing has to run at that moment. Two keys are needed
for every version that a client makes; what ships with Amana is published by the system.
"""

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from amana.domain.reasons import Reason

WITHDRAWAL_NOTICE = timedelta(seconds=5)
"""How long before its start a version can be withdrawn at the latest. A withdrawal's transaction ends sooner than that,
so that no check is decided under a version that was withdrawn."""
TICK = timedelta(microseconds=1)
"""The least time between two starts of a product that are not scheduled."""


class PolicyState(StrEnum):
    """Where a version is in its life. `retired`: it was live, and another one has started since."""

    VALIDATED = "validated"
    SCHEDULED = "scheduled"
    LIVE = "live"
    RETIRED = "retired"
    WITHDRAWN = "withdrawn"


class PolicyLife(msgspec.Struct, frozen=True, kw_only=True):
    """A version, who took which step of its life, and when. `restores` is the earlier version that it rolls back to."""

    product: str
    version: int
    hash: str
    restores: int | None
    drafted_by: str
    drafted_at: datetime
    approved_by: str | None = None
    approved_at: datetime | None = None
    valid_from: datetime | None = None
    withdrawn_by: str | None = None
    withdrawn_at: datetime | None = None


def state_of(life: PolicyLife, live: int | None, now: datetime) -> PolicyState:
    """Where a version is, when the version `live` decides."""
    if life.withdrawn_at is not None:
        return PolicyState.WITHDRAWN
    if life.valid_from is None:
        return PolicyState.VALIDATED
    if life.version == live:
        return PolicyState.LIVE
    return PolicyState.SCHEDULED if life.valid_from > now else PolicyState.RETIRED


def refuse_approval(life: PolicyLife, approver: str) -> Reason | None:
    """Why a version can't be approved by the key `approver`; the first that applies."""
    if life.withdrawn_at is not None:
        return Reason.POLICY_WITHDRAWN
    if life.approved_at is not None:
        return Reason.POLICY_APPROVED
    return Reason.APPROVER_IS_AUTHOR if approver == life.drafted_by else None


def refuse_withdrawal(life: PolicyLife, now: datetime) -> Reason | None:
    """Why a version can't be withdrawn; the first that applies."""
    if life.withdrawn_at is not None:
        return Reason.POLICY_WITHDRAWN
    started = life.valid_from is not None and life.valid_from <= now + WITHDRAWAL_NOTICE
    return Reason.POLICY_STARTED if started else None


def start_of(asked: datetime | None, now: datetime, last: datetime | None) -> datetime:
    """When a version starts that is approved `now`: at once, or at the future instant that was asked for.

    It never starts at or before the `last` start of the product, whatever the clock does.
    """
    start = now if asked is None else max(asked, now)
    return start if last is None else max(start, last + TICK)
