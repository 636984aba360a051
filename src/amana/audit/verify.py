"""Verifies a log from nothing but what is stored, the public key and checkpoints kept elsewhere.

Every leaf hash is computed again from the stored bytes, the whole tree from those; every checkpoint's signature and
root, every older checkpoint (a rewritten or truncated log can't have its root), the stored nodes that proofs are made
of, and that the bytes are canonical and the columns are those in the bytes. Per stream the first fault is named.

A checkpoint row keeps the hashes of the leaves that it added. Where these lead to the signed root they are as good as
signed, and comparing says exactly which leaf was altered. Where they were altered too, the fault is narrowed down to
the leaves between two checkpoints.

Leaves come in pages in order of position, so memory is bounded by one page and one checkpoint.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from heapq import merge
from operator import attrgetter
from pathlib import Path

from amana.audit.checkpoint import Checkpoint, NoteError, VerifierKey, open_note
from amana.audit.custody import CheckpointFile, checkpoint_folder, load_key, read_notes
from amana.audit.leaf import LOGS, Leaf, Malformed, read_leaf
from amana.audit.merkle import HASH_BYTES, Node, Tree, leaf_hash
from amana.audit.store import SignedStep, Store, StoredLeaf
from amana.infra.postgres import DatabaseUnavailable, open_pool
from amana.infra.settings import Settings

PAGE_LEAVES = 2_000
PAGE_CHECKPOINTS = 50
CONNECTIONS = 2

Progress = Callable[[str, int, int], None]
"""Told (stream, leaves verified, leaves in all) after every checkpoint."""


class Kind(StrEnum):
    """What is wrong."""

    ALTERED = "altered"
    REORDERED = "reordered"
    MISSING = "missing"
    TRUNCATED = "truncated"
    MALFORMED = "malformed"
    COLUMNS = "columns"
    CHECKPOINT = "checkpoint"
    NODE = "node"


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing wrong in a stream: at which leaf, and what in words."""

    stream: str
    position: int
    kind: Kind
    detail: str


@dataclass(frozen=True, slots=True)
class StreamReport:
    """What was found of a stream: leaves and checkpoints that hold, how many are sealed, the root over all, hex."""

    stream: str
    leaves: int
    sealed: int
    checkpoints: int
    root: str
    fault: Fault | None


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was found of the whole log."""

    streams: tuple[StreamReport, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.first_bad is None

    @property
    def first_bad(self) -> Fault | None:
        """The first stream's first fault."""
        return next((report.fault for report in self.streams if report.fault), None)

    @property
    def leaves(self) -> int:
        """Leaves that hold, in all streams."""
        return sum(report.leaves for report in self.streams)

    def told(self) -> str:
        """The report in words, a line for each stream and for each fault."""
        lines = [
            f"{report.stream}: {report.leaves:,} leaves hold, {report.sealed:,} of them sealed by"
            f" {report.checkpoints:,} checkpoints; root {report.root}"
            for report in self.streams
        ]
        faults = [report.fault for report in self.streams if report.fault]
        lines += [f"BAD: {fault.stream}, leaf {fault.position}, {fault.kind}: {fault.detail}" for fault in faults]
        return "\n".join(lines if faults else [*lines, "Nothing is wrong."])


async def run_verify(
    settings: Settings, *, checkpoints_file: Path | None = None, progress: Progress | None = None
) -> VerifyReport:
    """Verifies the database that `settings` name against the key and checkpoint files beside it, and an older file.

    `checkpoints_file` holds notes of any streams, in any order, that somebody kept. Raises `CustodyError` without the
    key, `OSError` when the file can't be read, and `DatabaseUnavailable`.
    """
    key_file = Path(settings.audit_key_file)
    public = load_key(key_file).public_key().public_bytes_raw()
    keys = {stream: VerifierKey(f"{settings.audit_origin}/{stream}", public) for stream in LOGS}
    kept = sorted(read_notes(checkpoints_file), key=_claimed_size) if checkpoints_file else []
    folder = checkpoint_folder(key_file)
    older: dict[str, list[Iterable[str]]] = {
        stream: [CheckpointFile(folder, stream).notes(), [note for note in kept if note.startswith(f"{key.name}\n")]]
        for stream, key in keys.items()
    }
    return await verify(settings.audit_database_url, keys, older, progress)


