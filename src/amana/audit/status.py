"""How each stream is: how far, whether whole, what was wrong in what came. For whoever runs the platform."""

from typing import Annotated, Literal

from litestar import get
from litestar.datastructures import State
from litestar.params import Parameter

from amana.audit import irregularities
from amana.audit.leaf import SOURCES
from amana.audit.store import Store
from amana.wire.audit import IrregularityList, IrregularityView, StreamStatus, StreamStatuses
from amana.wire.common import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX

SourceName = Literal["eligibility", "transactions", "notifications"]
LogName = Literal["eligibility", "transactions", "notifications", "accesses"]
PageLimit = Annotated[int, Parameter(ge=1, le=PAGE_SIZE_MAX, description="Items per page.")]


@get("/v1/audit/streams", opt={"scope": "internal"}, tags=["Internal"])
async def list_streams(state: State) -> StreamStatuses:
    """How far each stream is received, sealed and indexed, and whether anything is wrong."""
    async with state.index.rows() as rows:
        indexed = await rows.indexed_to(SOURCES)
    return StreamStatuses(streams=[await _status(state, stream, indexed[stream].size) for stream in SOURCES])


@get("/v1/audit/streams/{stream:str}/irregularities", opt={"scope": "internal"}, tags=["Internal"])
async def list_irregularities(
    state: State, stream: SourceName, limit: PageLimit = PAGE_SIZE_DEFAULT
) -> IrregularityList:
    """What was wrong in what came from a source, the last seen first."""
    kept = await irregularities.newest(state.store, stream, limit)
    return IrregularityList(stream=stream, irregularities=[IrregularityView(**each._asdict()) for each in kept])


async def _status(state: State, stream: str, indexed: int) -> StreamStatus:
    store: Store = state.store
    async with store.rows() as rows:
        newest = await rows.newest_checkpoint(stream)
        sealed = newest.size if newest else 0
        received, source_last = await rows.highest_position(stream), await rows.source_last(stream)
        first_missing = await rows.first_missing(stream, sealed)
        missing = await rows.missing(stream, sealed, max(received, source_last or -1, sealed - 1) + 1)
    return StreamStatus(
        stream=stream,
        received=received,
        source_last=source_last,
        first_missing=first_missing,
        missing=missing,
        sealed_size=sealed,
        indexed_size=indexed,
        checkpoint=newest.note if newest else None,
        refusing=state.refusals.get(stream),
        irregularities=await irregularities.count(store, stream),
    )
