"""`amana serve relay`: the process that sequences and publishes the events of both sources.

It has the edge of every service, for `/livez`, `/readyz` and `/metrics`, and no routes of its own.
"""

import asyncio

from amana.gateway.edge import build_app
from amana.gateway.keyring import KeyRing
from amana.gateway.store import KeyStore
from amana.infra.http_server import serve_as_set
from amana.infra.relay import run_relays
from amana.infra.settings import Settings


async def serve(settings: Settings) -> None:
    """Relays until SIGTERM. A relay that breaks ends the process, so that whoever watches it starts another."""
    app = build_app(service="relay", routes=[], keys=KeyRing(KeyStore(settings.gateway_database_url)))
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(run_relays(settings, stop))
        await serve_as_set(app, settings)
        stop.set()
