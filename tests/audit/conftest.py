"""An audit database and a signing key of its own for a test: a log only grows, so tests can't share one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from uuid import uuid4

import asyncpg
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.audit.logs import Log
from tests.audit.metrics_database import FORMS, MetricsDatabase, has_timescale, open_metrics
from tests.databases import copy_database

from amana.audit.store import Store
from amana.infra.databases import drop_database, ensure_database, with_database
from amana.infra.migrate import load_migrations
from amana.infra.postgres import open_pool
from amana.infra.settings import Settings

DROPS_MAX = 20


def new_key_file(folder: Path) -> Path:
    """A signing key in a folder of its own."""
    folder.mkdir()
    file = folder / "signing.key"
    key = Ed25519PrivateKey.generate()
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return file


@pytest.fixture(scope="session")
async def template(settings: Settings) -> AsyncIterator[str]:
    """The DSN of an audit database that only migrations have touched, to be copied."""
    owner = with_database(settings.owner_audit_database_url, f"amana_audit_template_{uuid4().hex}")
    await ensure_database(owner)
    try:
        await _migrate_audit(owner)
        yield owner
    finally:
        await _drop(owner)


@asynccontextmanager
async def settings_of_log(settings: Settings, template: str, folder: Path) -> AsyncIterator[Settings]:
    """The settings of the run, with an audit database and key file that nobody else has."""
    name = f"amana_audit_test_{uuid4().hex}"
    owner = with_database(settings.owner_audit_database_url, name)
    key_file = new_key_file(folder / "audit")
    await copy_database(template, owner)
    try:
        yield msgspec.structs.replace(
            settings,
            owner_audit_database_url=owner,
            audit_database_url=with_database(settings.audit_database_url, name),
            audit_key_file=str(key_file),
            metrics_database_url="",
            audit_origin="amana.test/audit",
        )
    finally:
        await _drop(owner)


@pytest.fixture
async def log_settings(settings: Settings, template: str, tmp_path: Path) -> AsyncIterator[Settings]:
    """Of a log that is this test's own."""
    async with settings_of_log(settings, template, tmp_path) as made:
        yield made


async def _drop(owner: str) -> None:
    """A worker of autovacuum that looks at the database just now belongs to nobody that we could send away."""
    for _ in range(DROPS_MAX):
        try:
            await drop_database(owner)
        except asyncpg.InsufficientPrivilegeError:
            await asyncio.sleep(0.2)
        else:
            return


async def _migrate_audit(owner: str) -> None:
    connection = await asyncpg.connect(owner)
    try:
        await connection.execute("CREATE SCHEMA audit")
        for migration in load_migrations(files("amana").joinpath("migrations"), "audit"):
            await connection.execute(migration.statements)
    finally:
        await connection.close()


@pytest.fixture
async def log(log_settings: Settings) -> AsyncIterator[Log]:
    pool = await open_pool(log_settings.audit_database_url, "audit", 4)
    owner = await asyncpg.connect(log_settings.owner_audit_database_url)
    try:
        yield Log(log_settings, Store(pool), owner)
    finally:
        await owner.close()
        await pool.close()


@pytest.fixture(scope="session")
async def plain_template(settings: Settings) -> AsyncIterator[str]:
    """The DSN of a metrics database that only migrations have touched, to be copied; TimescaleDB's can't be."""
    async with open_metrics(settings, "plain") as made:
        await made.owner.close()
        yield made.settings.owner_metrics_database_url


@pytest.fixture(params=FORMS)
async def metrics(
    settings: Settings, plain_template: str, request: pytest.FixtureRequest
) -> AsyncIterator[MetricsDatabase]:
    """A metrics database of this test, plain and, wherever the server has the extension, TimescaleDB's."""
    if request.param == "timescale" and not await has_timescale(settings):
        pytest.skip("this PostgreSQL has no TimescaleDB")
    async with open_metrics(settings, request.param, plain_template if request.param == "plain" else "") as database:
        yield database
