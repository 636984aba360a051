"""What audit does with what it gets: store events, once; show them; prove them.

`receive` costs two round trips when everything is new, three when something was there already, in one transaction.
`prove` costs four: the event, the newest checkpoint, nodes, leaf hashes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from amana.audit.leaf import Leaf, Malformed, read_leaf
from amana.audit.merkle import leaf_hash
from amana.audit.store import Store, StoredCheckpoint, StoredEvent
from amana.audit.tree import inclusion_proof

RECEIVE_MAX = 1_000
"""Events stored in one transaction."""


@dataclass(frozen=True, slots=True)
class Received:
    """What became of a batch. `conflicts` are positions that hold other bytes than came now: kept as they were.

    `doubled` are (position, where else) of events that have two places in their stream; both are kept.
    `malformed` are (position, what is wrong) of what is no event; it is not stored, so its position stays a gap.
    """

    stored: int
    duplicates: int
    conflicts: tuple[int, ...] = ()
    doubled: tuple[tuple[int, str], ...] = ()
    malformed: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """That `event` is leaf `event.position` of the log's first `tree_size` leaves. Hashes are 32 bytes each.

    `checkpoint` is the newest one: it signs that log, or one that begins with it.
    """

    event: StoredEvent
    leaf_hash: bytes
    hashes: list[bytes]
    tree_size: int
    checkpoint: StoredCheckpoint


class OutOfRange(NamedTuple):
    """The size asked for: `event` is in logs of `least` to `most` leaves."""

    event: StoredEvent
    least: int
    most: int


async def receive(store: Store, stream: str, events: Sequence[tuple[int, bytes]]) -> Received:
    """Stores (position, bytes) of one stream, in any order and any number of times. Raises `DatabaseUnavailable`."""
    assert len(events) <= RECEIVE_MAX, f"{len(events)} events in one batch"
    leaves, malformed = _read(events)
    if not leaves:
        return Received(0, 0, malformed=tuple(malformed))
    async with store.transaction() as rows:
        stored = await rows.add_leaves(stream, leaves)
        # A batch may itself hold a position twice, so compare unless each of its leaves was stored.
        conflicts = await rows.differing(stream, leaves) if len(stored) < len(leaves) else []
        new = [leaf for leaf in leaves if leaf.position in stored]
        doubled = await rows.elsewhere(stream, new) if new else []
    if stored:
        store.arrivals.ring(stream)
    duplicates = len(leaves) - len(stored) - len(conflicts)
    return Received(len(stored), duplicates, tuple(conflicts), tuple(doubled), tuple(malformed))


async def prove(
    store: Store, tenant: int, event_id: UUID, tree_size: int | None = None
) -> InclusionProof | OutOfRange | StoredEvent | None:
    """The inclusion proof of a tenant's event in the log of `tree_size` leaves, or of the newest checkpoint.

    The event alone when no checkpoint covers it yet (that takes a second or so), None when the tenant has no such
    event. Raises `Incomplete` when the stored tree has a hole, and `DatabaseUnavailable`.
    """
    async with store.rows() as rows:
        event = await rows.find_event(tenant, event_id)
        if event is None:
            return None
        checkpoint = await rows.newest_checkpoint(event.stream)
        if checkpoint is None or checkpoint.size <= event.position:
            return event
        size = checkpoint.size if tree_size is None else tree_size
        if not event.position < size <= checkpoint.size:
            return OutOfRange(event, event.position + 1, checkpoint.size)
        hashes = await inclusion_proof(rows, event.stream, event.position, size)
    return InclusionProof(event, leaf_hash(event.body), hashes, size, checkpoint)


def _read(events: Sequence[tuple[int, bytes]]) -> tuple[list[Leaf], list[tuple[int, str]]]:
    leaves, malformed = [], []
    for position, body in events:
        try:
            leaves.append(read_leaf(position, body))
        except Malformed as error:
            malformed.append((position, str(error)))
    return leaves, malformed
