"""Cached assessments: what may answer "would we lend?", and never "lend".

One hash per customer: a field for each product under one policy (its hash is in the name, so that publishing needs no
delete), and the customer's generation. A write names the generation it read before it computed; forgetting the customer
makes a new one, so a slow computation can't bring back what was invalidated. Age is judged when it is read.
"""

from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

import msgspec

from amana.domain.decision import Assessment
from amana.infra.cache import Cache

TTL_MS = 5_000
"""The oldest assessment that may answer."""
KEEP_MS = 60_000
"""How long the server keeps a customer's hash: longer than any computation that may still write to it."""

_PACKAGE = "amana.eligibility"


class CachedAssessment(msgspec.Struct, frozen=True, kw_only=True):
    """An assessment and the decision that recorded it."""

    shape: str
    decision_id: UUID
    assessment: Assessment


class Slot(NamedTuple):
    """Where an assessment would be kept: the customer's key, the field, and the generation that was read."""

    key: str
    field: str
    generation: bytes


class AssessmentCache:
    """Assessments by tenant, customer, product and policy hash."""

    def __init__(self, cache: Cache, ttl_ms: int = TTL_MS) -> None:
        self._cache = cache
        self._ttl = timedelta(milliseconds=ttl_ms)
        self._decoder = msgspec.msgpack.Decoder(CachedAssessment)

    async def find(
        self, tenant: int, customer: UUID, product: str, policy_hash: str, now: datetime
    ) -> tuple[CachedAssessment | None, Slot | None]:
        """What is cached and fresh, and where to put what is computed instead; no slot without an answer."""
        key, field = _key(tenant, customer), f"{product}:{policy_hash}"
        found = await self._cache.get_fields(key, [field, "generation"])
        if found is None:
            return None, None
        return self._fresh(found[0], now), Slot(key, field, found[1] or b"")

    async def put(self, slot: Slot, decision_id: UUID, assessment: Assessment) -> None:
        """Keeps an assessment whose computation began after `slot` was read."""
        value = msgspec.msgpack.encode(CachedAssessment(shape=_shape(), decision_id=decision_id, assessment=assessment))
        await self._cache.run(_PACKAGE, "cache_put.lua", slot.key, slot.generation, slot.field, value, KEEP_MS)

    async def forget(self, tenant: int, customer: UUID) -> None:
        """Drops all that is cached of a customer. Where the server does not answer, age alone bounds what stays."""
        await self._cache.run(_PACKAGE, "cache_forget.lua", _key(tenant, customer), KEEP_MS)

    def _fresh(self, value: bytes | None, now: datetime) -> CachedAssessment | None:
        if value is None:
            return None
        try:
            cached = self._decoder.decode(value)
        except msgspec.DecodeError:
            return None  # written by another version of this program
        fresh = cached.shape == _shape() and timedelta(0) <= now - cached.assessment.assessed_at <= self._ttl
        return cached if fresh else None


def _key(tenant: int, customer: UUID) -> str:
    return f"amana:eligibility:{tenant}:{customer}"


@cache
def _shape() -> str:
    """A fingerprint of what is cached: a program with other fields must not read it."""
    schema = msgspec.json.encode(msgspec.json.schema(CachedAssessment), order="sorted")
    return sha256(schema).hexdigest()[:16]
