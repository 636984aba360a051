"""What a sender does: claim, report. Each is one transaction; nothing here calls anybody.

A claim leases requests under an id of its own, and shows the sender what is leased: that it did is an event, in the
same transaction. A report names that id: one whose lease ran over and was given to
another sender since is refused as `lease_lost`, so that two senders never settle the same request. Sent again, a report
finds what it did.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from amana.domain.ids import uuid7
from amana.domain.reasons import Reason
from amana.gateway.caller import Caller
from amana.gateway.read_log import Read, read_rows
from amana.infra import clock
from amana.infra.outbox import append
from amana.infra.postgres import Connection, Pool, in_transaction
from amana.notifications import store
from amana.notifications.store import ATTEMPTS_MAX, Standing
from amana.wire.notifications import DeliveryReport, NotificationState, NotificationView, ReportResult

RETRY_FIRST_S = 30.0
"""After the first failure; doubled for each further one."""


READ_TYPE = "NotificationsRead"
CLAIM_ROUTE = "/v1/notifications:claim"


async def claim(
    pool: Pool, caller: Caller, limit: int, lease_s: int
) -> tuple[UUID, datetime | None, list[NotificationView]]:
    """Leases what is due: the lease, its end, the requests. Raises `DatabaseUnavailable`."""

    async def work(connection: Connection) -> tuple[UUID, datetime | None, list[NotificationView]]:
        lease = uuid7(clock.unix_ms(), clock.random_74_bits())
        found, until = await store.claim(connection, caller.tenant, lease, limit, lease_s)
        if found:
            await append(connection, list(read_rows(READ_TYPE, _shown(caller, found))))
        return lease, until, found

    return await in_transaction(pool, work)


def _shown(caller: Caller, found: Sequence[NotificationView]) -> Read:
    data = {"route": CLAIM_ROUTE, "rows": len(found)}
    return Read(caller, clock.now(), data, sorted({str(view.customer) for view in found}))


async def report(pool: Pool, tenant: int, lease: UUID, reports: Sequence[DeliveryReport]) -> list[ReportResult]:
    """Records reports, in order. Raises `DatabaseUnavailable`."""

    async def work(connection: Connection) -> list[ReportResult]:
        standing = await store.lock(connection, tenant, [one.id for one in reports])
        results = []
        for one in reports:
            results.append(await _record(connection, tenant, lease, one, standing.get(one.id)))
            if results[-1].state is not None and not results[-1].replayed and results[-1].status == "ok":
                standing[one.id] = standing[one.id]._replace(state=results[-1].state, error=one.error)
        return results

    return await in_transaction(pool, work)


async def _record(
    connection: Connection, tenant: int, lease: UUID, one: DeliveryReport, stands: Standing | None
) -> ReportResult:
    if stands is None:
        return _result(one, None, refused=Reason.NOT_FOUND)
    if stands.lease != lease:
        return _result(one, stands.state, refused=Reason.LEASE_LOST)
    if stands.state is not NotificationState.CLAIMED:
        same = _leads_to(one, stands) is stands.state
        return _result(one, stands.state, refused=None if same else Reason.LEASE_LOST, replayed=same)
    state = _leads_to(one, stands)
    if state is NotificationState.WAITING:
        pause_s = RETRY_FIRST_S * 2 ** (stands.attempts - 1)
        await store.put_back(connection, tenant, one.id, one.error, pause_s)
    else:
        await store.settle(connection, tenant, one.id, state, one.error)
    return _result(one, state)


def _leads_to(one: DeliveryReport, stands: Standing) -> NotificationState:
    if one.outcome == "delivered":
        return NotificationState.DELIVERED
    last = one.final or stands.attempts >= ATTEMPTS_MAX
    return NotificationState.FAILED if last else NotificationState.WAITING


def _result(
    one: DeliveryReport, state: NotificationState | None, refused: Reason | None = None, *, replayed: bool = False
) -> ReportResult:
    return ReportResult(
        id=one.id, status="ok" if refused is None else "refused", reason=refused, state=state, replayed=replayed
    )
