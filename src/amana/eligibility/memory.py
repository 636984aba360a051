"""The nearest cache: verdicts in this process, for the questions that need no round trip at all.

What is forgotten leaves a floor: a verdict whose computation began before it is not kept. Every entry ends by itself,
a little earlier or later than its neighbours; while nobody could tell this process what to forget, soon.
"""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from typing import TypeAlias
from uuid import UUID

import msgspec

from amana.domain.decision import Verdict
from amana.domain.policy import Outcome

FLOORS_MAX = 100_000
"""Customers whose floors are kept apart; the oldest one becomes everybody's."""
JITTER = 0.2
"""An entry ends up to this part of its time early."""

ENDED_MAX = 10_000
"""Entries that are dropped at a time because they ended."""
STANDINGS_MAX = 20_000
"""Different standings that are known to be the same again."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_encode = msgspec.json.Encoder().encode

Place: TypeAlias = tuple[int, str, int]
"""(tenant, product, the customer's id as an integer): a third of the memory and of the time of a `UUID`."""
_Said: TypeAlias = tuple[str, Outcome, tuple[str, ...], tuple[str, ...], int, int, int]
"""What a verdict says, whoever the customer is: from the policy's hash to the headroom, in the verdict's order."""


class Slot(msgspec.Struct, frozen=True, gc=False):
    """What an answer is kept under."""

    tenant: int
    customer: UUID
    product: str
    policy_hash: str

    @property
    def place(self) -> Place:
        """Where it is in memory, whatever the policy."""
        return self.tenant, self.product, self.customer.int


class Kept(msgspec.Struct, frozen=True, gc=False):
    """A verdict in memory. `standing` numbers what it says apart from whose it is: verdicts of one number give one
    reply, but for the decision's id and its age: those are `id` and `as_of` in JSON, `at_us` microseconds since 1970.
    """

    verdict: Verdict
    until_s: float
    standing: int
    id: bytes
    as_of: bytes
    at_us: int


class Memory:
    """At most `entries_max` verdicts; the one kept first goes first. `unheard_s` is how long an entry may live while
    invalidations of other processes can't be heard."""

    def __init__(
        self, entries_max: int, ttl_s: float, unheard_s: float, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._entries_max = entries_max
        self._ttl_s = ttl_s
        self._unheard_s = unheard_s
        self._clock_s = clock_s
        self._hears = False
        self._held: dict[Place, Kept] = {}
        self._products: dict[int, set[str]] = {}
        self._floors: dict[tuple[int, int], int] = {}
        self._floor = 0
        self._standings: dict[_Said, tuple[_Said, int]] = {}
        self._numbers = count()  # never one again, so that nothing rendered for one standing is told of another
        self.tick = 0
        """Grows with whatever is forgotten. A computation notes it before it begins."""

    def __len__(self) -> int:
        return len(self._held)

    def get(self, slot: Slot) -> Verdict | None:
        """What is kept, of that policy and not too old."""
        kept = self.kept(slot.place, slot.policy_hash)
        return None if kept is None else kept.verdict

    def kept(self, place: Place, policy_hash: str) -> Kept | None:
        """As `get`, with what is known of the verdict here."""
        kept = self._held.get(place)
        if kept is None or self._clock_s() >= kept.until_s or kept.verdict.policy_hash != policy_hash:
            return None
        return kept

    def put(self, slot: Slot, verdict: Verdict, begun: int, left_s: float) -> Kept:
        """Keeps a verdict whose computation began at tick `begun` and which has `left_s` to live; as it is kept, or
        would be where it is not."""
        customer = slot.tenant, slot.customer.int
        if begun < self._floors.get(customer, self._floor) or begun < self._floor or left_s <= 0:
            return self.described(verdict, slot.policy_hash)
        place = slot.place
        if len(self._held) >= self._entries_max and place not in self._held:
            self._held.pop(next(iter(self._held)))
        self._products.setdefault(slot.tenant, set()).add(slot.product)
        left_s = min(left_s, self._ttl_s if self._hears else self._unheard_s)
        until_s = self._clock_s() + left_s * (1 - JITTER * random.random())  # noqa: S311  no secret
        self._held.pop(place, None)  # the newest stand last
        kept = self._held[place] = self.described(verdict, slot.policy_hash, until_s)
        return kept

    def described(self, verdict: Verdict, policy_hash: str, until_s: float = 0.0) -> Kept:
        """A verdict with what is known of it here, kept or not."""
        verdict, standing = self._shared(verdict, policy_hash)
        at = verdict.assessed_at
        at_us = (at - _EPOCH) // _MICROSECOND
        return Kept(verdict, until_s, standing, _encode(verdict.decision_id), _encode(at), at_us)

    def forget(self, tenant: int, customer: UUID) -> None:
        """Drops all of a customer."""
        self.tick += 1
        for product in self._products.get(tenant, ()):
            self._held.pop((tenant, product, customer.int), None)
        self._floors.pop((tenant, customer.int), None)
        if len(self._floors) >= FLOORS_MAX:
            oldest = next(iter(self._floors))
            self._floor = max(self._floor, self._floors.pop(oldest))
        self._floors[tenant, customer.int] = self.tick

    def clear(self, *, hears: bool) -> None:
        """Drops everything: what was to be forgotten meanwhile is not known. `hears` says whether it is from now on."""
        self.tick += 1
        self._held.clear()
        self._floors.clear()
        self._floor = self.tick
        self._hears = hears

    def sample(self, number: int) -> list[tuple[Slot, Verdict]]:
        """Up to `number` entries that stand together somewhere; those that ended long ago are dropped on the way."""
        now_s = self._clock_s()
        for place, kept in list(islice(self._held.items(), ENDED_MAX)):
            if now_s < kept.until_s:
                break
            del self._held[place]
        begin = random.randrange(max(1, len(self._held)))  # noqa: S311  no secret
        chosen = list(islice(self._held.items(), begin, begin + number))
        chosen += islice(self._held.items(), min(begin, number - len(chosen)))  # round the end, so that none is rare
        return [
            (Slot(tenant, UUID(int=customer), product, kept.verdict.policy_hash), kept.verdict)
            for (tenant, product, customer), kept in chosen
        ]

    def _shared(self, verdict: Verdict, policy_hash: str) -> tuple[Verdict, int]:
        """The same, what it says shared with all others that say it; and the number of that."""
        said = (
            policy_hash,
            verdict.outcome,
            verdict.knockouts,
            verdict.factors,
            verdict.exposure_cap,
            verdict.exposure,
            verdict.headroom,
        )
        if len(self._standings) >= STANDINGS_MAX:
            self._standings.clear()
        said, number = self._standings.setdefault(said, (said, next(self._numbers)))
        return Verdict(verdict.decision_id, said[0], verdict.facts_version, verdict.assessed_at, *said[1:]), number
