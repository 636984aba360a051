"""The routes of the audit service. A tenant sees its own events; hashes, checkpoints and keys tell
nothing of others.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from litestar import get
from litestar.datastructures import State
from litestar.params import Parameter, QueryParameter
from litestar.types import ControllerRouterHandler

from amana.audit.flow import InclusionProof, prove
from amana.audit.leaf import STREAMS
from amana.audit.store import Cursor, Filter, Rows, StoredCheckpoint, StoredEvent
from amana.audit.tree import consistency_proof
from amana.domain.reasons import Reason
from amana.gateway.caller import Caller
from amana.wire.audit import (
    AuditEventPage,
    AuditEventView,
    AuditKeys,
    CheckpointView,
    ConsistencyProofView,
    InclusionProofView,
    StreamKey,
    StreamStatus,
    StreamStatuses,
)
from amana.wire.common import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX
from amana.wire.problems import FieldError, Refused

StreamName = Literal["eligibility", "transactions"]
PageLimit = Annotated[int, Parameter(ge=1, le=PAGE_SIZE_MAX, description="Items per page.")]
EventType = Annotated[str | None, QueryParameter(name="type", pattern="^[A-Za-z]{1,64}$", description="Event type.")]
After = Annotated[str | None, Parameter(max_length=100, description="`next` of the page before.")]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BEGINNING = Cursor(datetime(1, 1, 1, tzinfo=UTC), "", -1)
_CURSOR = re.compile(r"(?P<us>-?[0-9]{1,17})\.(?P<stream>[a-z]{1,20})\.(?P<position>[0-9]{1,16})")


@get("/v1/audit/key", opt={"scope": "audit:read"}, tags=["Audit"])
async def get_key(state: State) -> AuditKeys:
    """The verifier key of each stream."""
    keys = state.verifier_keys
    return AuditKeys(keys=[StreamKey(stream=stream, verifier_key=str(keys[stream])) for stream in STREAMS])


@get("/v1/audit/checkpoints/latest", opt={"scope": "audit:read"}, tags=["Audit"])
async def get_latest_checkpoint(state: State, stream: StreamName) -> CheckpointView:
    """The newest signed checkpoint of a stream."""
    async with state.store.rows() as rows:
        newest = await _newest(rows, stream)
    return CheckpointView(
        stream=stream,
        size=newest.size,
        root=newest.root.hex(),
        note=newest.note,
        signed_at=newest.signed_at,
        verifier_key=str(state.verifier_keys[stream]),
    )


@get("/v1/audit/checkpoints/consistency", opt={"scope": "audit:read"}, tags=["Audit"])
async def get_consistency_proof(
    state: State, stream: StreamName, old_size: Annotated[int, Parameter(ge=0, le=2**53 - 1)]
) -> ConsistencyProofView:
    """Proof that the newest checkpoint's log begins with the log of `old_size` leaves that you saw signed before."""
    async with state.store.rows() as rows:
        newest = await _newest(rows, stream)
        if old_size > newest.size:
            detail = f"The log has {newest.size} leaves."
            raise Refused(Reason.VALIDATION, errors=[FieldError("?old_size", "out_of_range", detail)])
        hashes = await consistency_proof(rows, stream, old_size, newest.size)
    return ConsistencyProofView(
        stream=stream,
        old_size=old_size,
        new_size=newest.size,
        hashes=[part.hex() for part in hashes],
        checkpoint=newest.note,
        verifier_key=str(state.verifier_keys[stream]),
    )


@get("/v1/audit/events", opt={"scope": "audit:read"}, tags=["Audit"])
async def list_events(
    caller: Caller,
    state: State,
    customer: UUID | None = None,
    aggregate: UUID | None = None,
    event_type: EventType = None,
    after: After = None,
    limit: PageLimit = PAGE_SIZE_DEFAULT,
) -> AuditEventPage:
    """The tenant's events in order of time, of a customer, an aggregate (account, loan, decision) or a type."""
    wanted = Filter(aggregate=aggregate, customer=customer, type=event_type)
    async with state.store.rows() as rows:
        events = await rows.list_events(caller.tenant, wanted, _read_cursor(after), limit)
    return AuditEventPage(
        events=[_view(event) for event in events], next=_cursor(events[-1]) if len(events) == limit else None
    )


@get("/v1/audit/events/{event_id:uuid}", opt={"scope": "audit:read"}, tags=["Audit"])
async def get_event(caller: Caller, state: State, event_id: UUID) -> AuditEventView:
    """One event, and its place in the log."""
    async with state.store.rows() as rows:
        event = await rows.find_event(caller.tenant, event_id)
    if event is None:
        raise Refused(Reason.NOT_FOUND)
    return _view(event)


@get("/v1/audit/events/{event_id:uuid}/proof", opt={"scope": "audit:read"}, tags=["Audit"])
async def get_proof(caller: Caller, state: State, event_id: UUID) -> InclusionProofView:
    """Proof that an event is in the log, under the newest signed checkpoint."""
    match await prove(state.store, caller.tenant, event_id):
        case InclusionProof() as proof:
            return InclusionProofView(
                stream=proof.event.stream,
                position=proof.event.position,
                tree_size=proof.checkpoint.size,
                leaf_hash=proof.leaf_hash.hex(),
                hashes=[part.hex() for part in proof.hashes],
                checkpoint=proof.checkpoint.note,
                verifier_key=str(state.verifier_keys[proof.event.stream]),
            )
        case StoredEvent():
            raise Refused(Reason.NOT_SEALED)
        case None:
            raise Refused(Reason.NOT_FOUND)


@get("/v1/audit/streams", opt={"scope": "internal"}, tags=["Internal"])
async def list_streams(state: State) -> StreamStatuses:
    """How far each stream is received and sealed."""
    async with state.store.rows() as rows:
        return StreamStatuses(streams=[await _status(rows, stream) for stream in STREAMS])


ROUTES: Sequence[ControllerRouterHandler] = (
    get_key,
    get_latest_checkpoint,
    get_consistency_proof,
    list_events,
    get_event,
    get_proof,
    list_streams,
)


async def _newest(rows: Rows, stream: str) -> StoredCheckpoint:
    newest = await rows.newest_checkpoint(stream)
    if newest is None:
        raise Refused(Reason.NOT_FOUND, "Nothing of this stream was sealed yet.")
    return newest


async def _status(rows: Rows, stream: str) -> StreamStatus:
    newest = await rows.newest_checkpoint(stream)
    return StreamStatus(
        stream=stream,
        received=await rows.highest_position(stream),
        source_last=await rows.source_last(stream),
        sealed_size=newest.size if newest else 0,
        checkpoint=newest.note if newest else None,
    )


def _view(event: StoredEvent) -> AuditEventView:
    return AuditEventView(
        stream=event.stream,
        position=event.position,
        event_id=event.event_id,
        received_at=event.received_at,
        body=event.body.decode(),
    )


def _cursor(event: StoredEvent) -> str:
    return f"{(event.occurred_at - _EPOCH) // timedelta(microseconds=1)}.{event.stream}.{event.position}"


def _read_cursor(text: str | None) -> Cursor:
    if text is None:
        return _BEGINNING
    found = _CURSOR.fullmatch(text)
    try:
        if found:
            moment = _EPOCH + timedelta(microseconds=int(found["us"]))
            return Cursor(moment, found["stream"], int(found["position"]))
    except OverflowError:
        pass
    raise Refused(Reason.VALIDATION, errors=[FieldError("?after", "invalid", "Not the `next` of a page.")])
