"""Every statement in every `.sql` file fits the migrated schema, and its role may run it.

Each is planned (`EXPLAIN`, with parameters left open) as the role that runs it, with the search_path of its service:
that catches misspelt columns, wrong types and absent grants, without running anything.
"""

from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import asyncpg
import pytest
from tests.style.source import SRC, sql_files

from amana.infra.settings import Settings
from amana.infra.sql import load_queries


class Use(NamedTuple):
    """Where the statements of a file run: as whom (the setting with the URL), and in which schema."""

    file: str
    url: str
    schema: str
    only: str = ""
    """A part of the names of the blocks that run there; empty for all."""
    first: str = ""
    """A part of the names of blocks of the same file that make tables of their own for the others."""


USES = (
    Use("audit/index.sql", "audit_database_url", "audit"),
    Use("audit/irregularities.sql", "audit_database_url", "audit"),
    Use("audit/metrics/leaves.sql", "audit_database_url", "audit"),
    Use("audit/metrics/queries.sql", "metrics_database_url", "timescale"),
    Use("audit/queries.sql", "audit_database_url", "audit"),
    Use("audit/rebuild.sql", "owner_audit_database_url", "audit"),
    Use("audit/retention.sql", "owner_audit_database_url", "audit"),
    Use("bench/audit.sql", "owner_audit_database_url", "audit"),
    Use("bench/queries.sql", "owner_database_url", "public"),
    Use("bench/naive.sql", "owner_database_url", "pg_temp", first="make_"),
    Use("eligibility/policies.sql", "eligibility_database_url", "eligibility"),
    Use("eligibility/customers.sql", "eligibility_database_url", "eligibility"),
    Use("eligibility/privacy.sql", "eligibility_database_url", "eligibility"),
    Use("eligibility/projection.sql", "eligibility_database_url", "eligibility"),
    Use("eligibility/queries.sql", "eligibility_database_url", "eligibility"),
    Use("eligibility/reversals.sql", "eligibility_database_url", "eligibility"),
    Use("eligibility/reviews.sql", "eligibility_database_url", "eligibility"),
    Use("gateway/queries.sql", "eligibility_database_url", "gateway", "find_key"),
    Use("gateway/queries.sql", "transactions_database_url", "gateway", "find_key"),
    Use("gateway/queries.sql", "gateway_database_url", "gateway", "find_key"),
    Use("gateway/queries.sql", "owner_database_url", "gateway"),
    Use("infra/connection.sql", "transactions_database_url", "transactions"),
    Use("infra/consuming/queries.sql", "notifications_database_url", "notifications"),
    Use("infra/embedded/postgres.sql", "owner_database_url", "public"),
    Use("infra/latencies.sql", "metrics_database_url", "timescale"),
    Use("infra/lazy_pool.sql", "metrics_database_url", "timescale"),
    Use("infra/databases.sql", "owner_database_url", "public"),
    Use("infra/migrate.sql", "owner_database_url", "public"),
    Use("infra/outbox.sql", "eligibility_database_url", "eligibility"),
    Use("infra/outbox.sql", "transactions_database_url", "transactions"),
    Use("infra/outbox.sql", "notifications_database_url", "notifications"),
    Use("infra/relay.sql", "relay_database_url", "eligibility"),
    Use("infra/relay.sql", "relay_database_url", "transactions"),
    Use("infra/relay.sql", "relay_database_url", "notifications"),
    Use("operate/privacy/encrypt.sql", "owner_database_url", "eligibility"),
    Use("operate/privacy/encrypt_notes.sql", "owner_database_url", "transactions"),
    Use("operate/metrics.sql", "owner_metrics_database_url", "timescale"),
    Use("notifications/queries.sql", "notifications_database_url", "notifications"),
    Use("operate/prequalify/prequalify.sql", "eligibility_database_url", "eligibility"),
    Use("operate/replay/live.sql", "owner_database_url", "public"),
    Use("operate/replay/log.sql", "owner_database_url", "public"),
    Use("operate/replay/log.sql", "owner_audit_database_url", "public"),
    Use("operate/replay/past.sql", "owner_database_url", "public"),
    Use("operate/replay/scratch.sql", "owner_database_url", "public", first="make_"),
    Use("operate/reconcile.sql", "owner_database_url", "public", first="make_"),
    Use("operate/reconcile.sql", "owner_audit_database_url", "public"),
    Use("operate/streams/prune.sql", "owner_database_url", "eligibility"),
    Use("operate/streams/prune.sql", "owner_database_url", "transactions"),
    Use("operate/streams/prune.sql", "owner_database_url", "notifications"),
    Use("operate/streams/retire.sql", "owner_database_url", "eligibility"),
    Use("operate/streams/retire.sql", "owner_database_url", "notifications"),
    Use("vault/queries.sql", "owner_keys_database_url", "vault"),
    Use("transactions/notes.sql", "transactions_database_url", "transactions"),
    Use("transactions/queries.sql", "transactions_database_url", "transactions"),
    Use("transactions/undoing.sql", "transactions_database_url", "transactions"),
)
EITHER = {"operate/reconcile.sql", "operate/replay/log.sql"}
"""Files whose statements each run in one of the places, not in all."""
NOT_PLANNED = (
    *("ANALYZE", "CREATE TABLE", "CREATE UNLOGGED TABLE", "CREATE TEMP TABLE", "CREATE FUNCTION", "ALTER TABLE"),
    *("TRUNCATE", "LOCK TABLE"),
)
"""What EXPLAIN does not take: it is parsed only."""


