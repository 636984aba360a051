"""The keys of customers: found, made and destroyed, in a database that no backup of their data holds.

    key file  →  opens wrapped keys  →  a key a customer  →  opens what is sealed of that customer

A service without a key file or without this database goes on: what needs a key is `KeysUnavailable`, which is a 503,
and works again when both are there. Opened keys are kept in memory for `KEPT_S` at most, and for `KEPT_MAX` customers.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar
from uuid import UUID

from amana.infra.breaker import Backoff, Breaker
from amana.infra.key_file import KeyFile, KeyFileError, read_key_file
from amana.infra.postgres import Connection, DatabaseUnavailable, Pool, in_transaction, open_pool, reading
from amana.infra.sealing import SealBroken, SealingKey, new_key
from amana.infra.settings import Settings
from amana.infra.sql import load_queries

POOL_CONNECTIONS = 4
KEPT_MAX = 100_000
"""Opened keys in memory, some 500 bytes each: their 32 bytes, for a ready cipher would take 2,800."""
KEPT_S = 60.0
LOOK_UP_S = 1.0
"""For reading keys: checks wait for it. After a failure nobody asks again for up to `PAUSE_MAX_S`."""
WRITE_S = 10.0
PAUSE_MAX_S = 1.0
ENSURE_ATTEMPTS = 2
"""The second one after a version of the key file was dropped and the file read again."""

SQL = load_queries("amana.vault")

Key: TypeAlias = tuple[int, UUID]
"""(tenant, customer)."""
T = TypeVar("T")


class KeysUnavailable(DatabaseUnavailable):
    """No key can be had now: the database of keys does not answer, or the key file is absent or too old."""


class Standing(NamedTuple):
    """A customer's key, None where it is not there; whether it was destroyed; whether it is to be, or was."""

    key: SealingKey | None
    erased: bool
    restricted: bool


