"""A small language for ledger tests: accounts as a text table, what is asked and what came of it as lines.

    account  side    limit  floor  status  currency
    till     debit
    wallet   credit  -      0
    control  debit   500    -      debits            (frozen for debits; `frozen`: for everything)

    till -> wallet 100                               debit till, credit wallet
    till -> wallet 5 USD
    wallet -> till up to 100 by debit                a balancing transfer: by debit, credit or both
    hold wallet -> bank 100 for 1h                   without `for`: until captured or voided
    capture H 40, capture H final, capture H 40 final, force H
    void H
    reverse T, reverse T 40
    limit A 500, limit A none, floor A 0, freeze A debits, freeze A, unfreeze A, close A

Names stand for ids: the same name is the same id everywhere.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from amana.domain.account import Account, AccountCode, Freeze
from amana.domain.account_commands import UNCHANGED, close, freeze, set_limits, unfreeze
from amana.domain.book import Answer, Asked, Book, Kind
from amana.domain.order import Order
from amana.domain.transfer import HoldState
from amana.domain.transfer_commands import post_orders

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
TODAY = date(2026, 3, 2)
TENANT = 1
NAIRA = "NGN"
LATE_FILE = "late_file"
"""The reason of every forced capture here."""

MOVES = re.compile(
    r"(?P<hold>hold )?(?P<debit>\w+) -> (?P<credit>\w+) (?P<most>up to )?(?P<amount>\d+)"
    r"(?: (?P<currency>[A-Z]{3}))?(?: by (?P<by>\w+))?(?: for (?P<ttl>\w+))?"
)
ABOUT = re.compile(r"(?P<verb>capture|force|void|reverse) (?P<original>\w+)(?: (?P<amount>\d+))?(?P<final> final)?")
ABOUT_KINDS = {"capture": Kind.CAPTURE, "force": Kind.CAPTURE, "void": Kind.VOID, "reverse": Kind.REVERSAL}
SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def id_for(name: str) -> UUID:
    """The same id for the same name, all in bucket 0."""
    return UUID(int=int.from_bytes(name.encode().rjust(13, b"\0")[-13:], "big") << 12)


def name_of(id_: UUID) -> str:
    """The name that an id was made from."""
    return (id_.int >> 12).to_bytes(13, "big").lstrip(b"\0").decode(errors="replace")


def rows_of(table: str) -> list[dict[str, str]]:
    """The rows of a text table by its head; what is not there is `-`."""
    head, *lines = [line.split() for line in table.strip().splitlines()] or [[]]
    return [dict(zip(head, cells + ["-"] * len(head), strict=False)) for cells in lines]


def book_with(table: str) -> Book:
    """A book with the accounts of the table."""
    book = Book(shards=1, now=NOW)
    for row in rows_of(table):
        account = _account(row)
        book.accounts[TENANT, account.id] = account
    return book


def _account(row: dict[str, str]) -> Account:
    name, status = row["account"], row.get("status", "-")
    frozen_for = {"debits": Freeze.DEBITS, "frozen": Freeze.ALL}.get(status)
    return Account(
        tenant=TENANT,
        id=id_for(name),
        owner=id_for("owner"),
        currency=NAIRA if row.get("currency", "-") == "-" else row["currency"],
        code=AccountCode.EXPOSURE if name.startswith("reserved") else AccountCode.GENERAL,
        normal_side=row["side"],
        credit_limit=_number(row.get("limit", "-")),
        floor=_number(row.get("floor", "-")),
        last_posted_at=NOW,
        status="frozen" if frozen_for else "open" if status == "-" else status,
        frozen_for=frozen_for,
    )


def _number(text: str) -> int | None:
    return None if text in ("-", "none") else int(text)


def order(line: str, name: str = "t1", **more: Any) -> Order:
    """What a line asks for, under the id of `name`; `more` are further fields of the order."""
    if made := ABOUT.fullmatch(line):
        fields = _about(made)
    elif made := MOVES.fullmatch(line):
        fields = _moves(made)
    else:
        raise AssertionError(f"not a line of the language: {line}")
    fields |= {"tenant": TENANT, "id": id_for(name), "actor": "tester", "trace": ""} | more
    return Order(**fields)


def _about(made: re.Match[str]) -> dict[str, Any]:
    return {
        "kind": ABOUT_KINDS[made["verb"]],
        "original": id_for(made["original"]),
        "amount": made["amount"] and int(made["amount"]),
        "final": bool(made["final"]),
        "forced_reason": LATE_FILE if made["verb"] == "force" else None,
    }


def _moves(made: re.Match[str]) -> dict[str, Any]:
    ttl = made["ttl"]
    return {
        "kind": Kind.HOLD if made["hold"] else Kind.TRANSFER,
        "debit_account": id_for(made["debit"]),
        "credit_account": id_for(made["credit"]),
        "amount": int(made["amount"]),
        "currency": made["currency"] or NAIRA,
        "code": "transfer",
        "balancing": made["by"],
        "ttl_s": ttl and int(ttl[:-1]) * SECONDS[ttl[-1]],
    }


def post(book: Book, line: str, name: str = "t1", **more: Any) -> Answer:
    """Runs a line alone."""
    return post_orders(book, [order(line, name, **more)])[0]


def linked(book: Book, **lines: str) -> list[Answer]:
    """Runs lines, each under its name, as one linked group."""
    return post_orders(book, [order(line, name) for name, line in lines.items()])


def change(book: Book, line: str, name: str = "c1") -> Answer:
    """Runs a command on an account."""
    verb, account, *rest = line.split()
    bound = _number(rest[0]) if rest and verb in ("limit", "floor") else None
    commands: dict[str, tuple[Kind, Callable[..., Answer]]] = {
        "limit": (Kind.LIMIT, partial(set_limits, credit_limit=bound, floor=UNCHANGED)),
        "floor": (Kind.LIMIT, partial(set_limits, credit_limit=UNCHANGED, floor=bound)),
        "freeze": (Kind.FREEZE, partial(freeze, frozen_for=Freeze(rest[0] if verb == "freeze" and rest else "all"))),
        "unfreeze": (Kind.UNFREEZE, unfreeze),
        "close": (Kind.CLOSURE, close),
    }
    kind, run = commands[verb]
    return run(book, asked(name, kind, line=line), account_id=id_for(account))


def asked(name: str, kind: Kind, **fields: object) -> Asked:
    """A command under the id of `name`."""
    return Asked(TENANT, id_for(name), kind, fields, "tester", "")


def set_clock(book: Book, now: datetime) -> None:
    """The next batch's time; the same book goes on."""
    book.now = now
    book.__dict__.pop("today", None)


