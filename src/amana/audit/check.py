"""Checks one stream of a log, wherever its leaves are read from. Imports no driver.

Every leaf hash is computed again from the stored bytes, the whole tree from those; every checkpoint's signature and
root, every older checkpoint (a rewritten or truncated log can't have its root), and the stored nodes that proofs are
made of. The first fault is named.

With each checkpoint come the hashes of the leaves that it added, as they were recorded then. Where these lead to the
signed root they are as good as signed, and comparing says exactly which leaf was altered. Where they were altered too,
the fault is narrowed down to the leaves between two checkpoints.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from operator import attrgetter
from typing import Protocol

from amana.audit.checkpoint import Checkpoint, NoteError, SignedStep
from amana.audit.findings import Bad, Fault, Kind, Progress, Scan, StreamReport
from amana.audit.keys import StreamKeys
from amana.audit.leaf import Malformed, read_leaf
from amana.audit.merkle import HASH_BYTES, Node, Tree, leaf_hash

RUN_LEAVES = 2_000
"""Leaves asked for at a time where no checkpoint says how many there are."""


class Source(Protocol):
    """Where the leaves of one stream are read from. Any of it may raise `Bad`."""

    async def highest(self) -> int:
        """The highest position that there is anything of, -1 for none."""
        ...

    def steps(self) -> AsyncIterator[SignedStep]:
        """The checkpoints, smallest first."""
        ...

    async def scan(self, start: int, stop: int) -> Scan:
        """The leaves from `start` to before `stop`, up to the first gap. Each run begins where the last one ended."""
        ...

    async def nodes(self, nodes: Sequence[Node]) -> Mapping[Node, bytes]:
        """What is stored of these full subtrees, at levels 8, 16, ..."""
        ...

    async def where_is(self, leaf_hash: bytes) -> int | None:
        """Where the leaf with this hash is, if anywhere."""
        ...


def odd_bytes(stream: str, position: int, body: bytes) -> Fault | None:
    """What is wrong with the bytes of a leaf on their own."""
    try:
        read_leaf(position, body)
    except Malformed as error:
        return Fault(stream, position, Kind.MALFORMED, str(error))
    return None


def scan_bodies(stream: str, start: int, bodies: Iterable[bytes]) -> Scan:
    """Leaves of which nothing but the bytes is stored."""
    scan = Scan([])
    for position, body in enumerate(bodies, start):
        scan.hashes.append(leaf_hash(body))
        scan.odd = scan.odd or odd_bytes(stream, position, body)
    return scan


class StreamCheck:
    """The check of one stream. `_tree` is what was found to be signed so far."""

    def __init__(
        self,
        stream: str,
        source: Source,
        keys: StreamKeys,
        older: Sequence[Iterable[str]] = (),
        progress: Progress | None = None,
    ) -> None:
        """`older` are sources of notes signed before, each in order of size."""
        self._stream = stream
        self._source = source
        self._keys = keys
        self._older = merge(*map(self._opened, older), key=attrgetter("size"))
        self._next_older: Checkpoint | None = None
        self._progress = progress
        self._tree = Tree()
        self._checkpoints = 0
        self._held_to = 0
        self._stored = 0

    async def run(self) -> StreamReport:
        """The report."""
        fault, sealed, sealed_root = None, 0, self._tree.root()
        try:
            self._stored = await self._source.highest() + 1
            self._next_older = next(self._older, None)
            async for step in self._source.steps():
                await self._check_step(step)
                sealed, sealed_root = self._tree.size, self._tree.root()
            await self._check_beyond()
        except Bad as bad:
            fault = bad.fault
        root = self._tree.root().hex()
        counts = self._tree.size, sealed, self._checkpoints, self._held_to
        return StreamReport(self._stream, *counts, root, sealed_root.hex(), fault)

    async def _check_step(self, step: SignedStep) -> None:
        """A checkpoint, and the leaves that it added."""
        start, before = self._tree.size, self._tree.copy()
        self._check_note(step)
        if len(step.leaf_hashes) != HASH_BYTES * (step.size - start):
            raise self._bad(start, Kind.CHECKPOINT, f"the checkpoint at {step.size} does not follow that at {start}")
        recorded = [step.leaf_hashes[at : at + HASH_BYTES] for at in range(0, len(step.leaf_hashes), HASH_BYTES)]
        scan = await self._source.scan(start, step.size)
        nodes, other_log = self._grow(recorded)
        if self._tree.root() == step.root:
            fault = await self._first_fault(start, scan, recorded)
        else:
            fault = self._unrecorded_fault(before.copy(), step, scan)
        if fault := fault or other_log or await self._node_fault(nodes):
            self._tree = before
            raise Bad(fault)
        self._checkpoints += 1
        if self._progress:
            self._progress(self._stream, self._tree.size, max(self._stored, self._tree.size))

    def _check_note(self, step: SignedStep) -> None:
        try:
            signed = self._keys.open(step.note)
        except NoteError as error:
            raise self._bad(self._tree.size, Kind.CHECKPOINT, f"the checkpoint at {step.size}: {error}") from error
        if signed != Checkpoint(self._keys.name, step.size, step.root):
            raise self._bad(self._tree.size, Kind.CHECKPOINT, f"the row at {step.size} is not what its note says")

    async def _first_fault(self, start: int, scan: Scan, recorded: Sequence[bytes]) -> Fault | None:
        """The first fault among leaves whose recorded hashes are as good as signed."""
        pairs = enumerate(zip(scan.hashes, recorded, strict=False), start)
        different = next((at for at, (found, signed) in pairs if found != signed), None)
        changed = None
        if different is not None:
            ahead = slice(different - start, different - start + 2)
            changed = await self._changed(different, scan.hashes[ahead], recorded[ahead])
        faults = [fault for fault in (changed, scan.odd, scan.gap) if fault]
        return min(faults, key=attrgetter("position"), default=None)

    async def _changed(self, position: int, found: Sequence[bytes], signed: Sequence[bytes]) -> Fault:
        """Says what became of the leaf at `position`, from it and the one behind it: as found, and as sealed."""
        elsewhere = await self._source.where_is(signed[0])
        if elsewhere is not None:
            return self._fault(position, Kind.REORDERED, f"the leaf that was sealed here is at {elsewhere}")
        if found[0] == signed[-1]:
            return self._fault(position, Kind.MISSING, "the leaf is gone; what was behind it stands in its place")
        return self._fault(position, Kind.ALTERED, "the bytes are not those that were sealed")

    def _unrecorded_fault(self, tree: Tree, step: SignedStep, scan: Scan) -> Fault:
        """The fault when the hashes recorded with a checkpoint do not lead to its signed root; `tree` is before it."""
        start = tree.size
        tree.append(scan.hashes)
        if tree.root() == step.root:
            return self._fault(start, Kind.CHECKPOINT, f"the leaf hashes recorded at {step.size} were altered")
        detail = f"a leaf from {start} to {step.size - 1} is not what was sealed, and neither are the recorded hashes"
        faults = [self._fault(start, Kind.ALTERED, detail), scan.odd, scan.gap]
        return min((fault for fault in faults if fault), key=attrgetter("position"))

    async def _check_beyond(self) -> None:
        """Leaves that no checkpoint covers, as far as there is no gap; older notes must not be beyond them."""
        while True:
            scan = await self._source.scan(self._tree.size, self._tree.size + RUN_LEAVES)
            _, other_log = self._grow(scan.hashes)
            if fault := scan.odd or other_log:
                raise Bad(fault)
            if len(scan.hashes) < RUN_LEAVES:
                break
        _, other_log = self._grow([])
        if other_log:
            raise Bad(other_log)
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
                self._held_to += fault is None
                self._next_older = next(self._older, None)
        return nodes, fault

    async def _node_fault(self, nodes: Sequence[tuple[Node, bytes]]) -> Fault | None:
        """The first of the full subtrees just completed that is not stored as it should be."""
        if not nodes:
            return None
        stored = await self._source.nodes([node for node, _ in nodes])
        for node, expected in nodes:
            if stored.get(node) != expected:
                detail = f"the stored node {node.number} of level {node.level} is not the hash of its leaves"
                return self._fault(node.number << node.level, Kind.NODE, detail)
        return None

    def _opened(self, notes: Iterable[str]) -> Iterator[Checkpoint]:
        for note in notes:
            try:
                yield self._keys.open(note)
            except NoteError as error:
                detail = f"a checkpoint kept elsewhere: {error}"
                raise self._bad(self._tree.size, Kind.CHECKPOINT, detail) from error

    def _bad(self, position: int, kind: Kind, detail: str) -> Bad:
        return Bad(self._fault(position, kind, detail))

    def _fault(self, position: int, kind: Kind, detail: str) -> Fault:
        return Fault(self._stream, position, kind, detail)
