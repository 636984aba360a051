"""Opens the place that events are read from, whichever it is."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from amana.infra.http import HttpClient
from amana.infra.settings import Settings
from amana.operate.replay.exported import verified
from amana.operate.replay.options import CannotReplay, Log, Options
from amana.operate.replay.scratch import connected
from amana.operate.replay.service import AuditService, served
from amana.operate.replay.sources import AuditDatabase, Outbox, Source
from amana.operate.replay.telling import Telling


def require_places(settings: Settings, options: Options) -> None:
    """Raises `CannotReplay` where the settings do not say where the live tables are, or a scratch schema may be."""
    if options.compare and not settings.owner_database_url:
        raise CannotReplay("where the live tables are is not set: AMANA_OWNER_DATABASE_URL, or take --no-compare")
    if not (options.scratch_url or settings.owner_database_url):
        raise CannotReplay("where the rows are to be rebuilt is not said: --scratch-url, or AMANA_OWNER_DATABASE_URL")


@asynccontextmanager
async def open_sources(settings: Settings, options: Options, telling: Telling) -> AsyncIterator[Sequence[Source]]:
    """The wanted streams; an export once it is verified. Raises `CannotReplay` and what says that a place is away."""
    streams = options.streams
    if options.from_export is not None:
        with telling.verifying() as progress:
            found = await verified(options.from_export, streams, options.keys, options.checkpoints, progress)
        yield found
    elif options.from_audit:
        _set(settings.internal_key, "--from-audit with the platform's own key", "AMANA_INTERNAL_KEY")
        _set(settings.api_key, "--from-audit with a key of scope audit:read", "AMANA_API_KEY")
        async with HttpClient() as http:
            service = AuditService(http, options.from_audit, settings.api_key, settings.internal_key)
            yield await served(service, streams, options.keys, options.checkpoints)
    elif options.log is Log.AUDIT:
        url = _set(settings.owner_audit_database_url, "--log audit in its database", "AMANA_OWNER_AUDIT_DATABASE_URL")
        async with connected(url, "audit") as connection:
            yield [AuditDatabase(stream, connection) for stream in streams]
    else:
        url = _set(settings.owner_database_url, "--log outbox in the main database", "AMANA_OWNER_DATABASE_URL")
        async with connected(url) as connection:
            yield [Outbox(stream, connection) for stream in streams]


def _set(value: str, what: str, name: str) -> str:
    if not value:
        raise CannotReplay(f"{name} is not set: it is needed to read {what}")
    return value