def balances(book: Book) -> dict[str, int]:
    """Balances by the name that the account's id was made from."""
    return {name_of(account.id): account.balance for account in book.accounts.values()}


def difference(book: Book) -> int:
    """Debits less credits over everything: zero, always."""
    return sum(a.debits_posted - a.credits_posted for a in book.accounts.values())


def check_books(book: Book) -> None:
    """What holds after any history of orders: the books balance, holds are what is pending, chains are whole."""
    assert difference(book) == 0
    chains: dict[UUID, tuple[int, UUID | None]] = {account.id: (0, None) for account in book.accounts.values()}
    for posted in book.posted:
        transfer = posted.transfer
        sides = ((transfer.debit_account, posted.debit), (transfer.credit_account, posted.credit))
        for account_id, after in sides:
            assert (after.version - 1, after.previous) == chains[account_id]
            chains[account_id] = (after.version, transfer.id)
    held = [hold for hold in book.holds.values() if hold.state == HoldState.OPEN]
    for account in book.accounts.values():
        assert (account.version, account.last_transfer) == chains[account.id]
        assert account.debits_pending == sum(hold.remaining for hold in held if hold.debit_account == account.id)
        assert account.credits_pending == sum(hold.remaining for hold in held if hold.credit_account == account.id)


def after_s(seconds: int) -> datetime:
    """So much later than the first batch."""
    return NOW + timedelta(seconds=seconds)
