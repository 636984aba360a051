"""A whole local stack: servers from wheels (or given by URL), databases, migrations, keys, the services.

    async with Stack.open(data_dir, Ports.at(7801), say=print) as stack:
        ...  # stack.settings, stack.urls

Without a data directory everything lives in a temporary one and is gone afterwards (demo, tests). Whatever happens in
between, the processes are stopped in reverse order; and they die with this process if it is killed.
"""

import asyncio
import hashlib
import hmac
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from amana.gateway import provision
from amana.infra.databases import database_of, ensure_database, with_database, with_role
from amana.infra.embedded.broker import Broker
from amana.infra.embedded.ports import LOOPBACK, exchange, held_free, is_free, require_free
from amana.infra.embedded.postgres import Postgres
from amana.infra.embedded.process import Process, ServerError
from amana.infra.embedded.valkey import Valkey
from amana.infra.migrate import MigrationError, migrate, migrate_metrics
from amana.infra.postgres import DatabaseUnavailable
from amana.infra.settings import Settings, to_environ
from amana.operate.home import Home, explain
from amana.operate.privacy.encrypting import encrypt

DATABASE = "amana"
SERVICES = ("eligibility", "transactions", "audit", "relay")
ALL_SERVICES = (*SERVICES, "notifications")
"""With the one that nothing waits for: `amana up` starts it; the demo and most tests do without."""
BROKER_PARTITIONS = 1
"""Of a topic at the embedded broker. Its groups share no partitions, so more of them divide no work; and for each one a
fetch walks over all that was ever produced to it."""
SERVICE_START_TIMEOUT_S = 60.0
SERVICE_STOP_TIMEOUT_S = 15.0
"""A service answers what it has queued before it ends."""
FREED_PORT_TIMEOUT_S = 10.0
"""How long the kernel and dying processes may take to free the ports of a killed run."""

STACK_ERRORS = (ServerError, MigrationError, DatabaseUnavailable)
"""What opening a stack can raise; each message is for the person at the keyboard."""

Say = Callable[[str], None]


class Ports(NamedTuple):
    """The loopback port of everything that a stack starts."""

    eligibility: int
    transactions: int
    audit: int
    relay: int
    notifications: int
    postgres: int
    valkey: int
    broker: int

    @classmethod
    def at(cls, base: int) -> "Ports":
        """Fixed ports: services from `base`, servers from `base + 10`."""
        return cls(*range(base, base + 5), *range(base + 10, base + 13))

    @classmethod
    @contextmanager
    def free(cls) -> Iterator["Ports"]:
        """Ports that nobody uses, and nobody else finds until the block ends."""
        with held_free(len(cls._fields)) as ports:
            yield cls(*ports)


def silent(_: str) -> None:
    """Says nothing."""


