"""One list through the API. What the service refuses a whole list for costs the lines that it names, and no other.

A list that is refused whole was not begun. The lines that the refusal points at are taken out, with the linked groups
that they are in, and the rest is sent again in its order; a list that is too large goes in halves. Each time there is
less to send, so it ends. What the refusal says about no line (a key that is unknown, a wrong address) is the end.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import NamedTuple, TypeAlias

import msgspec

from amana.domain.reasons import Reason
from amana.operate.imports.lists import Fault, Item
from amana.tape.client import Moved, MovedList, Refusal
from amana.wire.problems import FieldError

WHOLE = frozenset({400, 403, 422})
"""Statuses of a list that is refused for some of its lines."""
TOO_LARGE = 413

Move: TypeAlias = Callable[[list[msgspec.Raw]], Awaitable[MovedList | Refusal]]
_LINE = re.compile(r"/transfers/([0-9]{1,6})((?:/.*)?)", re.DOTALL)


class Landed(NamedTuple):
    """What came of a list: the items that were tried with their results, and those that were not, in their order."""

    items: list[Item]
    results: list[Moved]
    faults: list[Fault]


async def send(move: Move, items: Sequence[Item]) -> Landed | Refusal:
    """Sends a list until each of its lines was tried or refused. A `Refusal` is about none of them: nothing goes on."""
    landed = Landed([], [], [])
    waiting = [list(items)] if items else []
    while waiting:
        part = waiting.pop()
        answer = await move([msgspec.Raw(item.encoded) for item in part])
        if isinstance(answer, MovedList):
            assert len(answer.results) == len(part), "one result for each item"
            landed.items.extend(part)
            landed.results.extend(answer.results)
            continue
        groups = _groups_of(part)
        if answer.status == TOO_LARGE and len(groups) > 1:
            half = len(groups) // 2
            waiting += [_joined(groups[half:]), _joined(groups[:half])]
            continue
        faults = _too_large(groups[0]) if answer.status == TOO_LARGE else _faults_of(answer, groups)
        if not faults:
            return answer
        landed.faults.extend(faults)
        out = {fault.line for fault in faults}
        if rest := [item for item in part if item.line not in out]:
            waiting.append(rest)
    return landed


def _groups_of(items: list[Item]) -> list[list[Item]]:
    groups: list[list[Item]] = [[]]
    for item in items:
        groups[-1].append(item)
        if not item.linked:
            groups.append([])
    return [group for group in groups if group]


def _joined(groups: list[list[Item]]) -> list[Item]:
    return [item for group in groups for item in group]


def _faults_of(answer: Refusal, groups: list[list[Item]]) -> list[Fault]:
    """The lines that a refusal names, and those that are linked with them."""
    named = _named(answer) if answer.status in WHOLE else {}
    faults: list[Fault] = []
    places = count()
    for group in groups:
        errors = [named.get(next(places), ()) for _ in group]
        because_of = next((item.line for item, found in zip(group, errors, strict=True) if found), None)
        if because_of is not None:
            faults += [
                Fault(item.line, str(item.id), found, None if found else because_of, _reason(answer, found))
                for item, found in zip(group, errors, strict=True)
            ]
    return faults


def _named(answer: Refusal) -> dict[int, tuple[FieldError, ...]]:
    """By place in the list: what is wrong there, with pointers into the line."""
    found: dict[int, tuple[FieldError, ...]] = {}
    for error in answer.errors:
        if match := _LINE.fullmatch(error.pointer):
            place = int(match[1])
            found[place] = (*found.get(place, ()), FieldError(match[2], error.code, error.detail))
    return found


def _reason(answer: Refusal, errors: tuple[FieldError, ...]) -> str:
    return answer.code if errors else Reason.LINKED_FAILED


def _too_large(group: list[Item]) -> list[Fault]:
    """A line, or a linked group, that can't be sent even alone."""
    error = FieldError("", "too_long", "The service takes no body that is so large.")
    return [Fault(item.line, str(item.id), (error,), None, Reason.BODY_TOO_LARGE) for item in group]
