"""What parts of `amana bench audit` stand on: a server, an empty audit database, a key, and events to put in."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec
from rich.console import Console

from amana.audit.store import Store
from amana.bench.report import Figure
from amana.bench.site import SERVER_SETTINGS, SQL, open_stack
from amana.domain.events import Aggregate, Event, MovementData, SideData, event_bytes
from amana.infra.postgres import Pool, Record, open_pool, reading
from amana.infra.settings import Settings

STREAM = "transactions"
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How much to put in, and how often each measurement is repeated."""

    leaves: int
    runs: int
    seed: int


class Outcome(NamedTuple):
    """What a part measured: figures, each run as it was taken, how often each invariant was broken."""

    figures: list[Figure]
    runs: list[dict[str, object]]
    invariants: dict[str, int]


class AuditGround:
    """Servers, and audit's database as its role and as its owner; nothing of the service runs."""

    def __init__(self, settings: Settings, pool: Pool, owner: Pool) -> None:
        self.settings = settings
        self.store = Store(pool)
        self.owner = owner

    async def fetch(self, query: str, *arguments: object) -> list[Record]:
        """The rows of a block of this package's SQL, in audit's database, as its owner."""
        async with reading(self.owner) as connection:
            found: list[Record] = await connection.fetch(SQL[query], *arguments)
            return found

    async def server_settings(self) -> dict[str, str]:
        """The settings of PostgreSQL that a figure depends on."""
        return {row["name"]: row["value"] for row in await self.fetch("server_settings", list(SERVER_SETTINGS))}


class Part(NamedTuple):
    """A part of the bench: its name, the paths of its figures, and what measures them."""

    name: str
    paths: tuple[str, ...]
    measure: Callable[[AuditGround, Options, Console], Awaitable[Outcome]]


@asynccontextmanager
async def open_audit_ground(given: Settings, console: Console) -> AsyncIterator[AuditGround]:
    """Starts the servers; at the end of the block all of it is gone."""
    async with open_stack(given, (), lambda line: console.print(f"  {line}")) as stack:
        pool = await open_pool(stack.settings.audit_database_url, "audit", 4)
        owner = await open_pool(stack.settings.owner_audit_database_url, "audit", 2)
        try:
            yield AuditGround(stack.settings, pool, owner)
        finally:
            pool.terminate()
            owner.terminate()


def events(seed: int, first: int, count: int) -> list[tuple[int, bytes]]:
    """(position, bytes) of transfers as the ledger tells of them, the same for the same seed and position."""
    return [(position, _event(seed, position)) for position in range(first, first + count)]


def _event(seed: int, position: int) -> bytes:
    draw = random.Random(seed << 40 | position)  # noqa: S311 - repeatable, no secret
    moment = BEGINNING + timedelta(milliseconds=20 * position)
    debit, credit = (UUID(int=draw.getrandbits(128)) for _ in range(2))
    transfer, amount = UUID(int=draw.getrandbits(128)), draw.randrange(1_000, 5_000_000)
    data = MovementData(
        amount=amount,
        code="airtime_repayment",
        command=UUID(int=draw.getrandbits(128)),
        credit=_side(credit, draw),
        currency="NGN",
        debit=_side(debit, draw),
        effective_on=date(2026, 1, 1),
        notes=f"{draw.getrandbits(256):064x}",
        transfer=transfer,
    )
    aggregate = Aggregate("transfer", transfer, 1)
    event_id = UUID(int=draw.getrandbits(128))
    return event_bytes(Event(event_id, 1, "TransferPosted", 1, moment, aggregate, "key:bench0000000", "0" * 32, data))


def _side(account: UUID, draw: random.Random) -> SideData:
    posted = draw.randrange(10**9)
    return SideData(account, 0, posted, 0, posted // 2, draw.randrange(10_000))


def bodies(of: Sequence[tuple[int, bytes]]) -> list[bytes]:
    """Their bytes alone."""
    return [body for _, body in of]
