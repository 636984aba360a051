"""What it takes to seal notes, found before their batch begins: whose the accounts are, and the owners' keys.

An account's owner never changes, so it is kept in memory, as keys are by the vault. Where all is in memory nothing is
waited for; else units that say something wait together for at most one statement and one look-up of keys. Where the
vault does not answer within `KEYS_WITHIN_S` they go on without: see `notes`.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection
from typing import TypeAlias

from amana.domain.transfer import Key
from amana.infra.breaker import Backoff, Breaker
from amana.infra.collector import Collector
from amana.infra.postgres import Pool, reading
from amana.infra.sealing import SealingKey
from amana.infra.telemetry import logger
from amana.transactions import note_store
from amana.transactions.notes import Seals
from amana.vault.vault import KeysUnavailable, Vault

OWNERS_MAX = 100_000
"""Owners of accounts in memory, some 250 bytes each."""
KEYS_WITHIN_S = 0.25
"""For the keys of a batch; then its notes wait for them, and the money does not."""
PAUSE_MAX_S = 1.0
"""After a failure nobody waits for the vault for so long."""
UNITS_MAX = 500
LOOK_UPS_IN_FLIGHT = 2
QUEUE_MAX = 4_000

_log = logger(__name__)

Accounts: TypeAlias = frozenset[Key]


class NoteKeys:
    """See the module. `pool` is only read from."""

    def __init__(self, vault: Vault, pool: Pool, shards: int) -> None:
        self.vault = vault
        self._pool = pool
        self._shards = shards
        self._owners: OrderedDict[Key, Key] = OrderedDict()
        self._breaker = Breaker(Backoff(max_s=PAUSE_MAX_S))
        self._look_ups: Collector[Accounts, Seals] = Collector(
            self._find, batch_max=UNITS_MAX, batches_in_flight=LOOK_UPS_IN_FLIGHT, queue_max=QUEUE_MAX
        )

    def at_hand(self, accounts: Collection[Key]) -> Seals | None:
        """What it takes, from memory; None where something must be looked up. Raises `KeysUnavailable` without a key
        file: then nothing can be sealed."""
        file = self.vault.file()
        if any(account not in self._owners for account in accounts):
            return None
        owners = {self._owners[account] for account in accounts}
        keys = self.vault.kept(owners)
        return Seals(file, keys) if len(keys) == len(owners) else None

    async def find(self, accounts: Collection[Key]) -> Seals:
        """What it takes, as far as it can be had. Raises `KeysUnavailable` as `at_hand`, and `DatabaseUnavailable`."""
        return await self._look_ups.submit(frozenset(accounts))

    async def drain(self) -> None:
        """Waits for what is queued: for a clean stop."""
        await self._look_ups.drain()

    async def _find(self, wanted: list[Accounts]) -> list[Seals | Exception]:
        accounts = frozenset().union(*wanted)
        if unknown := [account for account in accounts if account not in self._owners]:
            async with reading(self._pool) as connection:
                self._owners |= await note_store.find_owners(connection, unknown, self._shards)
        owners = {owner for account in accounts if (owner := self._owners.get(account)) is not None}
        while len(self._owners) > OWNERS_MAX:
            self._owners.popitem(last=False)
        seals = Seals(self.vault.file(), await self._keys(owners))
        return [seals] * len(wanted)

    async def _keys(self, owners: Collection[Key]) -> dict[Key, SealingKey | None]:
        if self._breaker.wait_s() > 0:
            return self.vault.kept(owners)
        try:
            async with asyncio.timeout(KEYS_WITHIN_S):
                keys = await self.vault.ensure(owners)
        except (KeysUnavailable, TimeoutError) as error:
            self._breaker.failed()
            _log.warning("notes wait for their owners' keys", error=str(error) or "no answer")
            return self.vault.kept(owners)
        self._breaker.worked()
        return keys