async def verify(
    dsn: str,
    keys: Mapping[str, VerifierKey],
    older: Mapping[str, Sequence[Iterable[str]]] | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """Verifies each stream in `keys` with its key. `older` has, by stream, sources of notes signed before,
    each in order of size. Raises `DatabaseUnavailable`.
    """
    pool = await open_pool(dsn, "audit", CONNECTIONS)
    try:
        store = Store(pool)
        checks = [
            _StreamCheck(store, stream, key, (older or {}).get(stream, ()), progress) for stream, key in keys.items()
        ]
        return VerifyReport(tuple([await check.run() for check in checks]))
    finally:
        await pool.close()


class _Bad(Exception):
    """Ends the check of a stream at its first fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


@dataclass(slots=True)
class _Scan:
    """What was read of a run of leaves: their hashes up to the first gap, and the first leaf that is odd in itself."""

    hashes: list[bytes]
    odd: Fault | None = None
    gap: Fault | None = None


class _StreamCheck:
    """The check of one stream. `_tree` is what was found to be signed so far."""

    def __init__(
        self,
        store: Store,
        stream: str,
        key: VerifierKey,
        older: Sequence[Iterable[str]],
        progress: Progress | None,
    ) -> None:
        self._store = store
        self._stream = stream
        self._key = key
        self._older = merge(*map(self._opened, older), key=attrgetter("size"))
        self._next_older: Checkpoint | None = None
        self._progress = progress
        self._tree = Tree()
        self._checkpoints = 0
        self._stored = 0

    async def run(self) -> StreamReport:
        """The report."""
        async with self._store.rows() as rows:
            self._stored = await rows.highest_position(self._stream) + 1
        fault, sealed = None, 0
        try:
            self._next_older = next(self._older, None)
            async for step in self._steps():
                await self._check_step(step)
                sealed = self._tree.size
            await self._check_beyond()
        except _Bad as bad:
            fault = bad.fault
        return StreamReport(self._stream, self._tree.size, sealed, self._checkpoints, self._tree.root().hex(), fault)

    async def _steps(self) -> AsyncIterator[SignedStep]:
        size = 0
        while True:
            async with self._store.rows() as rows:
                page = await rows.checkpoints_after(self._stream, size, PAGE_CHECKPOINTS)
            for step in page:
                yield step
            if len(page) < PAGE_CHECKPOINTS:
                return
            size = page[-1].size

    async def _check_step(self, step: SignedStep) -> None:
        """A checkpoint, and the leaves that it added."""
        start, before = self._tree.size, self._tree.copy()
        self._check_note(step)
        if len(step.leaf_hashes) != HASH_BYTES * (step.size - start):
            raise self._bad(start, Kind.CHECKPOINT, f"the checkpoint at {step.size} does not follow that at {start}")
        recorded = [step.leaf_hashes[at : at + HASH_BYTES] for at in range(0, len(step.leaf_hashes), HASH_BYTES)]
        scan = await self._scan(start, step.size)
        nodes, other_log = self._grow(recorded)
        if self._tree.root() == step.root:
            fault = await self._first_fault(start, scan, recorded)
        else:
            fault = self._unrecorded_fault(before.copy(), step, scan)
        if fault := fault or other_log or await self._node_fault(nodes):
            self._tree = before
            raise _Bad(fault)
        self._checkpoints += 1
        if self._progress:
            self._progress(self._stream, self._tree.size, max(self._stored, self._tree.size))

    def _check_note(self, step: SignedStep) -> None:
        try:
            signed = open_note(step.note, self._key)
        except NoteError as error:
            raise self._bad(self._tree.size, Kind.CHECKPOINT, f"the checkpoint at {step.size}: {error}") from error
        if signed != Checkpoint(self._key.name, step.size, step.root):
            raise self._bad(self._tree.size, Kind.CHECKPOINT, f"the row at {step.size} is not what its note says")

    async def _first_fault(self, start: int, scan: _Scan, recorded: Sequence[bytes]) -> Fault | None:
        """The first fault among leaves whose recorded hashes are as good as signed."""
        pairs = enumerate(zip(scan.hashes, recorded, strict=False), start)
        different = next((at for at, (found, signed) in pairs if found != signed), None)
        changed = await self._changed(different, recorded[different - start]) if different is not None else None
        faults = [fault for fault in (changed, scan.odd, scan.gap) if fault]
        return min(faults, key=attrgetter("position"), default=None)

    async def _changed(self, position: int, signed: bytes) -> Fault:
        """Says whether the leaf that was at `position` is still somewhere else."""
        try:
            async with self._store.rows() as rows:
                elsewhere = await rows.where_is_hash(self._stream, signed)
        except DatabaseUnavailable:  # too long a walk for the statement time-out: it is altered, wherever it went
            elsewhere = None
        if elsewhere is None:
            return self._fault(position, Kind.ALTERED, "the bytes are not those that were sealed")
        return self._fault(position, Kind.REORDERED, f"the leaf that was sealed here is at {elsewhere}")

    def _unrecorded_fault(self, tree: Tree, step: SignedStep, scan: _Scan) -> Fault:
        """The fault when the hashes recorded with a checkpoint do not lead to its signed root; `tree` is before it."""
        start = tree.size
        tree.append(scan.hashes)
        if tree.root() == step.root:
            return self._fault(start, Kind.CHECKPOINT, f"the leaf hashes recorded at {step.size} were altered")
        detail = f"a leaf from {start} to {step.size - 1} is not what was sealed, and neither are the recorded hashes"
        faults = [self._fault(start, Kind.ALTERED, detail), scan.odd, scan.gap]
        return min((fault for fault in faults if fault), key=attrgetter("position"))

    async def _check_beyond(self) -> None:
        """Leaves that no stored checkpoint covers, as far as there is no gap; older notes must not be beyond them."""
        while True:
            scan = await self._scan(self._tree.size, self._tree.size + PAGE_LEAVES)
            _, other_log = self._grow(scan.hashes)
            if fault := scan.odd or other_log:
                raise _Bad(fault)
            if len(scan.hashes) < PAGE_LEAVES:
                break
        _, other_log = self._grow([])
        if other_log:
            raise _Bad(other_log)
        if self._next_older and scan.gap:
            detail = f"{scan.gap.detail}; a checkpoint of {self._next_older.size} leaves was signed"
            raise self._bad(self._tree.size, scan.gap.kind, detail)

    def _grow(self, hashes: Sequence[bytes]) -> tuple[list[tuple[Node, bytes]], Fault | None]:
        """Takes leaves in, comparing at every older checkpoint on the way. The nodes, and the first that differs."""
        nodes, fault, at = [], None, 0
        while at < len(hashes) or (self._next_older and self._next_older.size <= self._tree.size):
            older = self._next_older
            stop = at + (older.size - self._tree.size if older else len(hashes))
            nodes += self._tree.append(hashes[at : max(at, stop)])
            at = min(max(at, stop), len(hashes))
            if older and older.size <= self._tree.size:
                if older.size < self._tree.size or older.root != self._tree.root():
                    detail = f"the checkpoint of {older.size} leaves kept elsewhere is of another log"
                    fault = fault or self._fault(max(older.size - 1, 0), Kind.CHECKPOINT, detail)
                self._next_older = next(self._older, None)
        return nodes, fault

    async def _node_fault(self, nodes: Sequence[tuple[Node, bytes]]) -> Fault | None:
        """The first of the full subtrees just completed that is not stored as it should be."""
        if not nodes:
            return None
        ranges = [(node.level, (node.number, node.number + 1)) for node, _ in nodes]
        async with self._store.rows() as rows:
            stored = await rows.nodes_in(self._stream, ranges)
        for node, expected in nodes:
            if stored.get(node) != expected:
                detail = f"the stored node {node.number} of level {node.level} is not the hash of its leaves"
                return self._fault(node.number << node.level, Kind.NODE, detail)
        return None

    async def _scan(self, start: int, stop: int) -> _Scan:
        """Reads leaves from `start` to before `stop`, up to the first gap."""
        scan, position = _Scan([]), start
        while position < stop and scan.gap is None:
            async with self._store.rows() as rows:
                page = await rows.leaves_from(self._stream, position, stop, PAGE_LEAVES)
            expected = range(position, min(position + PAGE_LEAVES, stop))
            for stored, position in zip(page, expected, strict=False):
                if stored.leaf.position != position:
                    break
                scan.hashes.append(leaf_hash(stored.leaf.body))
                scan.odd = scan.odd or self._oddity(stored, scan.hashes[-1])
            position = start + len(scan.hashes)
            if position < expected.stop:
                scan.gap = await self._gap(position)
        return scan

    async def _gap(self, position: int) -> Fault:
        async with self._store.rows() as rows:
            highest = await rows.highest_position(self._stream)
        if highest < position:
            return self._fault(position, Kind.TRUNCATED, "the log ends here")
        return self._fault(position, Kind.MISSING, "the leaf is gone")

    def _oddity(self, stored: StoredLeaf, computed: bytes) -> Fault | None:
        """What is wrong with a leaf on its own."""
        position = stored.leaf.position
        if stored.leaf_hash != computed:
            return self._fault(position, Kind.ALTERED, "the stored leaf hash is not that of the bytes")
        try:
            fresh = read_leaf(position, stored.leaf.body)
        except Malformed as error:
            return self._fault(position, Kind.MALFORMED, str(error))
        if fresh != stored.leaf:
            return self._fault(position, Kind.COLUMNS, f"not as in the bytes: {', '.join(_unlike(fresh, stored.leaf))}")
        return None

    def _opened(self, notes: Iterable[str]) -> Iterator[Checkpoint]:
        for note in notes:
            try:
                yield open_note(note, self._key)
            except NoteError as error:
                detail = f"a checkpoint kept elsewhere: {error}"
                raise self._bad(self._tree.size, Kind.CHECKPOINT, detail) from error

    def _bad(self, position: int, kind: Kind, detail: str) -> _Bad:
        return _Bad(self._fault(position, kind, detail))

    def _fault(self, position: int, kind: Kind, detail: str) -> Fault:
        return Fault(self._stream, position, kind, detail)


def _claimed_size(note: str) -> int:
    """The size in a note's second line, to put notes in order before they are opened."""
    _, size, *_ = f"{note}\n\n".split("\n")
    return int(size) if size.isdecimal() and len(size) < 20 else 0


def _unlike(one: Leaf, other: Leaf) -> list[str]:
    return [name for name, mine, its in zip(Leaf._fields, one, other, strict=True) if mine != its]
