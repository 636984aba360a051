"""The events of a stream in the order of their positions, from the audit log or from the outboxes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

from amana.audit.merkle import Tree, leaf_hash
from amana.infra.postgres import Connection, Record
from amana.infra.sql import load_queries
from amana.operate.replay.options import CannotReplay, Log

SQL = load_queries("amana.operate.replay", "log.sql")
PAGE_EVENTS = 5_000
"""Events in hand at a time: tens of MiB where all are decisions."""
POLL_S = 0.25

Page = list[Record]
"""(position, type, body) of each event."""


class Signed(NamedTuple):
    """A size of a stream and the root that the log has signed for it."""

    size: int
    root: bytes


class Stream:
    """One stream as far as it was read. Every event is hashed into the tree, whose root says which log it was."""

    def __init__(self, name: str, log: Log, connection: Connection) -> None:
        self.name = name
        self.tree = Tree()
        self.signed: Signed | None = None
        """What the tree must come to on its way, where it has not passed it yet."""
        self.differs: str = ""
        """What is wrong with the root at the signed size; empty where nothing is."""
        self._log = log
        self.connection = connection

    async def last(self) -> int:
        """The last position that this log has, -1 for none."""
        if self._log is Log.AUDIT:
            return int(await self.connection.fetchval(SQL["audit_last"], self.name))
        return int(await self.connection.fetchval(SQL[f"{self.name}_last"]))

    async def expect_signed(self, last: int) -> None:
        """Holds the tree to the newest checkpoint of what is about to be read."""
        if self._log is Log.AUDIT:
            row = await self.connection.fetchrow(SQL["audit_checkpoint"], self.name, last + 1)
            if row is not None and row["size"] > self.tree.size:
                self.signed = Signed(row["size"], row["root"])

    async def wait_for(self, last: int, settle_s: float) -> None:
        """Until the log has the position. Raises `CannotReplay` when it has not in time."""
        until = asyncio.get_running_loop().time() + settle_s
        while (found := await self.last()) < last:
            if asyncio.get_running_loop().time() > until:
                missing = f"the {self._log} log of {self.name} ends at position {found}, and {last} was given"
                raise CannotReplay(f"{missing}: let audit catch up, or replay the outboxes with --log outbox")
            await asyncio.sleep(POLL_S)

    async def pages(self, last: int) -> AsyncIterator[Page]:
        """The events after those read before, up to position `last`. Raises `CannotReplay` at the first gap."""
        while self.tree.size <= last:
            page = await self._page(self.tree.size, min(PAGE_EVENTS, last + 1 - self.tree.size))
            expected = range(self.tree.size, self.tree.size + len(page))
            gap = next((at for at, row in zip(expected, page, strict=True) if row["position"] != at), None)
            if gap is not None or not page:
                at = self.tree.size if gap is None else gap
                raise CannotReplay(await self._why_not(at))
            self._grow([leaf_hash(row["body"]) for row in page])
            yield page

    async def _why_not(self, at: int) -> str:
        """Why the log has nothing at a position, and from where on a replay can begin."""
        if self._log is Log.AUDIT:
            first = await self.connection.fetchval(SQL["audit_first"], self.name, at)
            if first is not None:
                return (
                    f"the bodies of {self.name} below position {first:,} were dropped by retention: replay the outboxes"
                    f" with --log outbox, or begin with a snapshot (--from-snapshot) made at {first:,} or later"
                )
        return f"the {self._log} log of {self.name} has no event at position {at}"

    async def _page(self, start: int, limit: int) -> Page:
        if self._log is Log.AUDIT:
            return await self.connection.fetch(SQL["audit_page"], self.name, start, limit)
        return await self.connection.fetch(SQL[f"{self.name}_page"], start, limit)

    def _grow(self, hashes: list[bytes]) -> None:
        signed = self.signed
        if signed is not None and signed.size <= self.tree.size + len(hashes):
            reached = signed.size - self.tree.size
            self.tree.append(hashes[:reached])
            if self.tree.root() != signed.root:
                self.differs = f"root {self.tree.root().hex()} at size {signed.size}, signed {signed.root.hex()}"
            self.signed, hashes = None, hashes[reached:]
        self.tree.append(hashes)


async def each(pages: AsyncIterator[Page], work: Callable[[Page], Awaitable[None]]) -> None:
    """Gives every page to `work` while the next one is read."""
    ahead = asyncio.ensure_future(anext(pages, None))
    try:
        while (page := await ahead) is not None:
            ahead = asyncio.ensure_future(anext(pages, None))
            await work(page)
    finally:
        ahead.cancel()
        await asyncio.wait([ahead])  # its statement is over before anybody uses the connection again
