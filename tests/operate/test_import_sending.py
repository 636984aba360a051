"""What becomes of a list that the service refuses whole: the lines that it names are told, the rest is tried."""

from collections.abc import Mapping
from uuid import UUID

import msgspec
import pytest

from amana.domain.ids import uuid7
from amana.operate.imports.lists import Item
from amana.operate.imports.sending import Landed, Move, send
from amana.tape.client import Moved, MovedList, Refusal
from amana.wire.problems import FieldError


def items(count: int, linked: frozenset[int] = frozenset()) -> list[Item]:
    """Lines 1 to `count`."""
    return [
        Item(n, uuid7(n, 0), msgspec.json.encode({"line": n}), linked=n in linked, effective_on=None)
        for n in range(1, count + 1)
    ]


class Service:
    """Refuses lists with lines that it does not take, naming so many of them, and lists that are too long."""

    def __init__(self, bad: Mapping[int, str], named_max: int = 20, items_max: int = 5_000, status: int = 400) -> None:
        self._bad, self._named_max, self._items_max, self._status = bad, named_max, items_max, status
        self.requests = 0
        self.tried: list[int] = []

    async def move(self, transfers: list[msgspec.Raw]) -> MovedList | Refusal:
        """As `Client.move`."""
        self.requests += 1
        lines = [msgspec.json.decode(one)["line"] for one in transfers]
        if len(lines) > self._items_max:
            return Refusal(413, "body_too_large", "")
        wrong = [(place, self._bad[line]) for place, line in enumerate(lines) if line in self._bad]
        if wrong:
            errors = (FieldError(f"/transfers/{place}/{name}", "x", "No.") for place, name in wrong[: self._named_max])
            return Refusal(self._status, "validation", "", tuple(errors))
        self.tried += lines
        return MovedList([Moved(status="posted", figures={"line": line}) for line in lines])


async def landed(move: Move, sent: list[Item]) -> Landed:
    """What came of a list that did not stop the import."""
    found = await send(move, sent)
    assert isinstance(found, Landed)
    assert [item.line for item in found.items] == [result.figures["line"] for result in found.results]
    lines = [item.line for item in found.items] + [fault.line for fault in found.faults]
    assert sorted(lines) == [item.line for item in sent]
    return found


@pytest.mark.parametrize("named_max", [1, 3, 20])
@pytest.mark.parametrize("status", [400, 403, 422])
async def test_the_lines_that_are_named_cost_themselves_only_however_many_are_named_at_a_time(
    named_max: int, status: int
) -> None:
    bad = {1: "amount", 2: "effective_on", 50: "id", 99: "metadata/a~1b", 100: "amount"}
    service = Service(bad, named_max, status=status)
    found = await landed(service.move, items(100))
    assert service.tried == [n for n in range(1, 101) if n not in bad]
    assert {fault.line: fault.errors[0].pointer.removeprefix("/") for fault in found.faults} == bad
    assert {fault.reason for fault in found.faults} == {"validation"}
    assert service.requests == -(-len(bad) // named_max) + 1


async def test_a_list_of_nothing_but_refused_lines_ends() -> None:
    service = Service(dict.fromkeys(range(1, 31), "amount"), named_max=1)
    found = await landed(service.move, items(30))
    assert (service.requests, service.tried, len(found.faults)) == (30, [], 30)
    assert await send(service.move, []) == Landed([], [], [])


async def test_a_linked_group_is_held_back_whole_and_says_for_which_line() -> None:
    service = Service({3: "amount", 7: "amount", 8: "amount"})
    found = await landed(service.move, items(10, linked=frozenset({2, 3, 7})))
    assert service.tried == [1, 5, 6, 9, 10]
    told = [(fault.line, fault.because_of, fault.reason) for fault in found.faults]
    assert told == [
        (2, 3, "linked_failed"),
        (3, None, "validation"),
        (4, 3, "linked_failed"),
        (7, None, "validation"),
        (8, None, "validation"),
    ]
    assert [UUID(str(fault.id)) for fault in found.faults] == [uuid7(fault.line, 0) for fault in found.faults]


async def test_what_is_too_large_goes_in_halves_in_its_order_and_a_group_stays_whole() -> None:
    service = Service({11: "amount"}, items_max=4)
    found = await landed(service.move, items(20, linked=frozenset({5, 6, 7, 12, 13, 14, 15})))
    assert service.tried == [n for n in range(1, 21) if n not in {11, 12, 13, 14, 15, 16}]
    too_large = [fault.line for fault in found.faults if fault.reason == "body_too_large"]
    assert too_large == [12, 13, 14, 15, 16]


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(401, "unauthenticated", ""),
        Refusal(403, "scope_missing", ""),
        Refusal(400, "validation", "", (FieldError("/transfers", "too_many_items", ""),)),
        Refusal(400, "validation", "", (FieldError("/transfers/3/amount", "x", "beyond the list"),)),
        Refusal(400, "unreadable", "<html>"),
        Refusal(404, "not_found", "", (FieldError("/transfers/0", "x", "not such a status"),)),
        Refusal(500, "internal", ""),
        Refusal(0, "unreachable", ""),
    ],
    ids=lambda refusal: f"{refusal.status} {refusal.code}",
)
async def test_what_is_said_about_no_line_goes_on_with_nothing(refusal: Refusal) -> None:
    async def move(_: list[msgspec.Raw]) -> MovedList | Refusal:
        return refusal

    assert await send(move, items(3)) == refusal


async def test_trouble_after_a_first_half_stops_too() -> None:
    service, gone = Service({}, items_max=2), Refusal(0, "unreachable", "")

    async def move(transfers: list[msgspec.Raw]) -> MovedList | Refusal:
        return gone if service.tried else await service.move(transfers)

    assert await send(move, items(4)) == gone
    assert service.tried == [1, 2]
