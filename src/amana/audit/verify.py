"""Verifies the log in the database against the keys and checkpoint files beside the signing key, and older files."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from amana.audit.ahead import Workers
from amana.audit.check import StreamCheck
from amana.audit.custody import Custody
from amana.audit.database_log import CONNECTIONS, DatabaseLog
from amana.audit.findings import Progress, StreamReport, VerifyReport
from amana.audit.keys import StreamKeys
from amana.audit.leaf import LOGS
from amana.audit.notes import kept_notes, notes_of
from amana.audit.retaining import dropped_of
from amana.audit.store import Store
from amana.audit.vouching import held_to, read_witness_keys, vouched_for
from amana.infra.postgres import open_pool
from amana.infra.settings import Settings


async def run_verify(
    settings: Settings,
    *,
    checkpoints: Sequence[Path] = (),
    witnesses: Sequence[str] = (),
    progress: Progress | None = None,
) -> VerifyReport:
    """Verifies the database that `settings` name against what is kept beside the key, and against older files.

    `checkpoints` are files of notes of any streams, in any order, that somebody kept; `witnesses` the verifier keys of
    those who must have cosigned. Raises `CustodyError` without the key, `OSError` or `CannotVerify` for a file that
    can't be read or has none, and `DatabaseUnavailable`.
    """
    custody = Custody.of(settings)
    keys = {stream: custody.keys(stream) for stream in LOGS}
    kept = kept_notes(checkpoints)
    older: dict[str, list[Iterable[str]]] = {
        stream: [*custody.kept_in_places(stream), notes_of(kept, keys[stream].name)] for stream in LOGS
    }
    trusted = read_witness_keys(witnesses)
    vouched = {
        stream: vouched_for(keys[stream], [*custody.cosigned(stream), *kept], trusted) if trusted else []
        for stream in LOGS
    }
    for stream, found in vouched.items():
        older[stream].append([each.note for each in found])
    report = await verify(settings.audit_database_url, keys, older, progress)
    held = (held_to(each, vouched[each.stream], trusted) for each in report.streams)
    return VerifyReport(tuple(held))


async def verify(
    dsn: str,
    keys: Mapping[str, StreamKeys],
    older: Mapping[str, Sequence[Iterable[str]]] | None = None,
    progress: Progress | None = None,
) -> VerifyReport:
    """Verifies each stream in `keys` with its keys. `older` has, by stream, sources of notes signed before,
    each in order of size. Raises `DatabaseUnavailable`.
    """
    pool = await open_pool(dsn, "audit", CONNECTIONS)
    try:
        store = Store(pool)
        return VerifyReport(
            tuple(
                [
                    await _verify_stream(store, dsn, stream, keys[stream], (older or {}).get(stream, ()), progress)
                    for stream in keys
                ]
            )
        )
    finally:
        await pool.close()


async def _verify_stream(
    store: Store,
    dsn: str,
    stream: str,
    keys: StreamKeys,
    older: Sequence[Iterable[str]],
    progress: Progress | None,
) -> StreamReport:
    async with store.rows() as rows:
        leaves = await rows.highest_position(stream) + 1
        dropped = await dropped_of(rows, stream)
    with Workers(leaves) as workers:
        log = DatabaseLog(store, dsn, stream, workers, leaves, dropped.below if dropped else 0)
        try:
            return replace(await StreamCheck(stream, log, keys, older, progress).run(), dropped=dropped)
        finally:
            await log.close()
