"""Cached verdicts: what may answer "would we lend?", and never "lend".

Two levels, nearest first: this process (`memory`), and a server that all processes share. A verdict on the server
carries the customer's generation as it was before the verdict was computed, and answers only while that is still the
customer's: forgetting is one more generation, and needs to find nothing. So a slow computation can't bring back what
was invalidated, and neither can a slow write. The policy's hash is in the key; age is judged when it is read.

Whoever forgets tells the other processes over a channel. One that can't hear it keeps nothing for long (`memory`).
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from uuid import UUID

import msgspec

from amana.domain.decision import Verdict
from amana.eligibility.memory import Kept, Memory, Slot
from amana.infra.cache import Cache
from amana.infra.collector import Collector, Overloaded

KEEP_MS = 60_000
"""How long the server keeps a customer's generation: longer than any computation that may still write."""
LOOKUPS_MAX = 256
"""Of one call to the server; and how many verdicts are written in one."""
QUEUE_MAX = 4_000
"""Of lookups that wait, and of verdicts that wait to be written; one too many is not written."""
CHANNEL = "amana:eligibility:forget"

_PACKAGE = "amana.eligibility"
_encoder = msgspec.msgpack.Encoder()


class _Cached(msgspec.Struct, frozen=True, array_like=True):
    """A verdict on the server."""

    shape: str
    generation: bytes
    verdict: Verdict


class _Look(msgspec.Struct, frozen=True, gc=False):
    """A question to the server, asked at tick `tick`."""

    slot: Slot
    tick: int
    now: datetime


class Seen(msgspec.Struct, frozen=True, gc=False):
    """What a computation must have seen of a customer before it began, to be kept afterwards. No `generation` where the
    server did not answer: then it is kept in this process alone."""

    tick: int
    generation: bytes | None


class AssessmentCache:
    """Verdicts by tenant, customer, product and policy hash, none older than `ttl_ms`."""

    def __init__(self, server: Cache, memory: Memory, ttl_ms: int) -> None:
        self.memory = memory
        self._server = server
        self._ttl_ms = ttl_ms
        self._decoder = msgspec.msgpack.Decoder(_Cached)
        self._lookups: Collector[_Look, tuple[Kept | None, Seen]] = Collector(
            self._look_up, batch_max=LOOKUPS_MAX, batches_in_flight=2, queue_max=QUEUE_MAX
        )
        self._unwritten: list[tuple[str, bytes]] = []
        self._writing: asyncio.Task[None] | None = None

    def recall(self, slot: Slot) -> Verdict | None:
        """What this process has."""
        return self.memory.get(slot)

    def find(self, slot: Slot, now: datetime) -> "asyncio.Future[tuple[Kept | None, Seen]]":
        """What the server has that is fresh, kept here from now on; and what to say when putting something else."""
        look = _Look(slot, self.memory.tick, now)
        if not self._server.rests:
            try:
                return self._lookups.enqueue(look)
            except Overloaded:
                pass  # then it is computed, or shed there
        nothing: asyncio.Future[tuple[Kept | None, Seen]] = asyncio.get_running_loop().create_future()
        nothing.set_result((None, Seen(look.tick, None)))
        return nothing

    def put(self, slot: Slot, seen: Seen, verdict: Verdict, now: datetime) -> Kept:
        """Keeps a verdict whose computation began after `seen`. Nobody waits for the server."""
        kept = self.memory.put(slot, verdict, seen.tick, self._left_s(verdict, now))
        if seen.generation is None or len(self._unwritten) >= QUEUE_MAX:
            return kept  # elsewhere the next answer is computed
        value = _encoder.encode(_Cached(_shape(), seen.generation, verdict))
        self._unwritten.append((_keys(slot)[0], value))
        if self._writing is None:  # a turn later, so that all that is put in this one rides together
            self._writing = asyncio.create_task(self._write())
        return kept

    async def forget(self, tenant: int, customer: UUID) -> None:
        """Drops all that is cached of a customer, everywhere. Where the server does not answer, age alone bounds what
        other processes keep."""
        self.memory.forget(tenant, customer)
        message = f"{tenant}:{customer.hex}"
        generation = _generation_key(tenant, customer)
        await self._server.run(_PACKAGE, "cache_forget.lua", generation, KEEP_MS, CHANNEL, message)

    def heard(self, message: bytes) -> None:
        """Another process forgot somebody. Where it can't be read whom, everybody is forgotten here."""
        try:
            tenant, _, customer = message.decode("ascii").partition(":")
            self.memory.forget(int(tenant), UUID(hex=customer))
        except ValueError:
            self.memory.clear(hears=True)

    async def drain(self) -> None:
        """Waits for what is on its way to the server."""
        while self._writing is not None:
            await asyncio.wait([self._writing])

    async def _look_up(self, looks: list[_Look]) -> list[tuple[Kept | None, Seen] | Exception]:
        """What `find` gives for each. One MGET."""
        keys = [key for look in looks for key in _keys(look.slot)]
        found = await self._server.get_many(keys)
        if found is None:
            return [(None, Seen(look.tick, None)) for look in looks]
        pairs = iter(found)
        return [self._found(look, value, next(pairs) or b"") for look, value in zip(looks, pairs, strict=False)]

    def _found(self, look: _Look, value: bytes | None, generation: bytes) -> tuple[Kept | None, Seen]:
        seen = Seen(look.tick, generation)
        verdict = self._fresh(value, generation, look.now)
        if verdict is None:
            return None, seen
        return self.memory.put(look.slot, verdict, look.tick, self._left_s(verdict, look.now)), seen

    async def _write(self) -> None:
        """Writes what is to be written, some at a time, until there is nothing more."""
        try:
            while some := self._unwritten[:LOOKUPS_MAX]:
                del self._unwritten[:LOOKUPS_MAX]
                await self._server.put_many(some, self._ttl_ms)
        finally:
            self._writing = None

    def _fresh(self, value: bytes | None, generation: bytes, now: datetime) -> Verdict | None:
        if value is None:
            return None
        try:
            cached = self._decoder.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None  # written by another version of this program
        if cached.shape != _shape() or cached.generation != generation:
            return None
        age = now - cached.verdict.assessed_at
        return cached.verdict if timedelta(0) <= age <= timedelta(milliseconds=self._ttl_ms) else None

    def _left_s(self, verdict: Verdict, now: datetime) -> float:
        return self._ttl_ms / 1000 - (now - verdict.assessed_at).total_seconds()


def _keys(slot: Slot) -> tuple[str, str]:
    """Under what the server has a verdict, and its customer's generation."""
    generation = _generation_key(slot.tenant, slot.customer)
    return f"{generation}:{slot.product}:{slot.policy_hash[:32]}", generation


def _generation_key(tenant: int, customer: UUID) -> str:
    return f"amana:eligibility:{tenant}:{customer.hex}"


@cache
def _shape() -> str:
    """A fingerprint of what is cached: a program with other fields must not read it."""
    fields: Sequence[object] = [(field.name, str(field.type)) for field in msgspec.structs.fields(Verdict)]
    return sha256(repr(fields).encode()).hexdigest()[:16]
