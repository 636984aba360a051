"""Verifies an export with nothing but a public key and checkpoints that somebody kept. Imports no driver.

Everything in the export is suspected. What is trusted is the key that is given; the export's rotations lead from it to
the keys before and after it, because each is signed by both. A checkpoint kept elsewhere is what shows that the end of
the log was cut off, or all of it rewritten by somebody with the key.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from amana.audit.ahead import Workers
from amana.audit.check import StreamCheck
from amana.audit.checkpoint import NoteError, VerifierKey, parse_verifier_key
from amana.audit.cosignature import WitnessKey
from amana.audit.export_log import ROTATIONS, ExportLog, dropped_in, leaves_at_hand
from amana.audit.findings import CannotVerify, Fault, Kind, Progress, StreamReport, VerifyReport
from amana.audit.keys import StreamKeys, stream_keys
from amana.audit.leaf import ACCESSES, LOGS
from amana.audit.merkle import EMPTY_ROOT
from amana.audit.notes import kept_notes, notes_of, read_notes
from amana.audit.vouching import cosigned_in, held_to, read_witness_keys, vouched_for


async def verify_export(
    folder: Path,
    keys: Sequence[str],
    checkpoints: Iterable[Path] = (),
    progress: Progress | None = None,
    *,
    witnesses: Sequence[str] = (),
) -> VerifyReport:
    """Verifies the export in `folder`. `keys` are verifier keys (`name+id+key`) of any stream of the log, `witnesses`
    those of witnesses who must have cosigned a checkpoint of each stream.

    Raises `CannotVerify`, and `OSError` when a file can't be read.
    """
    if not any((folder / stream).is_dir() for stream in LOGS):
        raise CannotVerify(f"{folder} is no export of the log: it has none of the folders {', '.join(LOGS)}")
    origin, trusted = read_keys(keys)
    kept = read_kept(origin, checkpoints)
    trust = Trust(origin, trusted, read_witness_keys(witnesses))
    reports = [
        await _verify_stream(folder, trust, stream, notes_of(kept, f"{origin}/{stream}"), progress) for stream in LOGS
    ]
    return VerifyReport(tuple(reports))


def read_kept(origin: str, checkpoints: Iterable[Path]) -> list[str]:
    """The notes in files that somebody kept of this log, in order of size. Raises `CannotVerify` and `OSError`."""
    kept = kept_notes(checkpoints)
    unknown = [note for note in kept if note.partition("\n")[0] not in {f"{origin}/{stream}" for stream in LOGS}]
    if unknown:
        raise CannotVerify(f"a checkpoint is of {unknown[0].partition(chr(10))[0]}, the keys are of {origin}")
    return kept


class Trust(NamedTuple):
    """Whom somebody trusts: the log by its origin and public keys, and witnesses."""

    origin: str
    keys: Sequence[bytes]
    witnesses: Sequence[WitnessKey]


async def _verify_stream(
    folder: Path, trust: Trust, stream: str, kept: Sequence[str], progress: Progress | None
) -> StreamReport:
    try:
        keys = _keys(folder, trust.origin, stream, trust.keys)
    except NoteError as error:
        fault = Fault(stream, 0, Kind.CHECKPOINT, f"the rotations of the keys: {error}")
        return StreamReport(stream, 0, 0, 0, 0, EMPTY_ROOT.hex(), EMPTY_ROOT.hex(), fault)
    with Workers(leaves_at_hand(folder / stream)) as workers:
        dropped = dropped_in(folder, stream, ACCESSES)
        log = ExportLog(folder / stream, stream, workers, dropped.below if dropped else 0)
        try:
            vouched = vouched_for(keys, [*cosigned_in(folder / stream), *kept], trust.witnesses)
            older = [kept, [each.note for each in vouched]]
            report = replace(await StreamCheck(stream, log, keys, older, progress).run(), dropped=dropped)
            return held_to(report, vouched, trust.witnesses)
        finally:
            await log.close()


def _keys(folder: Path, origin: str, stream: str, trusted: Sequence[bytes]) -> StreamKeys:
    rotations = folder / ROTATIONS
    return stream_keys(origin, stream, trusted, list(read_notes(rotations)) if rotations.is_file() else [])


def read_keys(texts: Sequence[str]) -> tuple[str, list[bytes]]:
    """The log's origin and the public keys, from verifier keys of any of its streams. Raises `CannotVerify`."""
    found = [_read_key(text) for text in texts]
    if not found:
        raise CannotVerify("a verifier key is needed: verifying with the export's own would prove nothing")
    origins = {key.name.rpartition("/")[0] for key in found}
    if len(origins) > 1:
        raise CannotVerify(f"the keys are of different logs: {', '.join(sorted(origins))}")
    return origins.pop(), list(dict.fromkeys(key.public for key in found))


def _read_key(text: str) -> VerifierKey:
    try:
        key = parse_verifier_key(text.strip())
    except NoteError as error:
        raise CannotVerify(f"the key {text.strip()!r}: {error}") from error
    if key.name.rpartition("/")[2] not in LOGS:
        raise CannotVerify(f"the key {text.strip()!r} is of none of the streams {', '.join(LOGS)}")
    return key
