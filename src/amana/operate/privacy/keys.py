"""`amana privacy rotate-keys` and `rewrap-keys`, with the rights of the owner of the database of keys."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from amana.infra.settings import Settings
from amana.operate.privacy.encrypting_notes import refuse_while_waiting
from amana.vault.rotation import drop, rewrap, rotate
from amana.vault.vault import Vault


async def rotate_keys(settings: Settings) -> list[str]:
    """Puts a new version into the key file; what to say. Raises `DatabaseUnavailable`."""
    async with _owned(settings) as vault:
        file = await rotate(vault, Path(settings.privacy_key_file))
    return [
        f"version {file.current} of the key file wraps new keys from now on",
        "bring the file to every host that has it, keep it apart from backups, then: amana privacy rewrap-keys",
    ]


async def rewrap_keys(settings: Settings, say: Callable[[str], None], *, drop_old: bool) -> list[str]:
    """Wraps everything under the newest version; what to say. Raises `DatabaseUnavailable`."""
    async with _owned(settings) as vault:
        count = await rewrap(vault, lambda so_far: say(f"{so_far} keys wrapped again"))
        if drop_old:
            await refuse_while_waiting(settings, vault.file().current)
        dropped = await drop(vault, Path(settings.privacy_key_file)) if drop_old else []
        current = vault.file().current
    lines = [f"{count} keys wrapped again; every key is wrapped under version {current}"]
    if dropped:
        lines.append(f"dropped: {', '.join(str(version) for version in dropped)}")
        lines.append("older backups of the database of keys can't be opened any more: make a new one")
    return lines


@asynccontextmanager
async def _owned(settings: Settings) -> AsyncIterator[Vault]:
    vault = Vault(settings.owner_keys_database_url, settings.privacy_key_file)
    try:
        yield vault
    finally:
        await vault.close()
