"""`amana up`: a stack that stays, watches over its processes, and stops cleanly."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from amana.gateway import provision
from amana.infra.embedded.ports import LOOPBACK
from amana.infra.embedded.process import Process, ServerError
from amana.infra.settings import Settings
from amana.operate.home import explain
from amana.operate.stack import ALL_SERVICES, STACK_ERRORS, Ports, Say, Stack

WATCH_S = 0.2
RESTARTS_MAX = 5
"""Deaths of one process within the window before we give up on it."""
RESTART_WINDOW_S = 120.0
BACKOFF_FIRST_S = 0.5
EXIT_OK, EXIT_GAVE_UP, EXIT_CANNOT_START = 0, 1, 2
DEMO_MARK = "demo-tenant"
EXAMPLE_CUSTOMER = "0190c0de-0000-7000-8000-000000000001"


class GaveUp(ServerError):
    """A process died again and again."""


async def run_up(data_dir: Path, ports: Ports, given: Settings, say: Say, complain: Say) -> int:
    """Keep a stack running until SIGINT, SIGTERM or SIGHUP; the exit code.

    0: stopped when asked. 1: a process died more than `RESTARTS_MAX` times. 2: it could not start, and `complain` got
    the reason. Everything is stopped in each case.
    """
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, asked.set)
    running = asyncio.create_task(_stay(data_dir, ports, given, say))
    asking = asyncio.create_task(asked.wait())
    await asyncio.wait({running, asking}, return_when=asyncio.FIRST_COMPLETED)
    if not running.done():
        say("Stopping")
        running.cancel()
    asking.cancel()
    try:
        await running
    except asyncio.CancelledError:
        say("Stopped; the data stays.")
        return EXIT_OK
    except STACK_ERRORS as error:
        complain(str(error))
        return EXIT_GAVE_UP if isinstance(error, GaveUp) else EXIT_CANNOT_START
    return EXIT_OK


async def _stay(data_dir: Path, ports: Ports, given: Settings, say: Say) -> None:
    began = time.monotonic()
    async with Stack.open(data_dir, ports, given=given, services=ALL_SERVICES, say=say) as stack:
        say(f"Amana is up after {time.monotonic() - began:.1f} s. Data and logs: {stack.home.path}")
        for name, url in stack.urls.items():
            say(f"  {name:<13} {url}   docs {url}/schema")
        say(f"  {'relay':<13} http://{LOOPBACK}:{stack.ports.relay}   metrics only: /metrics")
        await introduce(stack, say)
        say("Ctrl-C stops it.")
        await keep_running(stack, say)


async def introduce(stack: Stack, say: Say) -> None:
    """On the first run of a data directory: a tenant to try things with, its key shown once, and a first request."""
    if not stack.home.once(DEMO_MARK):
        return
    dsn = stack.settings.owner_database_url
    tenant = await provision.create_tenant(dsn, "demo", "Demo lender")
    key = await provision.create_key(dsn, tenant, provision.ALL_SCOPES)
    stack.home.done(DEMO_MARK)
    say(f"Tenant {tenant} (`demo`) was made for you. Its API key, shown only now: {key}")
    say("A first request:")
    say(f"  curl -X PUT {stack.urls['eligibility']}/v1/customers/{EXAMPLE_CUSTOMER} \\")
    say(f"    -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' -d '{{\"kyc_tier\": 2}}'")


class _Part(NamedTuple):
    """Something to watch: a process, and how it is brought back."""

    process: Process
    revive: Callable[[], Awaitable[None]]


async def keep_running(stack: Stack, say: Say) -> None:
    """Bring back whatever dies, with growing pauses, until cancelled. `GaveUp` when one dies too often."""
    deaths: dict[str, list[float]] = {}
    while True:
        for part in _parts(stack):
            if part.process.exit_code is not None:
                since = time.monotonic() - RESTART_WINDOW_S
                recent = [death for death in deaths.get(part.process.name, []) if death > since]
                deaths[part.process.name] = [*recent, time.monotonic()]
                await _bring_back(stack, part, len(recent) + 1, say)
        await asyncio.sleep(WATCH_S)


def _parts(stack: Stack) -> list[_Part]:
    """The servers come first: a service can't start without them."""
    parts = [_Part(stack.services[name], partial(stack.start_service, name)) for name in stack.services]
    for server in (stack.broker, stack.valkey):
        if server:
            parts.insert(0, _Part(server.process, server.start))
    if stack.postgres and stack.postgres.process:
        parts.insert(0, _Part(stack.postgres.process, stack.postgres.restart))
    return parts


async def _bring_back(stack: Stack, part: _Part, death: int, say: Say) -> None:
    name, ended = part.process.name, part.process.how_it_ended()
    if death > RESTARTS_MAX:
        raise GaveUp(f"{name} ended {death} times within {RESTART_WINDOW_S:g} s. {part.process.log_end()}")
    pause_s = BACKOFF_FIRST_S * 2 ** (death - 1)
    say(f"{name} ended ({ended}); restarting it in {pause_s:g} s (try {death} of {RESTARTS_MAX})")
    await asyncio.sleep(pause_s)
    try:
        await part.revive()
        stack.record()
    except ServerError as error:
        say(str(error))
    except OSError as error:
        say(explain(error, stack.home.path))
    else:
        say(f"{name} is back")
