"""The routes of the audit service. A tenant sees its own events; hashes, checkpoints and keys tell
nothing of others. Every read is itself recorded (`accesses`).
"""

from collections.abc import Sequence
from typing import Annotated, Literal
from uuid import UUID

from litestar import get
from litestar.datastructures import State
from litestar.params import Parameter
from litestar.types import ControllerRouterHandler

from amana.audit import reports_http, search_http
from amana.audit.flow import InclusionProof, prove
from amana.audit.leaf import ACCESSES, LOGS, STREAMS
from amana.audit.store import Rows, StoredCheckpoint, StoredEvent
from amana.audit.tree import consistency_proof
from amana.audit.views import event_view, sealed_sizes
from amana.domain.reasons import Reason
from amana.gateway.caller import Caller
from amana.wire.audit import (
    AuditEventView,
    AuditKeys,
    CheckpointView,
    ConsistencyProofView,
    InclusionProofView,
    StreamKey,
    StreamStatus,
    StreamStatuses,
)
from amana.wire.problems import FieldError, Refused

StreamName = Literal["eligibility", "transactions", "accesses"]
READ = {"scope": "audit:read"}


@get("/v1/audit/key", opt=READ, tags=["Audit"])
async def get_key(caller: Caller, state: State) -> AuditKeys:
    """The verifier key of each stream."""
    keys = [StreamKey(stream=stream, verifier_key=str(state.verifier_keys[stream])) for stream in LOGS]
    await state.accesses.record(caller, "/v1/audit/key", {}, len(keys), at_once=False)
    return AuditKeys(keys=keys)


@get("/v1/audit/checkpoints/latest", opt=READ, tags=["Audit"])
async def get_latest_checkpoint(caller: Caller, state: State, stream: StreamName) -> CheckpointView:
    """The newest signed checkpoint of a stream."""
    async with state.store.rows() as rows:
        newest = await _newest(rows, stream)
    asked = {"stream": stream}
    await state.accesses.record(caller, "/v1/audit/checkpoints/latest", asked, 1, at_once=False)
    return CheckpointView(
        stream=stream,
        size=newest.size,
        root=newest.root.hex(),
        note=newest.note,
        signed_at=newest.signed_at,
        verifier_key=str(state.verifier_keys[stream]),
    )


@get("/v1/audit/checkpoints/consistency", opt=READ, tags=["Audit"])
async def get_consistency_proof(
    caller: Caller, state: State, stream: StreamName, old_size: Annotated[int, Parameter(ge=0, le=2**53 - 1)]
) -> ConsistencyProofView:
    """Proof that the newest checkpoint's log begins with the log of `old_size` leaves that you saw signed before."""
    async with state.store.rows() as rows:
        newest = await _newest(rows, stream)
        if old_size > newest.size:
            detail = f"The log has {newest.size} leaves."
            raise Refused(Reason.VALIDATION, errors=[FieldError("?old_size", "out_of_range", detail)])
        hashes = await consistency_proof(rows, stream, old_size, newest.size)
    asked = {"stream": stream, "old_size": old_size}
    await state.accesses.record(caller, "/v1/audit/checkpoints/consistency", asked, 1, at_once=False)
    return ConsistencyProofView(
        stream=stream,
        old_size=old_size,
        new_size=newest.size,
        hashes=[part.hex() for part in hashes],
        checkpoint=newest.note,
        verifier_key=str(state.verifier_keys[stream]),
    )


@get("/v1/audit/events/{event_id:uuid}", opt=READ, tags=["Audit"])
async def get_event(caller: Caller, state: State, event_id: UUID) -> AuditEventView:
    """One event, and its place in the log."""
    async with state.store.rows() as rows:
        event = _shown(caller, await rows.find_event(caller.tenant, event_id))
        sealed = await sealed_sizes(rows, (event.stream,))
    await state.accesses.record(caller, "/v1/audit/events/{id}", {"event": event_id}, 1, at_once=True)
    return event_view(event, sealed)


@get("/v1/audit/events/{event_id:uuid}/proof", opt=READ, tags=["Audit"])
async def get_proof(caller: Caller, state: State, event_id: UUID) -> InclusionProofView:
    """Proof that an event is in the log, under the newest signed checkpoint."""
    found = await prove(state.store, caller.tenant, event_id)
    event = _shown(caller, found.event if isinstance(found, InclusionProof) else found)
    if not isinstance(found, InclusionProof):
        raise Refused(Reason.NOT_SEALED)
    await state.accesses.record(caller, "/v1/audit/events/{id}/proof", {"event": event_id}, 1, at_once=True)
    return InclusionProofView(
        stream=event.stream,
        position=event.position,
        tree_size=found.checkpoint.size,
        leaf_hash=found.leaf_hash.hex(),
        hashes=[part.hex() for part in found.hashes],
        checkpoint=found.checkpoint.note,
        verifier_key=str(state.verifier_keys[event.stream]),
    )


@get("/v1/audit/streams", opt={"scope": "internal"}, tags=["Internal"])
async def list_streams(state: State) -> StreamStatuses:
    """How far each stream is received and sealed."""
    async with state.index.rows() as index_rows:
        indexed = await index_rows.indexed_to(STREAMS)
    async with state.store.rows() as rows:
        return StreamStatuses(streams=[await _status(rows, stream, indexed[stream].size) for stream in STREAMS])


ROUTES: Sequence[ControllerRouterHandler] = (
    get_key,
    get_latest_checkpoint,
    get_consistency_proof,
    get_event,
    get_proof,
    list_streams,
    *search_http.ROUTES,
    *reports_http.ROUTES,
)


def _shown(caller: Caller, event: StoredEvent | None) -> StoredEvent:
    """The event, if the caller may see it: who read what has a scope of its own."""
    if event is None or (event.stream == ACCESSES and not caller.may("audit:accesses")):
        raise Refused(Reason.NOT_FOUND)
    return event


async def _newest(rows: Rows, stream: str) -> StoredCheckpoint:
    newest = await rows.newest_checkpoint(stream)
    if newest is None:
        raise Refused(Reason.NOT_FOUND, "Nothing of this stream was sealed yet.")
    return newest


async def _status(rows: Rows, stream: str, indexed: int) -> StreamStatus:
    newest = await rows.newest_checkpoint(stream)
    return StreamStatus(
        stream=stream,
        received=await rows.highest_position(stream),
        source_last=await rows.source_last(stream),
        sealed_size=newest.size if newest else 0,
        indexed_size=indexed,
        checkpoint=newest.note if newest else None,
    )
