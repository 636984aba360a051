"""The witness's one operation: `add-checkpoint` of C2SP tlog-witness.

    parsed  →  a log it knows  →  signed by it  →  BEGIN (the log's turn)  →  from where it stands  →  proof holds  →
    kept, durably  →  END  →  cosigned

A checkpoint is kept before it is cosigned. Killed in between, the witness has seen what it did not say: the log learns
its size by a 409 and asks from there.
"""

import asyncio
import re
from collections import defaultdict
from typing import NamedTuple

from amana.audit.checkpoint import Checkpoint, NoteError, VerifierKey, decode_base64, open_note, split_note
from amana.audit.cosignature import cosign
from amana.audit.merkle import EMPTY_ROOT, HASH_BYTES, verify_consistency
from amana.audit.witnessing.folder import WitnessFolder
from amana.infra import clock
from amana.infra.telemetry import logger

PROOF_MAX = 63
SIZE_TYPE = "text/x.tlog.size"
TEXT_TYPE = "text/plain; charset=utf-8"
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")

log = logger("amana.audit.witnessing")


class Answer(NamedTuple):
    """What is answered over HTTP."""

    status: int
    body: str
    media_type: str = TEXT_TYPE


class Added(NamedTuple):
    """A request: the size that the proof begins at, the proof, and the note."""

    old: int
    proof: list[bytes]
    note: str


class Witness:
    """See the module."""

    def __init__(self, folder: WitnessFolder) -> None:
        self._folder = folder
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def add(self, body: bytes) -> Answer:
        """The answer to a request. Raises `CustodyError` where the state can't be used: nothing is signed."""
        try:
            added = read_added(body)
            text, _ = split_note(added.note)
        except NoteError as error:
            return Answer(400, f"{error}\n")
        keys = self._folder.logs.get(text.partition("\n")[0])
        if not keys:
            return Answer(404, "this log is not known here\n")
        try:
            checkpoint = _opened(added.note, keys)
        except NoteError as error:
            return Answer(403, f"{error}\n")
        if added.old > checkpoint.size:
            return Answer(400, "the old size is above that of the checkpoint\n")
        async with self._turns[checkpoint.origin]:
            refusal = await self._take(added, checkpoint)
        if refusal is not None:
            return refusal
        at = clock.unix_ms() // 1000
        log.info("cosigned", origin=checkpoint.origin, size=checkpoint.size)
        return Answer(200, cosign(text, self._folder.name, self._folder.private, at))

    async def _take(self, added: Added, checkpoint: Checkpoint) -> Answer | None:
        """Keeps the checkpoint as the newest one, or says why not."""
        known = await asyncio.to_thread(self._folder.newest, checkpoint.origin)
        size, root = (known.size, known.root) if known else (0, EMPTY_ROOT)
        if added.old != size:
            return Answer(409, f"{size}\n", SIZE_TYPE)
        if not verify_consistency(size, root, checkpoint.size, checkpoint.root, added.proof):
            log.critical("does_not_extend", origin=checkpoint.origin, size=size, note=added.note)
            return Answer(422, "the checkpoint does not extend the one that was cosigned\n")
        if known != checkpoint:
            await asyncio.to_thread(self._folder.keep, checkpoint)
        return None


def read_added(body: bytes) -> Added:
    """Reads a request: `old <size>`, hashes in base64, an empty line, a note. Raises `NoteError`."""
    try:
        head, separator, note = body.decode().partition("\n\n")
    except UnicodeDecodeError as error:
        raise NoteError("not UTF-8") from error
    old, *lines = head.split("\n")
    found = _OLD.fullmatch(old)
    if not separator or found is None:
        raise NoteError("a request is an old size, a proof, an empty line and a checkpoint")
    if len(lines) > PROOF_MAX:
        raise NoteError(f"a proof has at most {PROOF_MAX} hashes")
    proof = [decode_base64(line) for line in lines]
    if any(len(part) != HASH_BYTES for part in proof):
        raise NoteError("a hash of the proof is not one of SHA-256")
    return Added(int(found[1]), proof, note)


def _opened(note: str, keys: list[VerifierKey]) -> Checkpoint:
    """The checkpoint that one of the keys signed, and none of them wrongly. Raises `NoteError`."""
    _, signatures = split_note(note)
    ids = {(name, payload[:4]) for name, payload in signatures}
    ours = [key for key in keys if (key.name, key.key_id()) in ids]
    if not ours:
        raise NoteError("not signed by a key that is trusted for this log")
    checkpoint, *_ = [open_note(note, key) for key in ours]
    return checkpoint
