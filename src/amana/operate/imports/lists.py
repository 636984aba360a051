"""Lines → lists to send. What the service would refuse as malformed is found here, so that it costs its line only.

A linked group is never divided: a list ends where a group ends, and a group with a malformed member is not sent at all.

A line without an id gets one that follows from the import's name, its line and the shard of what it moves: the same
line always has the same id, whatever else was lost, so sending it again has one effect.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

import msgspec

from amana.domain.ids import bucket_of, uuid7
from amana.domain.lending import business_date
from amana.domain.reasons import Reason
from amana.gateway.caller import Caller
from amana.gateway.explain import explain
from amana.infra import clock
from amana.operate.imports.lines import Line, Mark, Source, Tree
from amana.transactions.orders import LINKED_MAX, transfer_unit
from amana.wire.problems import FieldError, Refused
from amana.wire.transfers import TransferItem

LIST_LINES = 2_000
LIST_BYTES = 2 << 20
"""A list ends after these; the service takes 5,000 items and 4 MiB."""
LINE_BITS, SALT_BITS = 36, 26

_NOBODY = Caller(tenant=0, key_id="", scopes=frozenset(), trace="", request_id="")


class Item(NamedTuple):
    """One transfer to send: its line, its id, the bytes of its JSON, and of its fields what is asked after later."""

    line: int
    id: UUID
    encoded: bytes
    linked: bool
    effective_on: date | None


class Fault(NamedTuple):
    """A line that is not tried. `errors` say what is wrong with it; without any it waits for the line `because_of`.

    `reason` is the service's, where it refused the list for it; empty for a line that was not even sent.
    """

    line: int
    id: str | None
    errors: tuple[FieldError, ...] = ()
    because_of: int | None = None
    reason: str = ""


class End(NamedTuple):
    """Where a list ends. `broken_at`: inside a linked group that can't be sent, because of this line."""

    mark: Mark
    broken_at: int | None


@dataclass
class TransferList:
    """What goes out in one request, the lines before its end that do not, and every id that its items name."""

    items: list[Item] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    names: set[UUID] = field(default_factory=set)
    bytes: int = 0
    end: End | None = None

    @property
    def is_full(self) -> bool:
        """Whether it is time to send it."""
        return len(self.items) + len(self.faults) >= LIST_LINES or self.bytes >= LIST_BYTES


class _Member(NamedTuple):
    line: Line
    id: str | None
    item: TransferItem | None
    errors: tuple[FieldError, ...]


def lists_of(lines: Iterator[Line], source: Source, import_id: str, broken_at: int | None) -> Iterator[TransferList]:
    """The lists of a file; `broken_at` as the last list of an earlier run ended."""
    now = TransferList()
    group: list[_Member] = []
    for line in lines:
        if broken_at is not None:
            now.faults.append(_held_back(line, import_id, broken_at))
            broken_at = broken_at if line.linked else None
        else:
            group.append(_member(line, import_id))
            if not line.linked or len(group) > LINKED_MAX:
                _add(now, group)
                broken_at = group[0].line.number if line.linked else None
                group = []
        if now.is_full and not group:
            yield _ended(now, source, broken_at)
            now = TransferList()
    if group:
        _add(now, group)
    yield _ended(now, source, broken_at)


def _ended(now: TransferList, source: Source, broken_at: int | None) -> TransferList:
    now.end = End(source.mark(), broken_at)
    return now


def _member(line: Line, import_id: str) -> _Member:
    """The line as a transfer, or with everything that is wrong with it."""
    if line.item is None:
        return _Member(line, None, None, line.errors)
    tree = _with_id(line.item, import_id, line.number)
    id_ = str(tree["id"])
    errors = list(line.errors)
    try:
        item = msgspec.convert(tree, TransferItem)
    except msgspec.ValidationError:
        named = {error.pointer for error in errors}
        errors += [error for error in explain(tree, TransferItem) if error.pointer not in named]
        return _Member(line, id_, None, tuple(errors))
    if item.effective_on is not None and item.effective_on > business_date(clock.now()):
        errors.append(FieldError("/effective_on", "future", "Later than now."))
    return _Member(line, id_, None if errors else item, tuple(errors))


def _held_back(line: Line, import_id: str, because_of: int) -> Fault:
    id_ = None if line.item is None else str(_with_id(line.item, import_id, line.number)["id"])
    return Fault(line.number, id_, because_of=because_of)


def _add(now: TransferList, group: list[_Member]) -> None:
    """Adds a whole group to what is sent, or to what is not."""
    malformed = {place: member.errors for place, member in enumerate(group) if member.errors}
    items = [member.item for member in group if member.item is not None]
    if not malformed:
        malformed = _refused_at_the_edge(items)
    if not malformed:
        for member, item in zip(group, items, strict=True):
            encoded = msgspec.json.encode(member.line.item)
            now.items.append(Item(member.line.number, item.id, encoded, item.linked, item.effective_on))
            now.names.update(name for name in (item.id, item.hold, item.reverses) if name is not None)
            now.bytes += len(encoded)
        return
    because_of = group[min(malformed)].line.number
    for place, member in enumerate(group):
        errors = malformed.get(place, ())
        now.faults.append(Fault(member.line.number, member.id, errors, None if errors else because_of))


def _refused_at_the_edge(items: list[TransferItem]) -> dict[int, tuple[FieldError, ...]]:
    """By place in the group: what the service's own check says of it."""
    try:
        transfer_unit(_NOBODY, items)
    except Refused as refused:
        found: dict[int, tuple[FieldError, ...]] = {}
        for error in refused.errors:
            place, _, below = error.pointer.removeprefix("/transfers/").partition("/")
            found[int(place)] = (*found.get(int(place), ()), FieldError(f"/{below}", error.code, error.detail))
        return found
    return {}


def _with_id(item: Tree, import_id: str, line: int) -> Tree:
    """The item with an id, derived where it has none."""
    if item.get("id") is None:
        item["id"] = str(line_id(import_id, line, _place(item)))
    return item


def _place(item: Tree) -> UUID | None:
    """What the id must live beside: the earlier transfer that it is about, else the debit account."""
    place = item.get("hold") or item.get("reverses") or item.get("debit_account")
    try:
        return UUID(place) if isinstance(place, str) else None
    except ValueError:
        return None


def line_id(import_id: str, line: int, place: UUID | None) -> UUID:
    """The id of a line: after the import's own bits the line's number, so that an index grows in one place."""
    digest = int.from_bytes(sha256(import_id.encode()).digest(), "big")
    time_like, salt = digest >> 208, digest & ((1 << SALT_BITS) - 1)
    number = line & ((1 << LINE_BITS) - 1)
    return uuid7(time_like, (number << SALT_BITS | salt) << 12, 0 if place is None else bucket_of(place))


def reason_of(fault: Fault) -> str:
    """The code under which a line that is not tried is told."""
    return fault.reason or (Reason.VALIDATION if fault.errors else Reason.LINKED_FAILED)
