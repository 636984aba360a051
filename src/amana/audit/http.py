"""The routes of the audit service. A tenant sees its own events; hashes, checkpoints and keys tell
nothing of others. Every read is itself recorded (`accesses`).
"""

import asyncio
from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from litestar import get
from litestar.datastructures import State
from litestar.params import Parameter
from litestar.types import ControllerRouterHandler

from amana.audit import reports_http, search_http
from amana.audit.flow import InclusionProof, OutOfRange, prove
from amana.audit.keys import StreamKeys
from amana.audit.leaf import LOGS
from amana.audit.search_http import MAY_SEE_READS
from amana.audit.status import LogName, list_irregularities, list_streams
from amana.audit.store import Rows, StoredCheckpoint, StoredEvent
from amana.audit.subjects import READS, read_indexed
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
    ReplacedKey,
    StreamKey,
)
from amana.wire.problems import FieldError, Refused

READ = {"scope": "audit:read"}
LogSize = Annotated[int, Parameter(ge=0, le=2**53 - 1, description="Leaves.")]


@get("/v1/audit/key", opt=READ, tags=["Audit"])
async def get_key(caller: Caller, state: State) -> AuditKeys:
    """The verifier keys of each stream, and how each key was replaced by the next."""
    found = [await asyncio.to_thread(state.custody.keys, stream) for stream in LOGS]
    rotations = await asyncio.to_thread(state.custody.rotations)
    await state.accesses.record(caller, "/v1/audit/key", {}, len(found), at_once=False)
    return AuditKeys(
        keys=[_stream_key(stream, keys) for stream, keys in zip(LOGS, found, strict=True)], rotations=rotations
    )


@get("/v1/audit/checkpoints/latest", opt=READ, tags=["Audit"])
async def get_latest_checkpoint(caller: Caller, state: State, stream: LogName) -> CheckpointView:
    """The newest signed checkpoint of a stream."""
    async with state.store.rows() as rows:
        newest = await newest_checkpoint(rows, stream)
    cosigned = await asyncio.to_thread(state.custody.cosigned, stream)
    asked = {"stream": stream}
    await state.accesses.record(caller, "/v1/audit/checkpoints/latest", asked, 1, at_once=False)
    return CheckpointView(
        stream=stream,
        size=newest.size,
        root=newest.root.hex(),
        note=newest.note,
        signed_at=newest.signed_at,
        verifier_key=_verifier_key(state, stream, newest.note),
        cosigned=cosigned,
    )


@get("/v1/audit/checkpoints/consistency", opt=READ, tags=["Audit"])
async def get_consistency_proof(
    caller: Caller, state: State, stream: LogName, old_size: LogSize, new_size: LogSize | None = None
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
    asked = {"stream": stream, "old_size": old_size, "new_size": new_size}
    await state.accesses.record(caller, "/v1/audit/checkpoints/consistency", asked, 1, at_once=False)
    return ConsistencyProofView(
        stream=stream,
        old_size=old_size,
        new_size=new,
        hashes=[part.hex() for part in hashes],
        checkpoint=newest.note,
        verifier_key=_verifier_key(state, stream, newest.note),
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
async def get_proof(
    caller: Caller, state: State, event_id: UUID, tree_size: LogSize | None = None
) -> InclusionProofView:
    """Proof that an event is in the log of the newest checkpoint, or in that of its first `tree_size` leaves."""
    proof = _proof(caller, await prove(state.store, caller.tenant, event_id, tree_size))
    asked = {"event": event_id, "tree_size": tree_size}
    await state.accesses.record(caller, "/v1/audit/events/{id}/proof", asked, 1, at_once=True)
    return InclusionProofView(
        stream=proof.event.stream,
        position=proof.event.position,
        tree_size=proof.tree_size,
        leaf_hash=proof.leaf_hash.hex(),
        hashes=[part.hex() for part in proof.hashes],
        checkpoint=proof.checkpoint.note,
        verifier_key=_verifier_key(state, proof.event.stream, proof.checkpoint.note),
    )


ROUTES: Sequence[ControllerRouterHandler] = (
    get_key,
    get_latest_checkpoint,
    get_consistency_proof,
    get_event,
    get_proof,
    list_streams,
    list_irregularities,
    *search_http.ROUTES,
    *reports_http.ROUTES,
)


def _shown(caller: Caller, event: StoredEvent | None) -> StoredEvent:
    """The event, if the caller may see it: who read what has a scope of its own."""
    if event is None:
        raise Refused(Reason.NOT_FOUND)
    if not caller.may(MAY_SEE_READS) and not READS.isdisjoint(read_indexed(event.body).subjects):
        raise Refused(Reason.NOT_FOUND)
    return event


def _proof(caller: Caller, found: InclusionProof | OutOfRange | StoredEvent | None) -> InclusionProof:
    """The proof, if there is one of an event that the caller may see."""
    _shown(caller, found.event if isinstance(found, InclusionProof | OutOfRange) else found)
    match found:
        case InclusionProof():
            return found
        case OutOfRange(_, least, most):
            detail = f"The event is in logs of {least} to {most} leaves."
            raise Refused(Reason.VALIDATION, errors=[FieldError("?tree_size", "out_of_range", detail)])
    raise Refused(Reason.NOT_SEALED)


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
