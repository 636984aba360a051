"""The events of the audit service, declared: who read the log, what retention dropped of it, what was pruned where
events come from. They are leaves of it and go to no broker."""

from enum import StrEnum
from uuid import UUID

from amana.domain.event_kinds import ABSENT, Absent, Count, Data, EventType, Instant


class AuditRead(Data, frozen=True):
    """Somebody read the audit log: by which route, what was asked for, and how much was shown; null where it was
    streamed. What was asked for by id stands beside `asked`."""

    route: str
    asked: dict[str, str]
    rows: Count | None
    customer: UUID | Absent = ABSENT
    account: UUID | Absent = ABSENT
    decision_id: UUID | Absent = ABSENT
    loan: UUID | Absent = ABSENT
    transfer: UUID | Absent = ABSENT
    hold: UUID | Absent = ABSENT


class BodiesDropped(Data, frozen=True):
    """Retention drops the bodies of leaves, of each stream those below a position: all of them are from before
    `kept_from`. Their hashes stay. Written, and sealed, before the first body goes."""

    below: dict[str, Count]
    kept_from: Instant


class OutboxPruned(Data, frozen=True):
    """The outboxes of services let go of their events, of each stream those below a position: all happened before
    `happened_before`, and the log has them under a checkpoint of as many leaves as `sealed` says. Written, and sealed,
    before the first of them goes."""

    below: dict[str, Count]
    sealed: dict[str, Count]
    happened_before: Instant


class RetireReason(StrEnum):
    """Why a consumer is gone for good: a code, as in every event."""

    SERVICE_REMOVED = "service_removed"
    CONSUMER_REPLACED = "consumer_replaced"
    STREAM_NOT_NEEDED = "stream_not_needed"


class ConsumerRetired(Data, frozen=True):
    """A consumer of a service that no longer takes a stream holds back no pruning of it any more: it has taken what was
    before `below`, of events up to position `last`, and takes none of the others. Written, and sealed, before its row
    goes."""

    service: str
    consumer: str
    consumed: str
    below: Count
    last: int
    reason: RetireReason


AUDIT_EVENTS = (
    EventType(AuditRead.__name__, 1, "accesses", "access", AuditRead),
    EventType(BodiesDropped.__name__, 1, "accesses", "retention", BodiesDropped),
    EventType(OutboxPruned.__name__, 1, "accesses", "retention", OutboxPruned),
    EventType(ConsumerRetired.__name__, 1, "accesses", "retention", ConsumerRetired),
)