class Vault:
    """`dsn` is of a role that may use schema `vault`; both may be empty. Where `all_held` no key is destroyed."""

    def __init__(self, dsn: str, path: str, *, all_held: bool = False) -> None:
        self._dsn, self._path, self._all_held = dsn, path, all_held
        self._pool: Pool | None = None
        self._opening = asyncio.Lock()
        self._breaker = Breaker(Backoff(max_s=PAUSE_MAX_S))
        self._file: KeyFile | None = None
        self._stamp: tuple[int, ...] = ()
        self._kept: OrderedDict[Key, tuple[float, bytes]] = OrderedDict()

    @classmethod
    def of(cls, settings: Settings) -> "Vault":
        """The vault of these settings, as eligibility sees it."""
        return cls(settings.keys_database_url, settings.privacy_key_file, all_held=bool(settings.legal_hold))

    @classmethod
    def of_ledger(cls, settings: Settings) -> "Vault":
        """The same as transactions sees it."""
        return cls(settings.transactions_keys_database_url, settings.privacy_key_file)

    async def pool(self) -> Pool:
        """The pool, opened on first use. Raises `DatabaseUnavailable`; the next call tries again."""
        if not self._dsn:
            raise KeysUnavailable("no database of keys: AMANA_KEYS_DATABASE_URL is not set")
        async with self._opening:
            if self._pool is None:
                self._pool = await open_pool(self._dsn, "vault", POOL_CONNECTIONS)
            return self._pool

    async def close(self) -> None:
        """Closes the pool, if it was ever opened, and forgets every key."""
        self._kept.clear()
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.close()

    def forget(self, key: Key) -> None:
        """Drops an opened key from memory."""
        self._kept.pop(key, None)

    def kept(self, wanted: Collection[Key]) -> dict[Key, SealingKey | None]:
        """Those of the keys that are in memory."""
        return {key: kept for key in wanted if (kept := self._recall(key)) is not None}

    async def keys(self, wanted: Collection[Key]) -> dict[Key, SealingKey | None]:
        """The keys of customers, None where it was destroyed; who never had one is not in the answer. No round trip
        where all are in memory, else one. Raises `KeysUnavailable`."""
        found = self.kept(wanted)
        missing = [key for key in wanted if key not in found]
        if not missing:
            return found
        async with self.connection() as connection:
            rows = await connection.fetch(SQL["find_keys"], *_columns(missing))
        file = self.file() if any(row["wrapped"] is not None for row in rows) else None
        for row in rows:
            key, wrapped = (row["tenant"], row["customer"]), row["wrapped"]
            found[key] = None if wrapped is None or file is None else self._opened(file, key, row["kek"], wrapped)
        return found

    async def standings(self, wanted: Collection[Key]) -> dict[Key, Standing]:
        """How customers stand now, whatever is in memory: for who reads what was sealed. One round trip. Raises
        `KeysUnavailable`."""
        if not wanted:
            return {}
        async with self.connection() as connection:
            rows = await connection.fetch(SQL["find_standings"], *_columns(wanted))
        found = {}
        for row in rows:
            where = row["tenant"], row["customer"]
            key = None if row["wrapped"] is None else self._opened(self.file(), where, row["kek"], row["wrapped"])
            found[where] = Standing(key, row["destroyed"], row["to_be_erased"])
        return found

    async def ensure(self, wanted: Collection[Key]) -> dict[Key, SealingKey | None]:
        """As `keys`, made for those who never had one. Raises `KeysUnavailable`."""
        found = await self.keys(wanted)
        for _ in range(ENSURE_ATTEMPTS):
            missing = sorted(key for key in wanted if key not in found)
            if not missing:
                return found
            await self._make(missing)
            found |= await self.keys(missing)
        if any(key not in found for key in wanted):
            raise KeysUnavailable("the key file's current version was dropped: bring the new file here")
        return found

    async def is_held(self, tenant: int, customer: UUID) -> bool:
        """Whether a legal hold keeps the customer from being erased. Raises `KeysUnavailable`."""
        async with self.connection() as connection:
            return bool(await connection.fetchval(SQL["is_kept"], tenant, customer, self._all_held))

    async def destroy(self, tenant: int, customer: UUID) -> bool:
        """Destroys the customer's key and forgets their numbers, for good; again it changes nothing. False, and nothing
        is done, while a legal hold keeps the key. Raises `KeysUnavailable`."""

        async def work(connection: Connection) -> bool:
            await connection.execute(SQL["lock_customer"], tenant, customer)
            if await connection.fetchval(SQL["is_kept"], tenant, customer, self._all_held):
                return False
            locked = await connection.fetch(SQL["lock_numbers"], tenant, customer)
            await connection.execute(SQL["delete_uses"], tenant, customer)
            numbers = [row["kind"] for row in locked], [row["hidden"] for row in locked]
            await connection.execute(SQL["delete_numbers"], tenant, *numbers)
            await connection.execute(SQL["destroy_key"], tenant, customer)
            await connection.execute(SQL["end_erasure"], tenant, customer)
            return True

        self.forget((tenant, customer))
        destroyed = await self.transaction(work)
        self.forget((tenant, customer))
        return destroyed

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for statements outside a transaction. Raises `KeysUnavailable`."""
        async with self._answering(LOOK_UP_S), reading(await self.pool()) as connection:
            yield connection

    async def transaction(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Runs `work`, which may be run again, in one transaction. Raises `KeysUnavailable`."""
        async with self._answering(WRITE_S):
            return await in_transaction(await self.pool(), work)

    @asynccontextmanager
    async def _answering(self, timeout_s: float) -> AsyncIterator[None]:
        """A database that does not answer is asked again a little later, so that nobody queues up behind it."""
        if self._breaker.wait_s() > 0:
            raise KeysUnavailable("the database of keys did not answer a moment ago")
        try:
            async with asyncio.timeout(timeout_s):
                yield
        except KeysUnavailable:
            raise
        except (DatabaseUnavailable, TimeoutError) as error:
            self._breaker.failed()
            raise KeysUnavailable(f"the database of keys: {str(error) or 'no answer'}") from error
        self._breaker.worked()

    def file(self) -> KeyFile:
        """The key file as it is now on the disk. Raises `KeysUnavailable`."""
        if not self._path:
            raise KeysUnavailable("no key file: AMANA_PRIVACY_KEY_FILE is not set")
        path = Path(self._path)
        try:
            seen = path.stat()
            stamp = (seen.st_ino, seen.st_mtime_ns, seen.st_size)
            if self._file is None or stamp != self._stamp:
                self._file, self._stamp = read_key_file(path), stamp
        except OSError as error:
            raise KeysUnavailable(f"the key file {path} can't be read: {error.strerror}") from error
        except KeyFileError as error:
            raise KeysUnavailable(str(error)) from error
        return self._file

    async def _make(self, missing: list[Key]) -> None:
        file = self.file()
        kek = file.kek(file.current)
        assert kek is not None, "a key file has its current version"
        wrapped = [kek.seal(new_key(), wrapping(key, file.current)) for key in missing]

        async def work(connection: Connection) -> None:
            await connection.execute(SQL["insert_kek"], file.current)
            tenants, customers = _columns(missing)
            await connection.execute(SQL["insert_keys"], tenants, customers, file.current, wrapped)

        await self.transaction(work)

    def _opened(self, file: KeyFile, key: Key, version: int, wrapped: bytes) -> SealingKey:
        kek = file.kek(version)
        if kek is None:
            raise KeysUnavailable(f"the key file has no version {version}, under which keys are wrapped")
        try:
            opened = kek.open(wrapped, wrapping(key, version))
        except SealBroken as error:
            raise KeysUnavailable("a customer's key does not open: another key file, or changed bytes") from error
        self._kept[key] = time.monotonic() + KEPT_S, opened
        self._kept.move_to_end(key)
        while len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)
        return SealingKey(opened)

    def _recall(self, key: Key) -> SealingKey | None:
        until_s, opened = self._kept.get(key, (0.0, b""))
        return SealingKey(opened) if time.monotonic() < until_s else None


def wrapping(key: Key, version: int) -> bytes:
    """The place that a wrapped key is bound to."""
    return f"amana/key/{key[0]}/{key[1]}/{version}".encode()


def _columns(keys: Iterable[Key]) -> tuple[list[int], list[UUID]]:
    listed = list(keys)
    return [tenant for tenant, _ in listed], [customer for _, customer in listed]
