"""What the servers and databases of most tests can do without: they are thrown away, whatever happens to the machine."""

import os
import signal

import asyncpg

from amana.infra.embedded.postgres import Postgres
from amana.infra.migrate import MAINTENANCE_DATABASE, database_of, with_database


def spare_the_disk(server: Postgres) -> None:
    """Has PostgreSQL wait for no disk. Not for servers that a test kills or pauses, nor for one that it measures.

    What was written is still there after any process's death, only not after the machine's.
    """
    assert server.process is not None and server.process.pid is not None
    with (server.data / "postgresql.auto.conf").open("a") as file:
        file.write("fsync = off\n")
    os.kill(server.process.pid, signal.SIGHUP)


async def copy_database(template: str, dsn: str) -> None:
    """Makes the database that `dsn` names, with all that is in the one that `template` names; nobody may be there."""
    connection = await asyncpg.connect(with_database(dsn, MAINTENANCE_DATABASE))
    try:
        # Copying files is quicker than the log of every page, which is how it is done otherwise.
        await connection.execute(
            f'CREATE DATABASE "{database_of(dsn)}" TEMPLATE "{database_of(template)}" STRATEGY FILE_COPY'
        )
    finally:
        await connection.close()
