"""The audit service over a log that is there already, and readers with their keys. No source answers: nothing comes."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid5

import msgspec
from tests.audit.test_service import serving, until

from amana.audit.app import build
from amana.audit.flow import RECEIVE_MAX, receive
from amana.audit.store import Store
from amana.gateway import provision
from amana.infra.http import HttpClient, Reply
from amana.infra.postgres import open_pool
from amana.infra.settings import Settings

NAMES = UUID(int=31)
NOWHERE = "http://127.0.0.1:9"


class Reader:
    """A key of a tenant, and the service."""

    def __init__(self, client: HttpClient, url: str, tenant: int, key: str) -> None:
        self.tenant = tenant
        self.key = key
        self._client = client
        self._url = url

    async def reply(self, path: str, accept: str = "application/json") -> Reply:
        headers = {"Authorization": f"Bearer {self.key}", "Accept": accept}
        return await self._client.request("GET", f"{self._url}/v1/audit/{path}", headers=headers, timeout_ms=5_000)

    async def get(self, path: str) -> tuple[int, Any]:
        reply = await self.reply(path)
        return reply.status, msgspec.json.decode(reply.body)

    async def ok(self, path: str) -> Any:
        status, answer = await self.get(path)
        assert status == 200, answer
        return answer


class Lab:
    """The running service; `reader` is of the tenant whose events are in the log."""

    def __init__(self, client: HttpClient, url: str, settings: Settings, tenants: Sequence[int]) -> None:
        self.client = client
        self.url = url
        self.settings = settings
        self.tenants = tenants

    async def reader(self, *scopes: str, tenant: int = 0) -> Reader:
        """A new key of the first tenant, or of another."""
        number = self.tenants[tenant]
        key = await provision.create_key(self.settings.owner_database_url, number, scopes or ("audit:read",))
        return Reader(self.client, self.url, number, key)

    async def until_indexed(self, reader: Reader, stream: str, size: int) -> None:
        """Waits until so many of the stream's leaves can be found."""

        async def indexed() -> bool:
            page = await reader.ok("accesses?limit=1" if stream == "accesses" else f"events?stream={stream}&limit=1")
            return any(found["stream"] == stream and found["size"] >= size for found in page["searched"])

        await until(indexed)

    async def until_sealed(self, reader: Reader, stream: str, size: int) -> None:
        """Waits until a checkpoint covers so many of the stream's leaves."""

        async def sealed() -> bool:
            status, newest = await reader.get(f"checkpoints/latest?stream={stream}")
            return status == 200 and newest["size"] >= size

        await until(sealed)


async def lenders(settings: Settings, count: int = 2) -> list[int]:
    """Tenants of this test's database alone."""
    run = uuid5(NAMES, settings.audit_database_url)
    return [await provision.create_tenant(settings.owner_database_url, f"r{at}-{run}", "Reader") for at in range(count)]


@asynccontextmanager
async def lab(settings: Settings, tenants: Sequence[int], bodies: Mapping[str, Sequence[bytes]]) -> AsyncIterator[Lab]:
    """The service over a log of these events, by stream, from position 0 on: all sealed and indexed."""
    pool = await open_pool(settings.audit_database_url, "audit", 2)
    for stream, leaves in bodies.items():
        for first in range(0, len(leaves), RECEIVE_MAX):
            await receive(Store(pool), stream, list(enumerate(leaves))[first : first + RECEIVE_MAX])
    await pool.close()
    given = msgspec.structs.replace(
        settings,
        eligibility_url=NOWHERE,
        transactions_url=NOWHERE,
        kafka_bootstrap="",
        gateway_database_url=settings.gateway_database_url or settings.owner_database_url,
    )
    async with HttpClient() as client, serving(build(given)) as url:
        made = Lab(client, url, given, tenants)
        reader = await made.reader()
        for stream, leaves in bodies.items():
            if leaves:
                await made.until_sealed(reader, stream, len(leaves))
                await made.until_indexed(reader, stream, len(leaves))
        yield made