class Stack:
    """See the module. `settings` and `urls` are complete once it is open."""

    def __init__(
        self,
        home: Home,
        ports: Ports,
        given: Settings,
        say: Say,
        names: Sequence[str] = SERVICES,
        *,
        durable: bool = True,
    ) -> None:
        self.home = home
        self.ports = ports
        self.given = given
        self.settings = given
        self.postgres: Postgres | None = None
        self.valkey: Valkey | None = None
        self.broker: Broker | None = None
        self.services: dict[str, Process] = {}
        self.names = names
        self._say = say
        self._durable = durable

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        data_dir: Path | None = None,
        ports: Ports | None = None,
        *,
        given: Settings | None = None,
        servers_only: bool = False,
        durable: bool = True,
        services: Sequence[str] = SERVICES,
        say: Say = silent,
    ) -> AsyncIterator["Stack"]:
        """Start everything and, at the end of the block, stop it.

        A server whose URL is in `given` is used as it is and never stopped. With `servers_only` no service is started.
        Our own PostgreSQL waits for no disk where it need not be `durable`. `say` gets one plain line per phase. Raises
        `ServerError`, `MigrationError` or `DatabaseUnavailable`, each with a message for the person at the keyboard.
        """
        home = Home(data_dir, temporary=False) if data_dir else Home.temporary_one()
        with ExitStack() as held:
            at = ports or held.enter_context(Ports.free())
            stack = cls(home, at, given or Settings(), say, services, durable=durable)
            try:
                await stack._start(servers_only=servers_only)
                yield stack
            finally:
                await stack._stop()
                home.close()

    @property
    def urls(self) -> dict[str, str]:
        """Base URL of each service with an API, by name."""
        names = [name for name in ALL_SERVICES if name != "relay"]
        return {name: f"http://{LOOPBACK}:{getattr(self.ports, name)}" for name in names if name in self.names}

    def processes(self) -> list[Process]:
        """Every process of the stack, in the order in which they were started."""
        servers = [server.process for server in (self.postgres, self.valkey, self.broker) if server]
        return [*(process for process in servers if process), *self.services.values()]

    async def _start(self, *, servers_only: bool) -> None:
        try:
            killed = await self.home.end_leftovers()
            if killed:
                self._say("The previous run was killed. Recovering; nothing that was acknowledged is lost.")
            await self._require_ports(servers_only=servers_only, wait_s=FREED_PORT_TIMEOUT_S if killed else 0)
            await self._start_servers()
            self.settings = self._complete_settings()
            await self._prepare_databases()
            self.home.publish(self.settings)
            if not servers_only:
                await self.start_services()
        except OSError as error:
            raise ServerError(explain(error, self.home.path)) from error

    async def _require_ports(self, *, servers_only: bool, wait_s: float) -> None:
        """Every port that we are going to use is free, at once or (after a killed run) within `wait_s`."""
        wanted = {} if servers_only else {f"the {name} service": getattr(self.ports, name) for name in self.names}
        if not self.given.owner_database_url:
            wanted["PostgreSQL"] = self.ports.postgres
        if not self.given.redis_url:
            wanted["Valkey"] = self.ports.valkey
        if not self.given.kafka_bootstrap:
            wanted["the Kafka broker"] = self.ports.broker
        deadline = time.monotonic() + wait_s
        while not all(is_free(port) for port in wanted.values()):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.1)
        for name, port in wanted.items():
            require_free(port, name)

    async def _start_servers(self) -> None:
        home = self.home
        home.record([])  # from here on the next run can tell that this one was killed
        kept = home.secrets(provision.new_internal_key())
        starts: list[Coroutine[Any, Any, None]] = []
        if not self.given.owner_database_url:
            place = home.path / "postgres"
            self.postgres = Postgres(place, self.ports.postgres, home.log("postgres"), durable=self._durable)
            starts.append(self.postgres.start())
        if not self.given.redis_url:
            self.valkey = Valkey(home.path / "valkey", self.ports.valkey, home.log("valkey"), kept.cache_password)
            starts.append(self.valkey.start())
        if not self.given.kafka_bootstrap:
            self.broker = Broker(home.path / "broker", self.ports.broker, home.log("broker"))
            starts.append(self.broker.start())
        self._say("Starting PostgreSQL, Valkey and the Kafka broker" if len(starts) == 3 else "Starting servers")
        await together(starts)
        self.record()
        if self.postgres and self.postgres.recovered:
            self._say(self.postgres.recovered)
        if self.postgres and self.postgres.wanted.is_symlink():
            self._say(f"PostgreSQL can't run as root, nor its user enter here: its data is in {self.postgres.folder}")

    def _complete_settings(self) -> Settings:
        """What was given, and everything else filled in."""
        given, kept = self.given, self.home.secrets("")
        owner = given.owner_database_url
        if self.postgres:
            owner = self.postgres.owner_url(DATABASE)
        owner_audit = given.owner_audit_database_url or with_database(owner, f"{database_of(owner)}_audit")
        owner_keys = given.owner_keys_database_url or with_database(owner, f"{database_of(owner)}_keys")
        owner_metrics = given.owner_metrics_database_url or with_database(owner_audit, f"{database_of(owner)}_metrics")
        homes = {**dict.fromkeys(ALL_SERVICES, owner), "audit": owner_audit, "metrics": owner_metrics}
        roles = {
            f"{name}_database_url": getattr(given, f"{name}_database_url") or service_url(home, owner, f"amana_{name}")
            for name, home in homes.items()
        }
        return msgspec.structs.replace(
            given,
            owner_database_url=owner,
            owner_audit_database_url=owner_audit,
            owner_keys_database_url=owner_keys,
            keys_database_url=given.keys_database_url
            or with_database(roles["eligibility_database_url"], database_of(owner_keys)),
            transactions_keys_database_url=given.transactions_keys_database_url
            or with_database(roles["transactions_database_url"], database_of(owner_keys)),
            owner_metrics_database_url=owner_metrics,
            **roles,
            gateway_database_url=given.gateway_database_url or roles["relay_database_url"],
            redis_url=self.valkey.url if self.valkey else given.redis_url,
            kafka_bootstrap=self.broker.bootstrap if self.broker else given.kafka_bootstrap,
            kafka_partitions=BROKER_PARTITIONS if self.broker else given.kafka_partitions,
            eligibility_url=self.urls["eligibility"],
            transactions_url=self.urls["transactions"],
            audit_url=self.urls["audit"],
            notifications_url=f"http://{LOOPBACK}:{self.ports.notifications}",
            internal_key=given.internal_key or kept.internal_key,
            audit_key_file=given.audit_key_file or str(self.home.audit_key()),
            privacy_key_file=given.privacy_key_file or str(self.home.privacy_keys()),
        )

    async def _prepare_databases(self) -> None:
        settings = self.settings
        owned = (
            settings.owner_database_url,
            settings.owner_audit_database_url,
            settings.owner_keys_database_url,
        )
        await together([ensure_database(dsn) for dsn in owned])
        applied = await migrate(settings)
        try:
            await ensure_database(settings.owner_metrics_database_url)
            applied += await migrate_metrics(settings)
        except DatabaseUnavailable as error:
            self._say(f"The metrics database does not answer; metrics wait for it, everything else goes on: {error}")
        if applied:
            self._say(f"Applied {len(applied)} migrations")
        await encrypt(settings, self._say)
        await provision.ensure_internal_key(settings.owner_database_url, settings.internal_key)

    async def start_services(self) -> None:
        """Start the services side by side and wait until each says that it is ready."""
        self._say(f"Starting services: {', '.join(self.names)}")
        await together([self.start_service(name) for name in self.names])

    async def start_service(self, name: str, process: str = "") -> None:
        """Start one service (again), and wait until it is ready. `ServerError` with the end of its log if it fails.

        A further `process` of it, of that name, needs `listen_shared`; that it answers is not waited for.
        """
        self.services.setdefault(process or name, self._service(name, process or name)).start()
        self.record()
        if process:
            return
        port = getattr(self.ports, name)
        request = f"GET /readyz HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nConnection: close\r\n\r\n".encode()

        async def ready() -> bool:
            return (await exchange(port, request)).startswith(b"HTTP/1.1 200")

        await self.services[name].wait_ready(ready, SERVICE_START_TIMEOUT_S)

    def _service(self, name: str, process: str) -> Process:
        own = msgspec.structs.replace(
            self.settings, listen_host=LOOPBACK, listen_port=getattr(self.ports, name), metrics_port=0
        )
        return Process(
            process,
            [sys.executable, "-m", "amana.cli", "serve", name],
            self.home.log(process),
            environ={**os.environ, **to_environ(own)},
            stop_timeout_s=SERVICE_STOP_TIMEOUT_S,
        )

    async def stop_services(self) -> None:
        """Stop the services, all at once; the servers go on."""
        await together([process.stop() for process in self.services.values()])

    def record(self) -> None:
        """Write down the processes that run now."""
        self.home.record(self.processes())

    async def _stop(self) -> None:
        """Services first, all at once (they drain while the servers still answer), then the servers, then our notes."""
        await self.stop_services()
        await together([server.stop() for server in (self.broker, self.valkey, self.postgres) if server])
        self.home.forget_running()
        if self.home.temporary and self.postgres:
            self.postgres.destroy()


async def together(tasks: list[Coroutine[Any, Any, Any]]) -> None:
    """Run all to their end, then raise the first error, so that nothing is left half done in the background."""
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


def service_url(database: str, owner: str, role: str) -> str:
    """The DSN of a service's role. Its password follows from the owner's, so that every run arrives at the same one."""
    password = hmac.digest(owner.partition("@")[0].encode(), role.encode(), hashlib.sha256).hex()
    return with_role(database, role, password)
