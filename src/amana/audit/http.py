"""The routes of the audit service. A tenant sees its own events; hashes, checkpoints and keys tell
nothing of others.
"""

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.datastructures import State
from litestar.params import Parameter, QueryParameter
from litestar.types import ControllerRouterHandler

from amana.audit.flow import InclusionProof, OutOfRange, prove
from amana.audit.keys import StreamKeys
from amana.audit.leaf import STREAMS
from amana.audit.status import PageLimit, StreamName, list_irregularities, list_streams
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
    ReplacedKey,
    StreamKey,
)
from amana.wire.common import PAGE_SIZE_DEFAULT
from amana.wire.problems import FieldError, Refused

LogSize = Annotated[int, Parameter(ge=0, le=2**53 - 1, description="Leaves.")]
EventType = Annotated[str | None, QueryParameter(name="type", pattern="^[A-Za-z]{1,64}$", description="Event type.")]
After = Annotated[str | None, Parameter(max_length=100, description="`next` of the page before.")]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BEGINNING = Cursor(datetime(1, 1, 1, tzinfo=UTC), "", -1)
_CURSOR = re.compile(r"(?P<us>-?[0-9]{1,17})\.(?P<stream>[a-z]{1,20})\.(?P<position>[0-9]{1,16})")


@get("/v1/audit/key", opt={"scope": "audit:read"}, tags=["Audit"])
async def get_key(state: State) -> AuditKeys:
    """The verifier keys of each stream, and how each key was replaced by the next."""
    found = [await asyncio.to_thread(state.custody.keys, stream) for stream in STREAMS]
    return AuditKeys(
        keys=[_stream_key(stream, keys) for stream, keys in zip(STREAMS, found, strict=True)],
        rotations=await asyncio.to_thread(state.custody.rotations),
    )


@get("/v1/audit/checkpoints/latest", opt={"scope": "audit:read"}, tags=["Audit"])
async def get_latest_checkpoint(state: State, stream: StreamName) -> CheckpointView:
    """The newest signed checkpoint of a stream."""
    async with state.store.rows() as rows:
        newest = await newest_checkpoint(rows, stream)
    return CheckpointView(
        stream=stream,
        size=newest.size,
        root=newest.root.hex(),
        note=newest.note,
        signed_at=newest.signed_at,
        verifier_key=_verifier_key(state, stream, newest.note),
    )


@get("/v1/audit/checkpoints/consistency", opt={"scope": "audit:read"}, tags=["Audit"])
async def get_consistency_proof(
    state: State, stream: StreamName, old_size: LogSize, new_size: LogSize | None = None
) -> ConsistencyProofView:
    """Proof that the log of `new_size` leaves, or else the newest checkpoint's, begins with that of `old_size` leaves.

    Check it against the roots of two checkpoints that you saw signed.
    """
    async with state.store.rows() as rows:
        newest = await newest_checkpoint(rows, stream)
        new = newest.size if new_size is None else new_size
        _require_at_most("?new_size", new, newest.size, f"The log has {newest.size} leaves.")
        _require_at_most("?old_size", old_size, new, f"The newer log has {new} leaves.")
        hashes = await consistency_proof(rows, stream, old_size, new)
    return ConsistencyProofView(
        stream=stream,
        old_size=old_size,
        new_size=new,
        hashes=[part.hex() for part in hashes],
        checkpoint=newest.note,
        verifier_key=_verifier_key(state, stream, newest.note),
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
async def get_proof(
    caller: Caller, state: State, event_id: UUID, tree_size: LogSize | None = None
) -> InclusionProofView:
    """Proof that an event is in the log of the newest checkpoint, or in that of its first `tree_size` leaves."""
    match await prove(state.store, caller.tenant, event_id, tree_size):
        case InclusionProof() as proof:
            return InclusionProofView(
                stream=proof.event.stream,
                position=proof.event.position,
                tree_size=proof.tree_size,
                leaf_hash=proof.leaf_hash.hex(),
                hashes=[part.hex() for part in proof.hashes],
                checkpoint=proof.checkpoint.note,
                verifier_key=_verifier_key(state, proof.event.stream, proof.checkpoint.note),
            )
        case OutOfRange(least, most):
            detail = f"The event is in logs of {least} to {most} leaves."
            raise Refused(Reason.VALIDATION, errors=[FieldError("?tree_size", "out_of_range", detail)])
        case StoredEvent():
            raise Refused(Reason.NOT_SEALED)
        case None:
            raise Refused(Reason.NOT_FOUND)


ROUTES: Sequence[ControllerRouterHandler] = (
    get_key,
    get_latest_checkpoint,
    get_consistency_proof,
    list_events,
    get_event,
    get_proof,
    list_streams,
    list_irregularities,
)


def _require_at_most(pointer: str, size: int, most: int, detail: str) -> None:
    if size > most:
        raise Refused(Reason.VALIDATION, errors=[FieldError(pointer, "out_of_range", detail)])


def _stream_key(stream: str, keys: StreamKeys) -> StreamKey:
    return StreamKey(
        stream=stream,
        verifier_key=str(keys.current),
        replaced=[ReplacedKey(verifier_key=str(key), signed_until=keys.until[key.public]) for key in keys.keys[:-1]],
    )


def _verifier_key(state: State, stream: str, note: str) -> str:
    """The key that signed a note of ours: not always the one in use."""
    return str(state.custody.keys(stream).key_of(note))


async def newest_checkpoint(rows: Rows, stream: str) -> StoredCheckpoint:
    """The newest checkpoint of a stream; refused as not found where there is none."""
    newest = await rows.newest_checkpoint(stream)
    if newest is None:
        raise Refused(Reason.NOT_FOUND, "Nothing of this stream was sealed yet.")
    return newest


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
