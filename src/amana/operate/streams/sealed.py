"""Whether the audit log has what a service's outbox is to let go of, byte for byte, under a signature.

The events of the outbox are read in order. Each is hashed and compared with the leaf that the log has at its place, and
taken into the tree that the log stored before them. With the events up to the first checkpoint that covers the last of
them, the tree must come to the root that was signed. So nothing rests on what a database says of itself: a log without
the event, with another one, or with a note that our keys did not sign holds everything back.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from amana.audit.announcing import HeldBack
from amana.audit.checkpoint import Checkpoint, NoteError
from amana.audit.keys import StreamKeys
from amana.audit.merkle import Tree, leaf_hash
from amana.audit.store import Rows, Store
from amana.audit.tree import Incomplete, tree_at
from amana.infra.postgres import Pool, reading
from amana.infra.sql import load_queries

SQL = load_queries("amana.operate.streams", "prune.sql")
PAGE_EVENTS = 2_000
RANGE_LEAVES = 128
"""Leaf hashes that the log gives of one range."""
RUN_EVENTS_MAX = 10_000_000
"""Events of a stream that go in one run."""


class Sealed(NamedTuple):
    """Events before `below` are in the log, under a checkpoint of `size` leaves, `note`."""

    below: int
    size: int
    note: str


class _Event(msgspec.Struct):
    occurred_at: datetime


_decoder = msgspec.json.Decoder(_Event)

Page = Sequence[tuple[int, bytes]]


class Proof:
    """The proof for one stream: `outbox` is a pool of its schema, `log` the audit log, `keys` those of the stream."""

    def __init__(self, stream: str, outbox: Pool, log: Store, keys: StreamKeys) -> None:
        self._stream = stream
        self._outbox = outbox
        self._log = log
        self._keys = keys
        self._tree = Tree()

    async def of_older(self, start: int, last: int, before: datetime) -> Sealed | None:
        """What is proved of the events from `start` on that happened before an instant; None where none did.

        Never of the last one of the stream, so that something is left to tell by which log it is. Raises `HeldBack`
        where it can't be proved, and `DatabaseUnavailable`.
        """
        async with self._log.rows() as rows:
            try:
                self._tree = await tree_at(rows, self._stream, start)
            except Incomplete as error:
                raise HeldBack(f"the audit log is not whole: {error}") from error
        below = await self._walk(start, min(last, start + RUN_EVENTS_MAX), before)
        if below == start:
            return None
        async with self._log.rows() as rows:
            steps = await rows.checkpoints_after(self._stream, below - 1, 1)
        if not steps:
            raise HeldBack(f"audit has no checkpoint of {self._stream} that covers position {below - 1:,} yet")
        await self._walk(below, steps[0].size, None)
        self._require_signed(Checkpoint(self._keys.name, steps[0].size, self._tree.root()), steps[0].note)
        return Sealed(below, steps[0].size, steps[0].note)

    def _require_signed(self, found: Checkpoint, note: str) -> None:
        try:
            signed = self._keys.open(note)
        except NoteError as error:
            raise HeldBack(f"the checkpoint of {self._stream} at {found.size:,}: {error}") from error
        if signed != found:
            raise HeldBack(
                f"the events of {self._stream} do not come to the root that was signed at {found.size:,} leaves:"
                " run `amana audit verify`"
            )

    async def _walk(self, start: int, stop: int, before: datetime | None) -> int:
        """Takes events into the tree, as far as they happened before the instant; the first position not taken."""
        async for page in self._pages(start, stop):
            old = page if before is None else _older(page, before)
            hashes = [leaf_hash(body) for _, body in old]
            if old:
                async with self._log.rows() as rows:
                    await self._require_leaves(rows, old[0][0], hashes)
            self._tree.append(hashes)
            if len(old) < len(page):
                break
        return self._tree.size

    async def _pages(self, start: int, stop: int) -> AsyncIterator[Page]:
        while start < stop:
            async with reading(self._outbox) as connection:
                rows = await connection.fetch(SQL["events_from"], start, stop, PAGE_EVENTS)
            page = [(row["position"], row["body"]) for row in rows]
            gap = next((at for at, (position, _) in enumerate(page, start) if position != at), None)
            if gap is not None or not page:
                at = start if gap is None else gap
                raise HeldBack(f"the outbox of {self._stream} has no event at position {at:,}")
            yield page
            start += len(page)

    async def _require_leaves(self, rows: Rows, start: int, hashes: Sequence[bytes]) -> None:
        """Each is the hash of what the log has there: of a leaf, or recorded of one that retention dropped."""
        stop = start + len(hashes)
        ranges = [(at, min(at + RANGE_LEAVES, stop)) for at in range(start, stop, RANGE_LEAVES)]
        leaves = await rows.leaf_hashes_in(self._stream, ranges)
        for at, found in enumerate(hashes, start):
            if (leaf := leaves.get(at)) is None:
                raise HeldBack(f"audit is behind: it has no event of {self._stream} at position {at:,}")
            if leaf != found:
                raise HeldBack(f"audit has another event of {self._stream} at position {at:,}: run `amana reconcile`")


def _older(page: Page, before: datetime) -> Page:
    """The beginning of a page that happened before an instant; what can't be read has not."""
    for number, (_, body) in enumerate(page):
        try:
            if _decoder.decode(body).occurred_at >= before:
                return page[:number]
        except msgspec.MsgspecError:
            return page[:number]
    return page
