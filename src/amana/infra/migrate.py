"""Plain SQL migrations: `amana/migrations/<schema>/NNNN_name.sql`, applied in order, once, each in one transaction.

Each database keeps a journal, `public.schema_migrations`. An advisory lock makes two runners take turns. A file that
changed after it was applied, or that was applied and is no longer shipped, stops the run before anything is done to
that schema. Roles are made first, because the files grant them rights.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import asyncpg

from amana.infra.databases import LOCK_TIMEOUT_MS, connected
from amana.infra.mendable import Mendable
from amana.infra.postgres import Connection, DatabaseUnavailable
from amana.infra.roles import key_role_urls, role_urls
from amana.infra.settings import Settings
from amana.infra.sql import load_queries

MAIN_SCHEMAS = ("gateway", "eligibility", "transactions", "notifications")
AUDIT_SCHEMAS = ("audit",)
KEYS_SCHEMAS = ("vault",)
METRICS_SCHEMAS = ("timescale",)

_FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")


class MigrationError(Mendable):
    """The database and the shipped migrations do not fit, or a statement failed. The message names the file."""


class Migration(NamedTuple):
    """One file."""

    schema: str
    version: int
    name: str
    statements: str

    @property
    def label(self) -> str:
        """`transactions/0001_ledger`."""
        return f"{self.schema}/{self.version:04}_{self.name}"

    @property
    def sha256(self) -> str:
        """The checksum that the journal keeps."""
        return hashlib.sha256(self.statements.encode()).hexdigest()


async def migrate(settings: Settings, source: Traversable | None = None) -> list[str]:
    """Bring the databases up to date; the labels of the files applied now, in order. Keys' only where it is named.

    `source` is a folder of migrations other than the shipped one. Raises `MigrationError`, and `DatabaseUnavailable`
    when a server does not answer.
    """
    folder, roles = source or files("amana").joinpath("migrations"), role_urls(settings)
    of_keys: list[str] = []
    if settings.owner_keys_database_url:
        of_keys = await _migrate_one(settings.owner_keys_database_url, key_role_urls(settings), KEYS_SCHEMAS, folder)
    return [
        *await _migrate_one(settings.owner_database_url, roles, MAIN_SCHEMAS, folder),
        *await _migrate_one(settings.owner_audit_database_url, roles, AUDIT_SCHEMAS, folder),
        *of_keys,
    ]


async def migrate_metrics(settings: Settings, source: Traversable | None = None) -> list[str]:
    """The same for the metrics database, apart because nothing else may depend on it; nothing where none is set."""
    if not settings.owner_metrics_database_url:
        return []
    roles, folder = {"amana_metrics": settings.metrics_database_url}, source or files("amana").joinpath("migrations")
    return await _migrate_one(settings.owner_metrics_database_url, roles, METRICS_SCHEMAS, folder)


async def _migrate_one(dsn: str, roles: Mapping[str, str], schemas: Sequence[str], folder: Traversable) -> list[str]:
    applied: list[str] = []
    async with _locked(dsn) as connection:
        await _ensure_roles(connection, roles)
        for schema in schemas:
            applied += await _migrate_schema(connection, schema, load_migrations(folder, schema))
    return applied


def load_migrations(folder: Traversable, schema: str) -> list[Migration]:
    """The files of one schema by version; an absent folder has none. `MigrationError` for a bad or doubled name."""
    place = folder.joinpath(schema)
    if not place.is_dir():
        return []
    found: dict[int, Migration] = {}
    for file in place.iterdir():
        if not file.name.endswith(".sql"):
            continue
        match = _FILE_NAME.fullmatch(file.name)
        if match is None:
            raise MigrationError(f"{schema}/{file.name} is not named NNNN_name.sql")
        migration = Migration(schema, int(match[1]), match[2], file.read_text(encoding="utf-8"))
        if migration.version in found:
            raise MigrationError(f"{migration.label} and {found[migration.version].label} have the same number")
        found[migration.version] = migration
    return [found[version] for version in sorted(found)]


@asynccontextmanager
async def _locked(dsn: str) -> AsyncIterator[Connection]:
    """A connection that alone may migrate its database, with the journal in place."""
    async with connected(dsn) as connection:
        try:
            await connection.execute(_sql("lock"))
        except asyncpg.LockNotAvailableError as error:
            waited_s = LOCK_TIMEOUT_MS // 1000
            raise MigrationError(f"another migration has been running for {waited_s} s; try again later") from error
        await connection.execute(_sql("create_journal"))
        yield connection


async def _ensure_roles(connection: Connection, urls: Mapping[str, str]) -> None:
    """Each role exists and its DSN's password works. Roles that are right already are not touched."""
    for role, dsn in urls.items():
        parts = urlsplit(dsn)
        password = unquote(parts.password) if parts.username == role and parts.password else None
        exists = await connection.fetchval(_sql("role_exists"), role)
        if exists and (password is None or await _can_log_in(dsn)):
            continue
        statement = await connection.fetchval(_sql("role_statement"), role, password)
        try:
            await connection.execute(statement)
        except asyncpg.InsufficientPrivilegeError as error:
            raise MigrationError(
                f"role {role} is absent or has another password, and the owner can't set it"
            ) from error


async def _can_log_in(dsn: str) -> bool:
    try:
        async with connected(dsn):
            return True
    except DatabaseUnavailable:
        return False


async def _migrate_schema(connection: Connection, schema: str, shipped: Sequence[Migration]) -> list[str]:
    """Apply what the journal does not have yet; the labels."""
    done = await _check_journal(connection, schema, shipped)
    waiting = [migration for migration in shipped if migration.version not in done]
    await connection.execute(await connection.fetchval(_sql("schema_statement"), schema))
    for migration in waiting:
        await _apply(connection, migration)
    return [migration.label for migration in waiting]


async def _check_journal(connection: Connection, schema: str, shipped: Sequence[Migration]) -> set[int]:
    """The versions applied already. `MigrationError` where one differs from what is shipped."""
    by_version = {migration.version: migration for migration in shipped}
    rows = await connection.fetch(_sql("list_applied"), schema)
    for row in rows:
        label = f"{schema}/{row['version']:04}_{row['name']}"
        migration = by_version.get(row["version"])
        if migration is None:
            raise MigrationError(f"{label} was applied and is not shipped: the database is newer than this program")
        if migration.sha256 != row["sha256"]:
            raise MigrationError(f"{label} was changed after it was applied; put it back and add a new file instead")
    done = {row["version"] for row in rows}
    highest = max(done, default=0)
    for migration in shipped:
        if migration.version < highest and migration.version not in done:
            raise MigrationError(f"{migration.label} comes before what is applied already; give it a higher number")
    return done


async def _apply(connection: Connection, migration: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(migration.statements)
            await connection.execute(
                _sql("insert_applied"), migration.schema, migration.version, migration.name, migration.sha256
            )
    except asyncpg.PostgresError as error:
        raise MigrationError(f"{migration.label} failed and changed nothing: {error}") from error


@cache
def _sql(name: str) -> str:
    return load_queries("amana.infra", "migrate.sql")[name]
