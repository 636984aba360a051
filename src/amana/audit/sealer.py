"""Seals a stream: takes its unbroken leaves into the tree and signs the new root.

One step is one transaction: lock, newest checkpoint, leaf hashes, then nodes and the checkpoint: five round trips for
up to `STEP_LEAVES_MAX` leaves. The note is in the checkpoint file before the transaction commits, so the file is never
behind what is served; a crash in between leaves it ahead, and the next step adopts what it says.

A sealer signs only what extends the newest checkpoint of the database and of every place that keeps them. It holds the
tree in memory and compares it with all of these at every step; where it has none (start, another sealer was at work) or
one of them is new to it, it rebuilds the tree from stored nodes and requires each of them to be that tree's. Otherwise
it raises `LogBroken` and signs nothing until the state is right again.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from amana.audit.checkpoint import Checkpoint, SignedStep
from amana.audit.custody import Custody, Kept
from amana.audit.merkle import EMPTY_ROOT, Tree
from amana.audit.store import Rows, Store, StoredCheckpoint
from amana.audit.tree import Incomplete, root_at, tree_at
from amana.infra.telemetry import logger

STEP_LEAVES_MAX = 10_000
"""Leaves in one checkpoint: about 30 ms of hashing."""
ADOPT_MAX = 100
"""Checkpoints taken over from other places in one step."""

log = logger("amana.audit.sealer")


class LogBroken(Exception):
    """What is stored does not extend what was signed. Nothing is signed; a person has to look."""


class _Signed(NamedTuple):
    size: int
    root: bytes


class Sealer:
    """Seals one stream."""

    def __init__(self, stream: str, store: Store, custody: Custody) -> None:
        self.stream = stream
        self._store = store
        self._custody = custody
        self._tree: Tree | None = None
        self._agreed: set[_Signed] = set()

    @property
    def size(self) -> int:
        """How many leaves are sealed, as of the last step."""
        return self._tree.size if self._tree else 0

    async def seal(self) -> int:
        """One step. Returns how many leaves it sealed; 0 when the next leaf is not there yet.

        Raises `LogBroken`, `DatabaseUnavailable`, and `CustodyError` when the key or the checkpoint file can't be used.
        """
        async with self._store.transaction() as rows:
            await rows.lock_sealing(self.stream)
            newest = await rows.newest_checkpoint(self.stream)
            kept = await asyncio.to_thread(self._custody.newest, self.stream)
            agreed = {_signed(each.checkpoint) for each in kept}
            tree = self._in_memory(newest, agreed) or await self._recovered(rows, newest, kept)
            adopting = any(each.checkpoint.size > tree.size for each in kept)
            hashes = [] if adopting else await rows.hashes_from(self.stream, tree.size, STEP_LEAVES_MAX)
            note = await self._extend(rows, tree, hashes) if hashes else None
        self._tree = tree
        self._agreed = agreed | {_Signed(tree.size, tree.root())}
        if note:
            await asyncio.to_thread(self._custody.archive, self.stream, tree.size, note)
        return len(hashes)

    async def _extend(self, rows: Rows, tree: Tree, hashes: Sequence[bytes]) -> str:
        nodes = tree.append(hashes)
        root = tree.root()
        note = await asyncio.to_thread(self._custody.sign, self.stream, tree.size, root)
        await rows.add_nodes(self.stream, nodes)
        await rows.add_checkpoint(self.stream, SignedStep(tree.size, root, note, b"".join(hashes)))
        log.info("checkpoint", stream=self.stream, size=tree.size, note=note)
        return note

    def _in_memory(self, newest: StoredCheckpoint | None, kept: set[_Signed]) -> Tree | None:
        """A copy of the tree held from the last step, if nobody else signed since and no place has anything new."""
        size, root = (newest.size, newest.root) if newest else (0, EMPTY_ROOT)
        if self._tree is None or self._tree.size != size:
            return None
        if self._tree.root() != root:
            raise LogBroken(f"the stored checkpoint of {self.stream} at {size} is not the one that was signed")
        return self._tree.copy() if kept <= self._agreed else None

    async def _recovered(self, rows: Rows, newest: StoredCheckpoint | None, kept: Sequence[Kept]) -> Tree:
        """The tree of the newest checkpoint, from the database, with which every place must agree."""
        size, root = (newest.size, newest.root) if newest else (0, EMPTY_ROOT)
        try:
            tree = await tree_at(rows, self.stream, size)
            if tree.root() != root:
                raise LogBroken(f"the stored leaves of {self.stream} do not give the root of its checkpoint at {size}")
            if newest and _signed(self._custody.open(self.stream, newest.note)) != (size, root):
                raise LogBroken(f"the note of {self.stream} at {size} says something else than its row")
            await self._check_kept(rows, tree, kept)
        except Incomplete as error:
            raise LogBroken(str(error)) from error
        if newest:
            checkpoint = Checkpoint(self._custody.keys(self.stream).name, size, root)
            await asyncio.to_thread(self._custody.catch_up, self.stream, checkpoint, newest.note)
        if any(each.checkpoint.size > size for each in kept):
            await self._adopt(rows, tree)
        return tree

    async def _check_kept(self, rows: Rows, tree: Tree, kept: Sequence[Kept]) -> None:
        """The newest checkpoint of each place that is not beyond this tree must be a beginning of it."""
        for place, checkpoint, _ in kept:
            size = checkpoint.size
            if size <= tree.size and await root_at(rows, self.stream, size) != checkpoint.root:
                raise LogBroken(f"the checkpoint of {self.stream} at {size} in {place} is of another log")

    async def _adopt(self, rows: Rows, tree: Tree) -> None:
        """Stores checkpoints that were kept elsewhere and are not in the database; `tree` grows to the last."""
        beyond = await asyncio.to_thread(self._custody.beyond, self.stream, tree.size)
        for checkpoint, note in beyond[:ADOPT_MAX]:
            wanted = checkpoint.size - tree.size
            hashes = await rows.hashes_from(self.stream, tree.size, wanted)
            if len(hashes) < wanted:
                stored = tree.size + len(hashes)
                raise LogBroken(f"{self.stream} was signed at {checkpoint.size} leaves and has only {stored}")
            nodes = tree.append(hashes)
            if tree.root() != checkpoint.root:
                raise LogBroken(f"the leaves of {self.stream} are not those signed at {checkpoint.size}")
            await rows.add_nodes(self.stream, nodes)
            step = SignedStep(checkpoint.size, checkpoint.root, note, b"".join(hashes))
            await rows.add_checkpoint(self.stream, step)
            await asyncio.to_thread(self._custody.catch_up, self.stream, checkpoint, note)
            log.warning("checkpoint_adopted", stream=self.stream, size=checkpoint.size)


def _signed(checkpoint: Checkpoint) -> _Signed:
    return _Signed(checkpoint.size, checkpoint.root)
