"""Seals a stream: takes its unbroken leaves into the tree and signs the new root.

One step is one transaction: lock, newest checkpoint, leaf hashes, then nodes and the checkpoint: five round trips for
up to `STEP_LEAVES_MAX` leaves. The note is appended to the checkpoint file before the transaction commits, so the file
is never behind what is served; a crash in between leaves it ahead, and the next start adopts what it says.

A sealer signs only what extends the last checkpoint. It holds the tree in memory and compares it with the database at
every step; when it has none (start, another sealer was at work) it rebuilds it from stored nodes and requires the
newest stored checkpoint and the newest one in the file to be that tree's. Otherwise it raises `LogBroken` and signs
nothing until the state is right again.
"""

import asyncio
from itertools import islice

from amana.audit.checkpoint import Checkpoint, NoteError, Signer, open_note
from amana.audit.custody import CheckpointFile
from amana.audit.merkle import EMPTY_ROOT, Tree
from amana.audit.store import Rows, SignedStep, Store, StoredCheckpoint
from amana.audit.tree import Incomplete, root_at, tree_at
from amana.infra.telemetry import logger

STEP_LEAVES_MAX = 10_000
"""Leaves in one checkpoint: about 30 ms of hashing."""
ADOPT_MAX = 100
"""Checkpoints taken over from the file in one step."""

log = logger("amana.audit.sealer")


class LogBroken(Exception):
    """What is stored does not extend what was signed. Nothing is signed; a person has to look."""


class Sealer:
    """Seals one stream."""

    def __init__(self, stream: str, store: Store, signer: Signer, kept: CheckpointFile) -> None:
        self.stream = stream
        self._store = store
        self._signer = signer
        self._kept = kept
        self._tree: Tree | None = None

    @property
    def size(self) -> int:
        """How many leaves are sealed, as of the last step."""
        return self._tree.size if self._tree else 0

    async def seal(self) -> int:
        """One step. Returns how many leaves it sealed; 0 when the next leaf is not there yet.

        Raises `LogBroken`, `DatabaseUnavailable`, and `CustodyError` when the checkpoint file can't be written.
        """
        async with self._store.transaction() as rows:
            await rows.lock_sealing(self.stream)
            newest = await rows.newest_checkpoint(self.stream)
            tree = self._in_memory(newest) or await self._recovered(rows, newest)
            sealed = await self._extend(rows, tree)
        self._tree = tree
        return sealed

    async def _extend(self, rows: Rows, tree: Tree) -> int:
        hashes = await rows.hashes_from(self.stream, tree.size, STEP_LEAVES_MAX)
        if hashes:
            nodes = tree.append(hashes)
            note = self._signer.sign(tree.size, tree.root())
            await asyncio.to_thread(self._kept.append, note)
            await rows.add_nodes(self.stream, nodes)
            await rows.add_checkpoint(self.stream, SignedStep(tree.size, tree.root(), note, b"".join(hashes)))
            log.info("checkpoint", stream=self.stream, size=tree.size, note=note)
        return len(hashes)

    def _in_memory(self, newest: StoredCheckpoint | None) -> Tree | None:
        """A copy of the tree held from the last step, if nobody else signed since."""
        size, root = (newest.size, newest.root) if newest else (0, EMPTY_ROOT)
        if self._tree is None or self._tree.size != size:
            return None
        if self._tree.root() != root:
            raise LogBroken(f"the stored checkpoint of {self.stream} at {size} is not the one that was signed")
        return self._tree.copy()

    async def _recovered(self, rows: Rows, newest: StoredCheckpoint | None) -> Tree:
        """The tree of the newest checkpoint, from the database and the file, which must agree."""
        size, root = (newest.size, newest.root) if newest else (0, EMPTY_ROOT)
        try:
            tree = await tree_at(rows, self.stream, size)
        except Incomplete as error:
            raise LogBroken(str(error)) from error
        if tree.root() != root:
            raise LogBroken(f"the stored leaves of {self.stream} do not give the root of its checkpoint at {size}")
        if newest and self._opened(newest.note) != Checkpoint(self._signer.key.name, size, root):
            raise LogBroken(f"the note of {self.stream} at {size} says something else than its row")
        note = await asyncio.to_thread(self._kept.newest)
        kept = self._opened(note) if note else Checkpoint(self._signer.key.name, 0, EMPTY_ROOT)
        if kept.size > size:
            await self._adopt(rows, tree)
        else:
            await self._check_kept(rows, kept, newest)
        return tree

    async def _check_kept(self, rows: Rows, kept: Checkpoint, newest: StoredCheckpoint | None) -> None:
        """The file's newest checkpoint must be the beginning of this log; a file that is behind is brought up."""
        if await root_at(rows, self.stream, kept.size) != kept.root:
            raise LogBroken(f"the checkpoint of {self.stream} at {kept.size} in {self._kept.path} is of another log")
        if newest and kept.size < newest.size:
            log.warning("checkpoint_file_behind", stream=self.stream, file_size=kept.size, size=newest.size)
            await asyncio.to_thread(self._kept.append, newest.note)

    async def _adopt(self, rows: Rows, tree: Tree) -> None:
        """Stores checkpoints that were written to the file and not to the database; `tree` grows to the last."""
        for checkpoint, note in await asyncio.to_thread(self._kept_beyond, tree.size):
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
            log.warning("checkpoint_adopted_from_file", stream=self.stream, size=checkpoint.size)

    def _kept_beyond(self, size: int) -> list[tuple[Checkpoint, str]]:
        """The file's checkpoints over `size` in order, each size once, at most `ADOPT_MAX`."""
        opened = ((self._opened(note), note) for note in self._kept.notes())
        beyond = {checkpoint.size: (checkpoint, note) for checkpoint, note in opened if checkpoint.size > size}
        return list(islice((beyond[size] for size in sorted(beyond)), ADOPT_MAX))

    def _opened(self, note: str) -> Checkpoint:
        try:
            return open_note(note, self._signer.key)
        except NoteError as error:
            raise LogBroken(f"a checkpoint of {self.stream} is not signed by the key in use: {error}") from error
