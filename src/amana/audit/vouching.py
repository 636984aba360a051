"""What witnesses vouch for: the newest checkpoint that each cosigned, and what is missing. Imports no driver.

A checkpoint counts where the log and the witness signed it. The verifier then holds the log to its size and root, as to
any that somebody kept: what is before it is what the witness saw, and everybody else who asked.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from amana.audit.checkpoint import NoteError
from amana.audit.cosignature import WitnessKey, cosigned, parse_witness_key
from amana.audit.findings import CannotVerify, Fault, Kind, StreamReport, Witnessed
from amana.audit.keys import StreamKeys
from amana.audit.notes import read_notes

COSIGNED = "cosigned"
"""In an export, of a stream: the newest note that each witness cosigned."""
COSIGNED_MAX = 1_000
WITNESSES_MAX = 100


class Vouched(NamedTuple):
    """What a witness cosigned, and the note."""

    witnessed: Witnessed
    note: str


def read_witness_keys(texts: Iterable[str]) -> list[WitnessKey]:
    """The keys of witnesses that somebody trusts. Raises `CannotVerify`."""
    found = []
    for text in texts:
        try:
            found.append(parse_witness_key(text.strip()))
        except NoteError as error:
            raise CannotVerify(f"the witness key {text.strip()!r}: {error}") from error
    if len(found) > WITNESSES_MAX:
        raise CannotVerify(f"more than {WITNESSES_MAX} witness keys were given")
    return list(dict.fromkeys(found))


def vouched_for(keys: StreamKeys, notes: Iterable[str], witnesses: Sequence[WitnessKey]) -> list[Vouched]:
    """The largest checkpoint of the stream that each witness cosigned, in order of size; nothing of who has none."""
    best: dict[WitnessKey, Vouched] = {}
    for note in notes:
        for witness in witnesses:
            found = _vouched(keys, note, witness)
            if found and (witness not in best or found.witnessed.size > best[witness].witnessed.size):
                best[witness] = found
    return sorted(best.values(), key=lambda each: each.witnessed.size)


def held_to(report: StreamReport, vouched: Sequence[Vouched], witnesses: Sequence[WitnessKey]) -> StreamReport:
    """The report with what the witnesses vouch for. That one vouches for nothing sealed is a fault of the stream."""
    found = tuple(each.witnessed for each in vouched)
    missing = [witness.label for witness in witnesses if witness.label not in {each.witness for each in found}]
    fault = report.fault
    if fault is None and report.sealed and missing:
        fault = Fault(report.stream, 0, Kind.COSIGNATURE, f"no checkpoint is cosigned by {' or '.join(missing)}")
    return replace(report, witnessed=found, fault=fault)


def cosigned_in(folder: Path) -> list[str]:
    """The notes that an export has of a stream with cosignatures. Raises `OSError`."""
    file = folder / COSIGNED
    return list(islice(read_notes(file), COSIGNED_MAX)) if file.is_file() else []


def _vouched(keys: StreamKeys, note: str, witness: WitnessKey) -> Vouched | None:
    """None where the log or the witness did not sign the note, or where a signature of theirs is wrong."""
    try:
        found = cosigned(note, witness)
        return Vouched(Witnessed(witness.label, keys.open(note).size, found.at), note) if found else None
    except NoteError:
        return None
