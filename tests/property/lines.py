"""What movements add up to: one list of lines, and every figure folded from the whole of it each time."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID


@dataclass(frozen=True)
class Movement:
    """One line of the ledger: what it added to the posted and to the pending amounts of both sides."""

    id: UUID
    kind: str
    debit: UUID
    credit: UUID
    amount: int
    posted: int
    pending: int
    currency: str
    code: str
    effective_on: date
    at: datetime
    about: UUID | None = None


class Counters(NamedTuple):
    """What the movements of an account add up to."""

    version: int
    debits_pending: int
    debits_posted: int
    credits_pending: int
    credits_posted: int

    @property
    def drawn(self) -> int:
        """What counts against a credit limit."""
        return self.debits_posted + self.debits_pending - self.credits_posted


class Entry(NamedTuple):
    """One side of a movement, with the account's counters after it."""

    movement: Movement
    side: str
    after: Counters


@dataclass(frozen=True)
class Stands:
    """A hold as it stands: what was captured, what is still reserved, and whether it is over."""

    placed: Movement
    captured: int
    reserved: int
    state: str

    @property
    def left(self) -> int:
        """What was not captured."""
        return self.placed.amount - self.captured


class Lines:
    """The movements of a tenant, in the order in which they happened."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.movements: list[Movement] = []
        self.expiries: dict[UUID, datetime] = {}

    def entries(self, account: UUID) -> Iterator[Entry]:
        """The history of an account, oldest first."""
        version = debits_pending = debits_posted = credits_pending = credits_posted = 0
        for move in self.movements:
            if account not in (move.debit, move.credit):
                continue
            version += 1
            if move.debit == account:
                debits_pending += move.pending
                debits_posted += move.posted
            else:
                credits_pending += move.pending
                credits_posted += move.posted
            after = Counters(version, debits_pending, debits_posted, credits_pending, credits_posted)
            yield Entry(move, "debit" if move.debit == account else "credit", after)

    def counters(self, account: UUID) -> Counters:
        """An account's version and its four counters."""
        last = Counters(0, 0, 0, 0, 0)
        for entry in self.entries(account):
            last = entry.after
        return last

    def movement(self, id_: UUID) -> Movement | None:
        """The movement of an id, if it moved."""
        return next((move for move in self.movements if move.id == id_), None)

    def hold(self, id_: UUID) -> Stands | None:
        """A hold, from its own movement and those that are about it."""
        placed = self.movement(id_)
        if placed is None or placed.kind != "hold":
            return None
        captured, reserved, state = 0, placed.amount, "open"
        for move in self.movements:
            if move.about == id_ and move.kind in ("capture", "void", "expire"):
                reserved += move.pending
                captured += move.posted
                if move.kind == "void":
                    state = "voided"
                elif move.kind == "expire":
                    state = "expired"
                elif captured == placed.amount or (state == "open" and reserved == 0):
                    state = "captured"
        return Stands(placed, captured, reserved, state)

    def over(self) -> list[UUID]:
        """The open holds whose time is over."""
        late = [id_ for id_, expires_at in self.expiries.items() if expires_at <= self.now]
        return [id_ for id_ in late if (hold := self.hold(id_)) and hold.state == "open"]

    def counting(self, account: UUID) -> Counters:
        """What counts when something is decided: what is held beyond its time does not, released or not."""
        version, debits_pending, debits_posted, credits_pending, credits_posted = self.counters(account)
        for id_ in self.over():
            hold = self.hold(id_)
            assert hold is not None
            debits_pending -= hold.reserved if hold.placed.debit == account else 0
            credits_pending -= hold.reserved if hold.placed.credit == account else 0
        return Counters(version, debits_pending, debits_posted, credits_pending, credits_posted)
