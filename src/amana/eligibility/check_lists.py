"""Lists of checks: each item is answered as a single check would be, in input order, and fails alone.

A list never has more than `CHECKS_IN_FLIGHT` of its checks in the flow, so it takes a twentieth of the queue at most
and single checks go on beside it. What the flow sheds or can't reach is that item's refusal, which may be sent again;
only where no item at all was answered is the whole request refused with that cause.

An id that stands twice in a list is asked again once its first use was answered: the first one in the list decides.
"""

import asyncio
from collections.abc import Sequence
from typing import TypeAlias
from uuid import UUID

from amana.eligibility.answers import Result
from amana.eligibility.flow import Flow
from amana.eligibility.records import Check

CHECKS_IN_FLIGHT = 200

Outcome: TypeAlias = Result | Exception
"""What came of one item: its answer, why not, or what went wrong with it alone."""


async def check_all(flow: Flow, checks: Sequence[Check]) -> list[Outcome]:
    """One outcome for each check, in order. Raises what went wrong where not one of them was answered."""
    found: dict[int, Outcome] = {}
    for places in _passes(checks):
        await _answer(flow, checks, places, found)
    outcomes = [found[at] for at in range(len(checks))]
    failures = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    if failures and len(failures) == len(outcomes):
        raise _gravest(failures)
    return outcomes


def _passes(checks: Sequence[Check]) -> tuple[list[int], list[int]]:
    """The places of the items: those whose id is new in the list, and then those that repeat one."""
    seen: set[UUID] = set()
    new: list[int] = []
    repeated: list[int] = []
    for at, check in enumerate(checks):
        (repeated if check.id in seen else new).append(at)
        if check.id is not None:
            seen.add(check.id)
    return new, repeated


async def _answer(flow: Flow, checks: Sequence[Check], places: list[int], found: dict[int, Outcome]) -> None:
    waiting = iter(places)

    async def work() -> None:
        for at in waiting:
            try:
                found[at] = await flow.check(checks[at])
            except Exception as error:
                found[at] = error

    await asyncio.gather(*(work() for _ in range(min(CHECKS_IN_FLIGHT, len(places)))))


def _gravest(failures: Sequence[Exception]) -> Exception:
    """A COMMIT in doubt before all others: then "nothing was done" must not be said."""
    return next((error for error in failures if not getattr(error, "outcome_known", True)), failures[0])
