"""Rotation of the keys that wrap: a new version, everything wrapped again, old versions dropped.

    rotate    the key file gets a new version, which wraps new keys from now on
    rewrap    every key under an older version is wrapped under the new one, a part at a time; it goes on where it ended
    drop      an older version under which nothing is wrapped leaves the file: what an old backup of the database of
              keys holds can't be opened any more, the keys of those who were erased since among it

`vault` needs the rights of the owner of the database of keys.
"""

from collections.abc import Callable
from pathlib import Path

from amana.infra.key_file import KeyFile
from amana.infra.postgres import Connection
from amana.infra.sealing import SealBroken
from amana.vault.vault import SQL, KeysUnavailable, Vault, wrapping

REWRAP_AT_ONCE = 500


async def rotate(vault: Vault, path: Path) -> KeyFile:
    """The key file with a new current version, which is on the disk. Raises `KeysUnavailable`."""
    rotated = vault.file().rotated()
    async with vault.connection() as connection:
        await connection.execute(SQL["insert_kek"], rotated.current)
    rotated.write(path)
    return rotated


async def rewrap(vault: Vault, at: Callable[[int], None]) -> int:
    """Wraps again what is under an older version; how many keys. `at` hears how many so far. Raises
    `KeysUnavailable`."""
    file = vault.file()
    count = 0
    for version in file.versions:
        while version != file.current and (done := await _rewrap_some(vault, file, version)):
            count += done
            at(count)
    return count


async def drop(vault: Vault, path: Path) -> list[int]:
    """Drops every version but the current one, under which nothing is wrapped; which were dropped.

    Raises `KeysUnavailable`.
    """
    file = vault.file()
    dropped: list[int] = []
    for version in file.versions:
        if version != file.current and await _drop(vault, version):
            file = file.without(version)
            file.write(path)
            dropped.append(version)
    return dropped


async def _rewrap_some(vault: Vault, file: KeyFile, version: int) -> int:
    old, new = file.kek(version), file.kek(file.current)
    assert old is not None, "a version of the file"
    assert new is not None, "a key file has its current version"
    done: list[int] = []

    async def work(connection: Connection) -> None:
        rows = await connection.fetch(SQL["wrapped_under"], version, REWRAP_AT_ONCE)
        wrapped = []
        for row in rows:
            key = row["tenant"], row["customer"]
            try:
                opened = old.open(row["wrapped"], wrapping(key, version))
            except SealBroken as error:
                raise KeysUnavailable(f"the key of customer {key[1]} of tenant {key[0]} does not open") from error
            wrapped.append(new.seal(opened, wrapping(key, file.current)))
        if rows:
            tenants, customers = [row["tenant"] for row in rows], [row["customer"] for row in rows]
            await connection.execute(SQL["insert_kek"], file.current)
            await connection.execute(SQL["rewrap_keys"], file.current, tenants, customers, wrapped)
        done.append(len(rows))

    await vault.transaction(work)
    return done[-1]


async def _drop(vault: Vault, version: int) -> bool:
    dropped: list[bool] = []

    async def work(connection: Connection) -> None:
        await connection.execute(SQL["insert_kek"], version)
        await connection.execute(SQL["lock_kek"], version)
        # A new statement: it sees what whoever held the version had wrapped under it.
        dropped.append(await connection.fetchval(SQL["drop_kek"], version) is not None)

    await vault.transaction(work)
    return dropped[-1]
