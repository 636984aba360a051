"""What becomes of each message of a batch. Pure: what the database knows of them comes in as `Known`.

Messages of one key keep their order whatever happens to one of them: behind a dead letter the later ones of its key
are parked, and no other key notices. A WHOLE event that comes after a gap of versions waits while something below it in
the stream is still missing; an earlier one of its key then passes it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from amana.infra.consuming.records import Fact, Order, Place, Read, Unreadable

BEHIND = "behind_a_dead_letter"
VERSION_GAP = "version_gap"

Aggregate = tuple[int, UUID]
"""Tenant and id."""


class State(StrEnum):
    """Of a letter. DEAD: it could not be handled. PARKED: it stands behind a dead one of its key. WAITING: for what is
    missing before it. DONE: handled after all. DISCARDED: a person gave it up."""

    DEAD = "dead"
    PARKED = "parked"
    WAITING = "waiting"
    DONE = "done"
    DISCARDED = "discarded"


class Letter(NamedTuple):
    """A message to be kept, and why."""

    read: Read
    state: State
    reason: str
    error: str = ""
    attempts: int = 0


@dataclass(slots=True)
class Known:
    """What is known before a batch. `below`, by stream, is the first position not taken yet; `blocked` are the keys
    with a dead or parked letter; `waiting` has the lowest position that waits, by key; `versions` what was applied."""

    below: dict[str, int]
    blocked: set[bytes] = field(default_factory=set)
    waiting: dict[bytes, int] = field(default_factory=dict)
    versions: dict[Aggregate, int] = field(default_factory=dict)


@dataclass(slots=True)
class Plan:
    """What to do with a batch: facts to apply, letters to keep, versions to note, and how many were ignored as old."""

    facts: list[Fact] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    versions: dict[Aggregate, int] = field(default_factory=dict)
    older: int = 0


def plan(reads: Iterable[Read], known: Known) -> Plan:
    """What to do with messages that nobody has taken yet, in order of position. Changes `known` as it goes."""
    made = Plan()
    for read in reads:
        if read.problem is not None:
            _bury(made, read, read.problem, known)
        elif read.fact is not None and read.place is not None:
            _place(made, read, read.fact, read.place, known)
        if read.place is not None and read.place.position == known.below[read.place.stream]:
            known.below[read.place.stream] += 1
    return made


def _bury(made: Plan, read: Read, problem: Unreadable, known: Known) -> None:
    key = read.message.key
    if read.place is not None and key in known.blocked:
        made.letters.append(Letter(read, State.PARKED, BEHIND))
        return
    made.letters.append(Letter(read, State.DEAD, problem.reason, str(problem), problem.attempts))
    if read.place is not None and key:
        known.blocked.add(key)


def _place(made: Plan, read: Read, fact: Fact, place: Place, known: Known) -> None:
    key = read.message.key
    if key in known.blocked:
        made.letters.append(Letter(read, State.PARKED, BEHIND))
        return
    aggregate = (fact.tenant, fact.aggregate)
    applied = known.versions.get(aggregate, 0)
    if fact.order is not Order.ALONE and fact.version <= applied:
        made.older += 1
        return
    behind = place.position > known.waiting.get(key, place.position)
    if fact.order is Order.WHOLE and (behind or _after_a_gap(place, fact, applied, known)):
        made.letters.append(Letter(read, State.WAITING, VERSION_GAP))
        known.waiting.setdefault(key, place.position)
        return
    made.facts.append(fact)
    if fact.order is not Order.ALONE:
        known.versions[aggregate] = made.versions[aggregate] = fact.version


def _after_a_gap(place: Place, fact: Fact, applied: int, known: Known) -> bool:
    """Whether a version is missing that may still come: nothing can once all below this position was taken."""
    return fact.version > applied + 1 and place.position > known.below[place.stream]
