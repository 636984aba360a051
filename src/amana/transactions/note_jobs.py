"""What runs by itself for notes: those that waited get their owners' seals, and those of who is erased are taken out.

The vault knows who is erased. Whoever was within the last `AGAIN_S` is looked at every second, because a transfer that
was under way may come after; and everybody at the start and every five minutes, because the main database may have been
restored from a backup. Each step may be done twice, by any number of processes.
"""

import asyncio
import time
from uuid import UUID

from amana.domain.transfer import Key
from amana.infra.postgres import DatabaseUnavailable, Pool, reading
from amana.infra.sealing import SealBroken
from amana.infra.telemetry import logger
from amana.transactions import note_store
from amana.transactions.note_store import Waiting
from amana.transactions.notes import open_waiting, seal_for
from amana.vault.remembered import page_destroyed
from amana.vault.vault import Vault

TURN_EVERY_S = 1.0
AGAIN_S = 180.0
"""Longer than a process remembers a key, and a transfer that was sealed with it is under way."""
EVERYBODY_EVERY_S = 300.0
EVER_S = 1e9
AT_ONCE = 500
"""Notes, or customers, in one statement."""

_log = logger(__name__)


class NoteKeeper:
    """Keeps notes as they should be. `pool` is of the ledger."""

    def __init__(self, vault: Vault, pool: Pool, shards: int) -> None:
        self.vault = vault
        self._pool = pool
        self._shards = shards

    async def erase(self, within_s: float = EVER_S) -> int:
        """Takes out what was said about who was erased within the last seconds; how many notes. Raises
        `DatabaseUnavailable`, also where the vault does not answer."""
        count, after = 0, (0, UUID(int=0))
        while page := await page_destroyed(self.vault, after, within_s, AT_ONCE):
            count += await self._erase(page)
            after = page[-1]
        return count

    async def reseal(self) -> int:
        """Seals what waited under its owners' keys; how many notes. Raises as `erase`."""
        count, after = 0, (-1, 0, UUID(int=0))
        while page := await self._waiting(after):
            keys = await self.vault.ensure({owner for one in page for owner in one.owners.of(one.transfer[0])})
            resealed: list[tuple[Waiting, bytes | None]] = []
            for one in page:
                owners = one.owners.of(one.transfer[0])
                if any(keys[owner] is None for owner in owners):
                    resealed.append((one, None))
                elif (content := self._opened(one)) is not None:
                    resealed.append((one, seal_for(keys, one.transfer, owners, content)))
            async with reading(self._pool) as connection:
                await note_store.reseal_notes(connection, resealed)
            count += len(resealed)
            after = (page[-1].shard, *page[-1].transfer)
        return count

    async def _erase(self, customers: list[Key]) -> int:
        count = 0
        while True:
            async with reading(self._pool) as connection:
                done = await note_store.erase_notes(connection, customers, self._shards, AT_ONCE)
            count += done
            if done < AT_ONCE:
                return count

    async def _waiting(self, after: tuple[int, int, UUID]) -> list[Waiting]:
        async with reading(self._pool) as connection:
            return await note_store.page_waiting(connection, after, AT_ONCE)

    def _opened(self, waiting: Waiting) -> bytes | None:
        """What waits; None, and logged, where it can't be opened: it is left as it is."""
        try:
            return open_waiting(self.vault.file(), waiting.kek, waiting.transfer, waiting.sealed)
        except SealBroken as error:
            _log.error("notes that wait do not open", transfer=str(waiting.transfer[1]), error=str(error))
            return None


async def keep_notes(keeper: NoteKeeper) -> None:
    """Until cancelled. A database or vault that is away is tried again at the next turn."""
    last_s = -EVERYBODY_EVERY_S
    while True:
        try:
            await keeper.vault.pool()
            now_s = time.monotonic()
            everybody = now_s - last_s >= EVERYBODY_EVERY_S
            await keeper.erase(EVER_S if everybody else AGAIN_S)
            last_s = now_s if everybody else last_s
            await keeper.reseal()
        except DatabaseUnavailable as error:
            _log.debug("notes not looked after", error=type(error).__name__, detail=str(error))
        except Exception as error:
            _log.error("notes not looked after", exc_info=error)
        await asyncio.sleep(TURN_EVERY_S)
