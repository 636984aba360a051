"""The events of a stream in the order of their positions, wherever they are read from."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from amana.audit.merkle import Tree, leaf_hash
from amana.operate.replay.options import CannotReplay
from amana.operate.replay.sources import Event, Signed, Source

PAGE_EVENTS = 5_000
"""Events in hand at a time: tens of MiB where all are decisions."""
POLL_S = 0.25

Page = Sequence[Event]


class Stream:
    """One stream as far as it was read. Every event is hashed into the tree, whose root says which log it was."""

    def __init__(self, source: Source) -> None:
        self.name = source.stream
        self.source = source
        self.tree = Tree()
        self.differs: str = ""
        """What is wrong with the root at a signed size; empty where nothing is."""
        self._signed: list[Signed] = []
        """What the tree must come to on its way, the next one first."""

    async def last(self) -> int:
        """The last position that its source has, -1 for none."""
        return await self.source.last()

    async def expect_signed(self, last: int) -> None:
        """Holds the tree to what was signed of what is about to be read."""
        self._signed = [each for each in await self.source.signed(last + 1) if each.size > self.tree.size]

    async def wait_for(self, last: int, settle_s: float) -> None:
        """Until its source has the position. Raises `CannotReplay` when it has not in time."""
        until = asyncio.get_running_loop().time() + settle_s
        while (found := await self.last()) < last:
            if asyncio.get_running_loop().time() > until:
                missing = f"the {self.source.place} of {self.name} ends at position {found}, and {last} was given"
                raise CannotReplay(f"{missing}: {self.source.advice}")
            await asyncio.sleep(POLL_S)

    async def confirm(self) -> None:
        """Reads on to what was signed next, where something was: it vouches for all that was read before."""
        if self._signed:
            tree, self.tree = self.tree, self.tree.copy()
            async for _ in self.pages(self._signed[0].size - 1):
                pass
            self.tree = tree

    def go_on_with(self, source: Source) -> None:
        """What comes after what was read is read from elsewhere."""
        self.source, self._signed = source, []

    async def pages(self, last: int) -> AsyncIterator[Page]:
        """The events after those read before, up to position `last`. Raises `CannotReplay` at the first gap."""
        while self.tree.size <= last:
            page = await self.source.page(self.tree.size, min(PAGE_EVENTS, last + 1 - self.tree.size))
            expected = range(self.tree.size, self.tree.size + len(page))
            gap = next((at for at, event in zip(expected, page, strict=True) if event.position != at), None)
            if gap is not None or not page:
                at = self.tree.size if gap is None else gap
                raise CannotReplay(f"the {self.source.place} of {self.name} has no event at position {at}")
            self._grow([leaf_hash(event.body) for event in page])
            yield page

    def _grow(self, hashes: list[bytes]) -> None:
        while self._signed and self._signed[0].size <= self.tree.size + len(hashes):
            signed = self._signed.pop(0)
            reached = signed.size - self.tree.size
            self.tree.append(hashes[:reached])
            hashes = hashes[reached:]
            if self.tree.root() != signed.root and not self.differs:
                self.differs = f"root {self.tree.root().hex()} at size {signed.size}, signed {signed.root.hex()}"
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
