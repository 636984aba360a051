"""A small language for ledger tests: accounts as a text table, transfers as one line each.

account    side    limit   status
till       debit
wallet     credit  0
control    debit   500     frozen

till -> wallet 100         (debit till, credit wallet)
"""

from datetime import UTC, date, datetime
from uuid import UUID

from amana.domain.account import Account, AccountCode
from amana.domain.book import Asked, Book, Kind
from amana.domain.transfer import Transfer

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
TODAY = date(2026, 3, 2)
TENANT = 1


def id_for(name: str) -> UUID:
    """The same id for the same name, all in bucket 0."""
    return UUID(int=int.from_bytes(name.encode().rjust(13, b"\0")[-13:], "big") << 12)


def book_with(table: str) -> Book:
    """A book with the accounts of the table."""
    book = Book(shards=1, now=NOW)
    for line in table.strip().splitlines():
        name, side, *rest = line.split()
        if name == "account":
            continue
        limit = rest[0] if rest else "-"
        account = Account(
            tenant=TENANT,
            id=id_for(name),
            owner=id_for("owner"),
            currency="NGN",
            code=AccountCode.EXPOSURE if name.startswith("reserved") else AccountCode.GENERAL,
            normal_side=side,
            credit_limit=None if limit == "-" else int(limit),
            opened_at=NOW,
            last_posted_at=NOW,
            status=rest[1] if len(rest) > 1 else "open",
        )
        book.accounts[TENANT, account.id] = account
    return book


def transfer(line: str, name: str = "t1", currency: str = "NGN") -> tuple[Asked, Transfer]:
    """`debit -> credit amount` as a client would ask for it under the id of `name`."""
    debit, _, credit, amount = line.split()
    made = Transfer(TENANT, id_for(name), id_for(debit), id_for(credit), int(amount), currency, "transfer", TODAY)
    fields = {
        "debit_account": str(made.debit_account),
        "credit_account": str(made.credit_account),
        "amount": made.amount,
        "currency": currency,
        "code": "transfer",
        "reverses": None,
        "command": None,
    }
    return Asked(TENANT, made.id, Kind.TRANSFER, fields, "tester", ""), made


def asked(name: str, kind: Kind, **fields: object) -> Asked:
    """A command under the id of `name`."""
    return Asked(TENANT, id_for(name), kind, fields, "tester", "")


def balances(book: Book) -> dict[str, int]:
    """Balances by the name that the account's id was made from."""
    return {
        (account.id.int >> 12).to_bytes(13, "big").lstrip(b"\0").decode(errors="replace"): account.balance
        for account in book.accounts.values()
    }


def difference(book: Book) -> int:
    """Debits less credits over everything: zero, always."""
    return sum(a.debits_posted - a.credits_posted for a in book.accounts.values())
