"""What makes databases cheap that nobody wants to keep."""

import asyncio
import os
import signal

import asyncpg

from amana.infra.databases import MAINTENANCE_DATABASE, database_of, with_database
from amana.operate.stack import Stack

LOOK_EVERY_S, LOOKS_MAX = 0.01, 500


async def wait_for_disk(stack: Stack, wait: bool) -> None:
    """Has the PostgreSQL of a stack wait for its disk, or not; one that was given by URL is left as it is.

    Without, what was written is still there after the death of any process, only not after the machine's. Not for a
    server that a test kills or measures.
    """
    if stack.postgres is None:
        return
    assert stack.postgres.process is not None and stack.postgres.process.pid is not None
    value = "on" if wait else "off"
    (stack.postgres.data / "postgresql.auto.conf").write_text(f"fsync = {value}\n")
    os.kill(stack.postgres.process.pid, signal.SIGHUP)
    connection = await asyncpg.connect(stack.settings.owner_database_url)
    try:
        for _ in range(LOOKS_MAX):
            if await connection.fetchval("SHOW fsync") == value:
                return
            await asyncio.sleep(LOOK_EVERY_S)
    finally:
        await connection.close()
    raise AssertionError("PostgreSQL never read its configuration again")


async def copy_database(template: str, dsn: str) -> None:
    """Makes the database that `dsn` names, with all that is in the one that `template` names; nobody may be there."""
    connection = await asyncpg.connect(with_database(dsn, MAINTENANCE_DATABASE))
    try:
        # Copying files is quicker than the log of every page, which is how it is done otherwise.
        statement = f'CREATE DATABASE "{database_of(dsn)}" TEMPLATE "{database_of(template)}" STRATEGY FILE_COPY'
        for _ in range(LOOKS_MAX):
            try:
                await connection.execute(statement)
            except asyncpg.ObjectInUseError:  # a worker of an extension looks into every database now and then
                await asyncio.sleep(LOOK_EVERY_S)
            else:
                return
    finally:
        await connection.close()
    raise AssertionError(f"somebody never leaves {database_of(template)}")
