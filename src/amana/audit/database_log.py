"""A stream of the log as it stands in the database, for the verifier: beside the bytes it has columns and hashes."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from amana.audit.ahead import Ahead, Workers
from amana.audit.checkpoint import SignedStep
from amana.audit.findings import Fault, Kind, Scan
from amana.audit.leaf import Leaf, Malformed, read_leaf
from amana.audit.merkle import Node, leaf_hash
from amana.audit.store import Rows, Store, StoredLeaf
from amana.infra.postgres import DatabaseUnavailable, open_pool

PAGE_LEAVES = 2_000
PAGE_CHECKPOINTS = 50
CONNECTIONS = 2


class DatabaseLog:
    """See `check.Source`. Runs of leaves are read with connections of the workers' own where there are any."""

    def __init__(self, store: Store, dsn: str, stream: str, workers: Workers, leaves: int, floor: int = 0) -> None:
        """`floor` is where leaves begin: of those before it retention has left the hashes."""
        self._store = store
        self._dsn = dsn
        self._stream = stream
        self._floor = floor
        self._workers = workers
        self._ahead = Ahead(self._run, workers.count, leaves)

    async def highest(self) -> int:
        """The highest position stored, -1 for none."""
        async with self._store.rows() as rows:
            return await rows.highest_position(self._stream)

    async def steps(self) -> AsyncIterator[SignedStep]:
        """The stored checkpoints."""
        size = 0
        while True:
            async with self._store.rows() as rows:
                page = await rows.checkpoints_after(self._stream, size, PAGE_CHECKPOINTS)
            for step in page:
                yield step
            if len(page) < PAGE_CHECKPOINTS:
                return
            size = page[-1].size

    async def scan(self, start: int, stop: int) -> Scan:
        """Leaves, up to the first gap."""
        return await self._ahead.take(start, stop)

    async def nodes(self, nodes: Sequence[Node]) -> Mapping[Node, bytes]:
        """What is stored of these full subtrees."""
        async with self._store.rows() as rows:
            return await rows.nodes_in(self._stream, [(level, (number, number + 1)) for level, number in nodes])

    async def where_is(self, leaf_hash: bytes) -> int | None:
        """Where the leaf with this hash is; None also when it takes too long to find."""
        try:
            async with self._store.rows() as rows:
                return await rows.where_is_hash(self._stream, leaf_hash)
        except DatabaseUnavailable:  # too long a walk for the statement time-out: wherever it went, it is not here
            return None

    async def close(self) -> None:
        """Gives up what is read ahead."""
        await self._ahead.close()

    async def _run(self, start: int, stop: int) -> Scan:
        if self._workers.count:
            return await self._workers.run(_scan_in_worker, self._dsn, self._stream, start, stop, self._floor)
        return await scan_database(self._store, self._stream, start, stop, self._floor)


async def scan_database(store: Store, stream: str, start: int, stop: int, floor: int = 0) -> Scan:
    """Reads leaves from `start` to before `stop`, up to the first gap, and looks at each on its own.

    Of those before `floor` the hashes are all that there is: as they were recorded when they were sealed.
    """
    scan = await _scan_dropped(store, stream, start, min(stop, floor))
    position = start + len(scan.hashes)
    while position < stop and scan.gap is None:
        until = min(position + PAGE_LEAVES, stop)
        async with store.rows() as rows:
            page = await rows.leaves_from(stream, position, until, PAGE_LEAVES)
            scan.add(_look_at(stream, position, page))
            position = start + len(scan.hashes)
            if position < until:
                scan.gap = await _gap(rows, stream, position)
    return scan


async def _scan_dropped(store: Store, stream: str, start: int, stop: int) -> Scan:
    scan, position = Scan([]), start
    while position < stop and scan.gap is None:
        until = min(position + PAGE_LEAVES, stop)
        async with store.rows() as rows:
            recorded = await rows.recorded_hashes(stream, position, until)
        scan.hashes += [recorded[at] for at in range(position, until) if at in recorded]
        if len(recorded) < until - position:
            scan.gap = Fault(stream, start + len(scan.hashes), Kind.MISSING, "neither the leaf nor its hash is there")
        position = until
    return scan


def _look_at(stream: str, start: int, page: Sequence[StoredLeaf]) -> Scan:
    """The leaves of a page up to the first gap."""
    scan = Scan([])
    for position, stored in enumerate(page, start):
        if stored.leaf.position != position:
            break
        computed = leaf_hash(stored.leaf.body)
        scan.hashes.append(computed)
        scan.odd = scan.odd or _oddity(stream, stored, computed)
    return scan


def _oddity(stream: str, stored: StoredLeaf, computed: bytes) -> Fault | None:
    """What is wrong with a leaf on its own."""
    position = stored.leaf.position
    if stored.leaf_hash != computed:
        return Fault(stream, position, Kind.ALTERED, "the stored leaf hash is not that of the bytes")
    try:
        fresh = read_leaf(position, stored.leaf.body)
    except Malformed as error:
        return Fault(stream, position, Kind.MALFORMED, str(error))
    if fresh != stored.leaf:
        unlike = ", ".join(_unlike(fresh, stored.leaf))
        return Fault(stream, position, Kind.COLUMNS, f"not as in the bytes: {unlike}")
    return None


def _unlike(one: Leaf, other: Leaf) -> list[str]:
    return [name for name, mine, its in zip(Leaf._fields, one, other, strict=True) if mine != its]


async def _gap(rows: Rows, stream: str, position: int) -> Fault:
    if await rows.highest_position(stream) < position:
        return Fault(stream, position, Kind.TRUNCATED, "the log ends here")
    return Fault(stream, position, Kind.MISSING, "the leaf is gone")


class _Reader:
    """What a worker keeps from one run to the next: an event loop with a connection."""

    def __init__(self, dsn: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._store = Store(self._loop.run_until_complete(open_pool(dsn, "audit", 1)))

    def scan(self, stream: str, start: int, stop: int, floor: int) -> Scan:
        return self._loop.run_until_complete(scan_database(self._store, stream, start, stop, floor))


_readers: dict[str, _Reader] = {}


def _scan_in_worker(dsn: str, stream: str, start: int, stop: int, floor: int) -> Scan:
    if dsn not in _readers:
        _readers[dsn] = _Reader(dsn)
    return _readers[dsn].scan(stream, start, stop, floor)