def blocks() -> Iterator[tuple[str, str]]:
    """Every (file, block) under `src/amana`."""
    for path in sql_files():
        file = str(path.relative_to(SRC))
        yield from ((file, name) for name in statements_of(file))


def statements_of(file: str) -> dict[str, str]:
    """The blocks of a file by name."""
    *folders, name = file.split("/")
    return load_queries(".".join(("amana", *folders)), name)


class Planner:
    """Plans statements, in one session for each role and schema."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sessions: dict[tuple[str, str], asyncpg.Connection] = {}

    async def failure(self, use: Use, statement: str) -> str:
        """What the server says against a statement there; empty when nothing. Nothing of it stays."""
        connection = await self._session(use)
        attempt = connection.transaction()
        await attempt.start()
        try:
            for name, made in statements_of(use.file).items() if use.first else ():
                if use.first in name and made != statement:
                    await connection.execute(made)
            if _code(statement).startswith(NOT_PLANNED):
                await connection.prepare(statement)
            else:
                await connection.execute(f"EXPLAIN (GENERIC_PLAN) {statement}")
        except asyncpg.PostgresError as error:
            return f"as {use.url} in {use.schema}: {error}"
        finally:
            await attempt.rollback()
        return ""

    async def _session(self, use: Use) -> asyncpg.Connection:
        dsn, place = getattr(self._settings, use.url), {"search_path": use.schema}
        if (dsn, use.schema) not in self._sessions:
            self._sessions[dsn, use.schema] = await asyncpg.connect(dsn, server_settings=place)
        return self._sessions[dsn, use.schema]

    async def close(self) -> None:
        """Ends all sessions."""
        for connection in self._sessions.values():
            await connection.close()


@pytest.fixture(scope="module")
async def planner(fresh: Settings) -> AsyncIterator[Planner]:
    made = Planner(fresh)
    yield made
    await made.close()


def test_every_sql_file_is_listed_here() -> None:
    assert {str(path.relative_to(SRC)) for path in sql_files()} <= {use.file for use in USES}


@pytest.mark.parametrize(("file", "name"), list(blocks()))
async def test_a_statement_fits_the_schema_and_its_role_may_run_it(planner: Planner, file: str, name: str) -> None:
    uses = [use for use in USES if use.file == file and use.only in name]
    failures = [failure for use in uses if (failure := await planner.failure(use, statements_of(file)[name]))]
    assert uses, f"{file} is not in USES"
    assert len(failures) < len(uses) if file in EITHER else not failures, failures


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("DELETE FROM outbox", "permission denied for table outbox"),
        ("UPDATE positions SET seq = 1", "permission denied for table positions"),
        ("SELECT sequence FROM positions", 'column "sequence" does not exist'),
        ("SELECT seq FROM positions WHERE position = $1::text", "operator does not exist"),
    ],
)
async def test_planning_finds_what_is_misspelt_and_what_is_not_granted(
    planner: Planner, statement: str, complaint: str
) -> None:
    use = Use("", "relay_database_url", "transactions")
    assert complaint in await planner.failure(use, statement)


def _code(statement: str) -> str:
    """The statement without its leading comments."""
    lines = statement.splitlines()
    return "\n".join(line for line in lines if not line.startswith("--")).lstrip()
