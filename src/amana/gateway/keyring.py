"""The keys that this process knows just now, none of them older than 5 s, so that a revocation works within 5 s.

While the database is away a key that was good is served a little longer, up to a minute: losing the database of keys
must not stop what needs no database. A key never seen before can't be judged then, and the answer is "unavailable".
"""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from amana.gateway.keys import Claim, StoredKey, claim_in, proves
from amana.gateway.store import KeyStore
from amana.infra import deadline
from amana.infra.postgres import DatabaseUnavailable

FRESH_S = 5.0
"""The age at which an answer of the database is asked for again, counted from before it was asked."""
AHEAD_S = 4.0
"""The age at which a key that `known` gives out is asked for again beforehand, so that it stays known."""
STALE_S = 60.0
"""How old a good key may get while the database does not answer."""
RETRY_S = 1.0
"""How long a failed look-up is not tried again, where a stale key can stand in."""
LOOK_UP_TIMEOUT_S = 2.0
KNOWN_MAX = 10_000
UNKNOWN_MAX = 10_000
"""Ids without a key have a bounded cache of their own, so that guessing can't push out real keys."""

_SCHEME = "bearer "


class _Entry(msgspec.Struct):
    stored: StoredKey | None
    asked_at_s: float
    retry_at_s: float = 0.0
    ahead_at_s: float = 0.0


class Proved(NamedTuple):
    """A key that was proved, and until when (by the ring's clock) that need not be asked again."""

    stored: StoredKey
    until_s: float


class KeyRing:
    """Finds the stored key behind an `Authorization` header: `KeyRing(KeyStore(settings.gateway_database_url))`."""

    def __init__(self, store: KeyStore, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.store = store
        self.clock_s = clock_s
        self._known: dict[str, _Entry] = {}
        self._unknown: dict[str, _Entry] = {}
        self._looking: dict[str, asyncio.Task[_Entry]] = {}

    async def caller_for(self, authorization: str) -> StoredKey | None:
        """The live key that the header proves, or None. Raises `DatabaseUnavailable` when that can't be known."""
        claim = claim_of(authorization)
        if claim is None:
            return None
        stored = await self._stored(claim)
        return stored if proves(claim, stored) else None

    def known(self, claim: Claim) -> Proved | None:
        """The live key that the claim proves, where that needs no look-up; None says nothing: ask `caller_for`."""
        entry = self._known.get(claim.key_id)
        now_s = self.clock_s()
        if entry is None or now_s >= entry.asked_at_s + FRESH_S or not proves(claim, entry.stored):
            return None
        if now_s >= entry.ahead_at_s:
            entry.ahead_at_s = now_s + RETRY_S
            self._looking_up(claim.key_id)
        assert entry.stored is not None, "nobody proves a key that is not there"
        return Proved(entry.stored, min(entry.ahead_at_s, entry.asked_at_s + FRESH_S))

    async def _stored(self, key: Claim) -> StoredKey | None:
        entry = self._known.get(key.key_id) or self._unknown.get(key.key_id)
        now_s = self.clock_s()
        if entry is not None and now_s < max(entry.asked_at_s + FRESH_S, entry.retry_at_s):
            return entry.stored
        try:
            return (await self._look_up_once(key.key_id)).stored
        except DatabaseUnavailable:
            if entry is None or entry.stored is None or now_s >= entry.asked_at_s + STALE_S:
                raise
            entry.retry_at_s = min(now_s + RETRY_S, entry.asked_at_s + STALE_S)
            return entry.stored

    async def _look_up_once(self, key_id: str) -> _Entry:
        """One look-up for all who ask at the same time; a caller that leaves does not cancel it for the others."""
        return await deadline.in_time(asyncio.shield(self._looking_up(key_id)))

    def _looking_up(self, key_id: str) -> asyncio.Task[_Entry]:
        task = self._looking.get(key_id)
        if task is None:
            task = asyncio.create_task(self._look_up(key_id))
            self._looking[key_id] = task
            task.add_done_callback(lambda done: self._looked_up(key_id, done))
        return task

    def _looked_up(self, key_id: str, task: asyncio.Task[_Entry]) -> None:
        self._looking.pop(key_id, None)
        if not task.cancelled():
            task.exception()  # nobody need be waiting for it

    async def _look_up(self, key_id: str) -> _Entry:
        asked_at_s = self.clock_s()
        deadline.enter(None)  # whoever else waits for it has another
        try:
            async with asyncio.timeout(LOOK_UP_TIMEOUT_S):
                stored = await self.store.find_key(key_id)
        except TimeoutError as error:
            raise DatabaseUnavailable("the key could not be looked up in time") from error
        entry = _Entry(stored, asked_at_s, ahead_at_s=asked_at_s + AHEAD_S)
        self._known.pop(key_id, None)
        self._unknown.pop(key_id, None)
        if stored is None:
            _remember(self._unknown, key_id, entry, UNKNOWN_MAX)
        else:
            _remember(self._known, key_id, entry, KNOWN_MAX)
        return entry


def claim_of(authorization: str) -> Claim | None:
    """The claim that an `Authorization` header spells, if it does."""
    if authorization[: len(_SCHEME)].lower() != _SCHEME:
        return None
    return claim_in(authorization[len(_SCHEME) :])


def _remember(cache: dict[str, _Entry], key_id: str, entry: _Entry, maximum: int) -> None:
    """Adds the newest entry; a dict keeps insertion order, so the first one is the oldest."""
    if len(cache) >= maximum:
        cache.pop(next(iter(cache)))
    cache[key_id] = entry
