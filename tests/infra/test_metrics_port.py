"""The metrics of one process at a port of its own."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from amana.infra.embedded.ports import LOOPBACK, find_free
from amana.infra.http import HttpClient, UpstreamUnavailable
from amana.infra.http_server import ServerFailed, serve_as_set
from amana.infra.settings import Settings, SettingsError, load_settings
from amana.infra.telemetry import REQUEST_DURATION


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers everything with nothing."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with HttpClient() as client:
        yield client


async def test_the_metrics_of_a_process_are_shown_at_its_own_port_until_it_ends(http: HttpClient) -> None:
    port, metrics_port = find_free(2)
    settings = Settings(listen_port=port, metrics_port=metrics_port, listen_shared=1)
    REQUEST_DURATION.series("GET", "/own-port", "200").observe(0.1)
    task = asyncio.create_task(serve_as_set(app, settings))
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    reply = await http.request("GET", f"http://{LOOPBACK}:{metrics_port}/metrics", timeout_ms=2_000)
                    break
                except UpstreamUnavailable:
                    await asyncio.sleep(0.05)
        assert reply.status == 200
        assert b'http_route="/own-port"' in reply.body
    finally:
        task.cancel()
        await asyncio.wait([task])
    with pytest.raises(UpstreamUnavailable):
        await http.request("GET", f"http://{LOOPBACK}:{metrics_port}/metrics", timeout_ms=2_000)


async def test_a_port_that_is_taken_is_told_before_anything_is_served() -> None:
    (port,) = find_free(1)
    taken = await asyncio.start_server(lambda *_: None, LOOPBACK, port)
    async with taken:
        with pytest.raises(ServerFailed, match=f"could not show metrics on {LOOPBACK}:{port}"):
            await serve_as_set(app, msgspec.structs.replace(Settings(), metrics_port=port))


def test_a_port_that_can_not_be_one_is_refused_by_its_name() -> None:
    with pytest.raises(SettingsError, match="AMANA_METRICS_PORT must be between 0 and 65535"):
        load_settings({"AMANA_METRICS_PORT": "65536"})
