"""A TCP proxy before PostgreSQL that cuts a connection around its COMMIT, so that nobody can know what became of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum

from amana.infra.embedded.ports import LOOPBACK

CHUNK_BYTES = 65_536
COMMIT = b"COMMIT;"


class Cut(Enum):
    """When the connection that commits is cut."""

    BEFORE = "before PostgreSQL hears of it"
    AFTER = "after it was done, before the answer"


class Proxy:
    """`port` leads to PostgreSQL. `cut_next` arms it; `hang_up` and `take_up` end and begin service."""

    def __init__(self, target_port: int) -> None:
        self.port = 0
        self.cuts = 0
        self._target_port = target_port
        self._next: Cut | None = None
        self._stays_away = False
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._committing: asyncio.Event | None = None
        """Set by the answer that is to be dropped; it belongs to one connection."""

    @classmethod
    @asynccontextmanager
    async def before(cls, target_port: int) -> AsyncIterator["Proxy"]:
        """Takes connections until the end of the block."""
        proxy = cls(target_port)
        await proxy.take_up()
        try:
            yield proxy
        finally:
            proxy.hang_up()

    def cut_next(self, cut: Cut, *, stay_away: bool) -> None:
        """The next COMMIT is cut; with `stay_away` all other connections too, and none is taken until `take_up`."""
        self._next, self._stays_away = cut, stay_away

    async def take_up(self) -> None:
        """Takes connections (again), on the same port."""
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def hang_up(self) -> None:
        """Cuts every connection and takes no new one."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(LOOPBACK, self._target_port)
        ends = {writer, back}
        self._open |= ends
        committed = asyncio.Event()
        answering = asyncio.create_task(self._answer(there, writer, committed))
        with suppress(OSError):
            await self._ask(reader, back, committed)
        answering.cancel()
        for end in ends:
            end.transport.abort()
        self._open -= ends

    async def _ask(self, reader: asyncio.StreamReader, back: asyncio.StreamWriter, committed: asyncio.Event) -> None:
        """What the client sends, up to the COMMIT that is to be cut."""
        while chunk := await reader.read(CHUNK_BYTES):
            cut = self._next if COMMIT in chunk else None
            if cut is Cut.AFTER:
                self._committing = committed
            if cut is not Cut.BEFORE:
                back.write(chunk)
                await back.drain()
            if cut is not None:
                self._next = None
                if cut is Cut.AFTER:
                    await committed.wait()
                self.cuts += 1
                if self._stays_away:
                    self.hang_up()
                return

    async def _answer(
        self, there: asyncio.StreamReader, writer: asyncio.StreamWriter, committed: asyncio.Event
    ) -> None:
        """What PostgreSQL says, up to the answer that is to be dropped."""
        with suppress(OSError):
            while chunk := await there.read(CHUNK_BYTES):
                if self._committing is committed:
                    committed.set()
                    return
                writer.write(chunk)
                await writer.drain()
        writer.close()
