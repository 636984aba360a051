"""Has witnesses cosign the checkpoints of the log, one loop for each witness and stream.

    the newest checkpoint  →  a proof from what the witness has  →  POST add-checkpoint  →  its line verified  →  kept

Sealing waits for none of it. A witness that is away is asked again; it then vouches for all that was left out. One that
says that it has seen more than the log has, or another log, is an alarm: the log was cut off, or it forked.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from amana.audit import meters
from amana.audit.checkpoint import NoteError, encode_base64
from amana.audit.cosignature import WitnessKey, cosigned, parse_witness_key, with_lines
from amana.audit.custody import Custody
from amana.audit.leaf import LOGS
from amana.audit.notes import claimed_size
from amana.audit.places import CustodyError
from amana.audit.store import Store
from amana.audit.tree import consistency_proof
from amana.audit.vouching import WITNESSES_MAX
from amana.infra.http import HttpClient, Reply, UpstreamUnavailable
from amana.infra.settings import Settings
from amana.infra.telemetry import logger

ASK_EVERY_S = 10.0
"""How far a cosigned checkpoint may be behind the newest one."""
AGAIN_S = 1.0
AWAY_PAUSE_S = 10.0
TIMEOUT_MS = 5_000
ANSWER_MAX_BYTES = 16 * 1024

log = logger("amana.audit.cosigning")


class AskedWitness(NamedTuple):
    """A witness that is asked: its key, and the URL that `/add-checkpoint` is added to."""

    key: WitnessKey
    url: str


class Cosigner:
    """Asks one witness for cosignatures of one stream."""

    def __init__(self, witness: AskedWitness, stream: str, store: Store, custody: Custody, client: HttpClient) -> None:
        self._witness = witness
        self._stream = stream
        self._store = store
        self._custody = custody
        self._client = client
        self._place = f"witness {witness.key.name}"
        self._done: int | None = None
        self._known = 0
        self._trouble = ""

    async def step(self) -> float:
        """Asks once, where there is a new checkpoint. Returns the seconds to wait until the next time."""
        if self._done is None:
            kept = await asyncio.to_thread(self._custody.cosigned_by, self._stream, self._witness.key.key_id())
            self._done = self._known = claimed_size(kept) if kept else 0
        async with self._store.rows() as rows:
            newest = await rows.newest_checkpoint(self._stream)
            if newest is None or newest.size == self._done:
                return ASK_EVERY_S
            if self._known > newest.size:
                return self._is_trouble(f"it has seen {self._known} leaves, the log has {newest.size}")
            grows = 0 < self._known < newest.size
            proof = await consistency_proof(rows, self._stream, self._known, newest.size) if grows else []
        lines = [f"old {self._known}", *map(encode_base64, proof), "", newest.note]
        try:
            reply = await self._client.request(
                "POST",
                f"{self._witness.url}/add-checkpoint",
                body="\n".join(lines).encode(),
                headers={"Content-Type": "text/plain; charset=utf-8"},
                timeout_ms=TIMEOUT_MS,
            )
        except UpstreamUnavailable as error:
            return self._is_trouble(str(error))
        return await self._took(newest.note, newest.size, reply)

    async def _took(self, note: str, size: int, reply: Reply) -> float:
        """Makes of an answer what it says."""
        body = reply.body[:ANSWER_MAX_BYTES].decode(errors="replace")
        if reply.status == 409 and (known := _size_in(body)) is not None and known != self._known:
            self._known = known
            return AGAIN_S
        if reply.status != 200:
            return self._is_trouble(f"{reply.status}: {body.strip()[:200]}")
        try:
            found = cosigned(note + body, self._witness.key)
        except NoteError as error:
            return self._is_trouble(f"its answer is no cosignature: {error}")
        if found is None:
            return self._is_trouble("its answer is not signed with its key")
        cosigned_note = with_lines(note, [found.line])
        await asyncio.to_thread(self._custody.keep_cosigned, self._stream, self._witness.key.key_id(), cosigned_note)
        self._done = self._known = size
        self._trouble = ""
        meters.PLACE_AWAY.labels(self._stream, self._place).set(0)
        meters.COSIGNED.labels(self._stream, self._witness.key.name).set(size)
        return ASK_EVERY_S

    def _is_trouble(self, detail: str) -> float:
        if detail != self._trouble:
            log.error("not_cosigned", stream=self._stream, witness=self._witness.key.label, detail=detail)
        self._trouble = detail
        meters.PLACE_AWAY.labels(self._stream, self._place).set(1)
        return AWAY_PAUSE_S


def cosigning_steps(
    settings: Settings, store: Store, custody: Custody, client: HttpClient
) -> dict[str, Callable[[], Awaitable[float]]]:
    """The loops by name; none where the settings name no witnesses. Raises `CustodyError` for a file that is none."""
    witnesses = list(read_witnesses(Path(settings.audit_witness_file))) if settings.audit_witness_file else []
    return {
        f"cosign {stream} {witness.key.label}": Cosigner(witness, stream, store, custody, client).step
        for witness in witnesses
        for stream in LOGS
    }


def read_witnesses(file: Path) -> Iterator[AskedWitness]:
    """The witnesses in a file: a verifier key and a URL on each line. Raises `CustodyError`."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CustodyError(f"{file} can't be read: {error}") from error
    wanted = [line for line in map(str.strip, lines) if line and not line.startswith("#")]
    if len(wanted) > WITNESSES_MAX:
        raise CustodyError(f"{file} names more than {WITNESSES_MAX} witnesses")
    for line in wanted:
        text, _, url = line.partition(" ")
        try:
            key = parse_witness_key(text)
        except NoteError as error:
            raise CustodyError(f"{file}: {text!r}: {error}") from error
        if not url.strip().startswith(("http://", "https://")):
            raise CustodyError(f"{file}: no URL of a witness: {url!r}")
        yield AskedWitness(key, url.strip().rstrip("/"))


def _size_in(body: str) -> int | None:
    size = body.removesuffix("\n")
    return int(size) if size.isascii() and size.isdecimal() and len(size) < 20 else None
