"""Scenarios that a banker can read: a script of what was asked and what came of it, and what the books show after.

    Mon 09:30  payout   hold wallet -> bank 3000 for 1h   => held 3000
        09:40  part     capture payout 1000               => posted 1000
        10:30           time passes                       => expired payout
        10:31  late     capture payout                    => hold_expired
        10:32  fee      wallet -> income 100 &            => linked_failed
               buy      wallet -> shop 9000               => insufficient_funds available=1900 requested=9000

A line without a time happens at the time of the line above; `&` links it to the next one; `again` after a result says
that it is the first answer once more. The lines of commands are those of `tests.domain.ledger`.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from tests.domain.ledger import (
    NOW,
    TENANT,
    book_with,
    change,
    check_books,
    id_for,
    name_of,
    order,
    rows_of,
    set_clock,
)

from amana.domain.book import Answer, Kind
from amana.domain.transfer import Movement
from amana.domain.transfer_commands import expire_holds, post_orders

LINE = re.compile(
    r"(?:(?P<day>Mon|Tue|Wed|Thu|Fri|Sat|Sun) )?\s*(?P<at>\d\d:\d\d)?\s*"
    r"(?:(?P<name>\w+) {2,})?(?P<what>\S.*?)(?P<linked> &)?\s+=> (?P<result>.+)"
)
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DONE = {
    Kind.TRANSFER: "posted",
    Kind.HOLD: "held",
    Kind.CAPTURE: "posted",
    Kind.VOID: "voided",
    Kind.REVERSAL: "posted",
}
ON_ACCOUNTS = ("limit", "floor", "freeze", "unfreeze", "close")


class Line(NamedTuple):
    """One line of a script."""

    at: datetime
    name: str
    what: str
    linked: bool
    result: str


class Bank:
    """A book, and what happens to it line by line; after each line the books must be whole."""

    def __init__(self, accounts: str) -> None:
        self.book = book_with(accounts)

    def run(self, script: str) -> "Bank":
        """Runs a script and holds every line to its result."""
        group: list[Line] = []
        for line in _lines(script, self.book.now):
            set_clock(self.book, line.at)
            self._expire(line)
            if line.what.split()[0] in ON_ACCOUNTS:
                told = _told(change(self.book, line.what, line.name), "done", line.result)
                assert told == line.result, f"{line.name}: {told}"
            elif line.what != "time passes":
                group.append(line)
            if group and not line.linked:
                self._post(group)
                group = []
            check_books(self.book)
        assert not group, "the last line of a group is not linked to a next one"
        return self

    def shows(self, table: str) -> "Bank":
        """Holds accounts to a table; its head names attributes of accounts."""
        for row in rows_of(table):
            account = self.book.accounts[TENANT, id_for(row.pop("account"))]
            shown = {name: str(value) if (value := getattr(account, name)) is not None else "-" for name in row}
            assert shown == row, name_of(account.id)
        return self

    def events(self) -> list[str]:
        """The types of the events so far."""
        return [draft.type for draft in self.book.drafts]

    def _expire(self, line: Line) -> None:
        before = len(self.book.posted)
        expire_holds(self.book)
        released = [posted.transfer for posted in self.book.posted[before:]]
        assert all(transfer.kind == Movement.EXPIRE for transfer in released)
        if line.what == "time passes":
            told = " ".join(["expired", *(name_of(transfer.hold) for transfer in released if transfer.hold)])
            assert told == line.result, told

    def _post(self, group: Sequence[Line]) -> None:
        orders = [order(line.what, line.name) for line in group]
        for line, one, answer in zip(group, orders, post_orders(self.book, orders), strict=True):
            told = _told(answer, f"{DONE[Kind(one.kind)]} {answer.result.get('amount')}", line.result)
            assert told == line.result, f"{line.name}: {told}"


def _told(answer: Answer, done: str, expected: str) -> str:
    """What came of a line: the figures of a refusal only as far as the script names them."""
    if answer.reason is None:
        told = done
    else:
        named = [part.split("=")[0] for part in expected.split() if "=" in part]
        shown = [f"{name}={answer.result.get(name)}" for name in named]
        told = " ".join([answer.reason, *shown])
    return f"{told} again" if answer.replayed else told


def _lines(script: str, now: datetime) -> Iterator[Line]:
    at = now
    for text in script.strip().splitlines():
        made = LINE.fullmatch(text.strip())
        assert made, f"not a line of a script: {text}"
        if made["day"]:
            at = NOW + timedelta(days=DAYS.index(made["day"]))
        if made["at"]:
            hour, minute = made["at"].split(":")
            at = at.replace(hour=int(hour), minute=int(minute))
        yield Line(at, made["name"] or "", made["what"], bool(made["linked"]), made["result"])
