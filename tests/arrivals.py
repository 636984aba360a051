"""A service that is started while its database is away, and the database that comes."""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec
from litestar import Litestar
from tests.chaos.proxy import Proxy
from tests.eligibility.standings_server import served

from amana.infra.http import HttpClient
from amana.infra.settings import Settings

TIMEOUT_MS = 8_000
COMES_WITHIN_S = 20.0


async def comes_to_life(
    build: Callable[[Settings], Litestar], settings: Settings, service: str, path: str, key: str
) -> None:
    """Holds a service to it: it lives without its database and says so, and serves once that has come."""
    database = urlsplit(getattr(settings, f"{service}_database_url"))
    assert database.port
    async with Proxy.before(database.port) as proxy, HttpClient() as http:
        proxy.hang_up()
        through = database._replace(netloc=database.netloc.replace(f":{database.port}", f":{proxy.port}"))
        own = {f"{service}_database_url": urlunsplit(through), "kafka_bootstrap": ""}
        own["gateway_database_url"] = settings.gateway_database_url or urlunsplit(database)

        async def get(path: str) -> tuple[int, Any]:
            headers = {"Authorization": f"Bearer {key}"}
            reply = await http.request("GET", url + path, headers=headers, timeout_ms=TIMEOUT_MS)
            return reply.status, msgspec.json.decode(reply.body)

        async with served(build(msgspec.structs.replace(settings, **own))) as url:
            assert await get("/livez") == (200, {"status": "live"})
            assert await get("/readyz") == (503, {"status": "not_ready"})
            status, problem = await get(path)
            assert (status, problem["code"]) == (503, "unavailable")
            await proxy.take_up()
            async with asyncio.timeout(COMES_WITHIN_S):
                while (await get("/readyz"))[0] != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            assert (await get(path))[0] == 200
            proxy.hang_up()  # from now on it is no reason to be taken out
            assert (await get(path))[0] == 503
            assert await get("/readyz") == (200, {"status": "ready"})
