"""One stream in a database of its own, as the service would work on it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid5

import asyncpg

from amana.audit.checkpoint import Signer
from amana.audit.custody import Custody
from amana.audit.findings import Kind, VerifyReport
from amana.audit.flow import Received, receive
from amana.audit.key_file import checkpoint_folder, load_key
from amana.audit.places import CheckpointFile
from amana.audit.sealer import Sealer
from amana.audit.store import Store
from amana.audit.verify import run_verify
from amana.domain.events import Aggregate, Event, event_bytes
from amana.infra.settings import Settings

STREAM = "transactions"
NAMES = UUID(int=7)
START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def event_id(position: int) -> UUID:
    return uuid5(NAMES, f"event {position}")


def body(position: int, *, tenant: int = 1, amount: int = 5_000) -> bytes:
    return event_bytes(
        Event(
            event_id=event_id(position),
            tenant=tenant,
            type="TransferPosted",
            version=1,
            occurred_at=START + timedelta(seconds=position),
            aggregate=Aggregate("transfer", uuid5(NAMES, f"transfer {position}"), 1),
            actor="system:test",
            trace="",
            data={"amount": amount, "currency": "NGN", "customer": str(uuid5(NAMES, f"customer {position % 3}"))},
        )
    )


class Log:
    """One stream in its own database, as the service would work on it."""

    def __init__(self, settings: Settings, store: Store, owner: asyncpg.Connection) -> None:
        self.settings = settings
        self.store = store
        key = load_key(Path(settings.audit_key_file))
        self.signer = Signer(f"{settings.audit_origin}/{STREAM}", key)
        self.owner = owner
        self.kept = CheckpointFile(checkpoint_folder(Path(settings.audit_key_file)), STREAM)

    async def receive(self, *positions: int) -> Received:
        return await receive(self.store, STREAM, [(position, body(position)) for position in positions])

    def new_sealer(self) -> Sealer:
        """A sealer that remembers nothing, as after a restart."""
        return Sealer(STREAM, self.store, Custody.of(self.settings))

    async def sealed(self, *sizes: int) -> None:
        """Receives and seals up to each size in turn."""
        sealer, start = self.new_sealer(), 0
        for size in sizes:
            await self.receive(*range(start, size))
            assert await sealer.seal() == size - start
            start = size

    async def tamper(self, *statements: str) -> None:
        """What somebody with all rights on the database can do."""
        for table in ("leaves", "nodes", "checkpoints"):
            await self.owner.execute(f"ALTER TABLE audit.{table} DISABLE TRIGGER USER")
        for statement in statements:
            await self.owner.execute(statement)

    async def verify(self, *checkpoints: Path) -> VerifyReport:
        return await run_verify(self.settings, checkpoints=checkpoints)

    async def first_bad(self) -> tuple[int, Kind]:
        bad = (await self.verify()).first_bad
        assert bad is not None and bad.stream == STREAM
        return bad.position, bad.kind
