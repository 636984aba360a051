"""A lender's day with one customer and one loan, as a script that a banker can read.

    Mon 09:00  line    may owe 20000                 => done
        09:01  loan    lend 10000 fee 1500           => owes 11500 open
        10:00  rep1    repay 4000                    => owes 7500 open
    Tue 09:00  ask     withdraw                      => reversing
               undo    reverse to funding            => returned 4000

A line without a time happens at the time of the line above. `returned` says what went back to the wallet. After each
line the books must be whole: `Lender.run` checks it.
"""

import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from tests.domain.banker import DAYS
from tests.domain.ledger import NOW, TENANT, asked, book_with, check_books, id_for, post, rows_of, set_clock

from amana.domain.account import (
    AccountCode,
    Freeze,
    exposure_account_id,
    fee_account_id,
    principal_account_id,
    wallet_account_id,
)
from amana.domain.account_commands import UNCHANGED, freeze, set_credit_line, set_limits, unfreeze
from amana.domain.book import Answer, Asked, Kind
from amana.domain.ids import system_account_id
from amana.domain.lending import Loan, LoanOrigin
from amana.domain.loan_commands import book_loan, repay_loan, reverse_repayment
from amana.domain.loan_reversal import Kept, Undoing, abandon_reversal, reverse_loan, withdraw_offer
from amana.domain.policy import LoanReversal, OnRepaid, PrincipalFrom

CUSTOMER, LOAN, OFFER, REVERSAL = id_for("ada"), id_for("loan"), id_for("offer"), id_for("reversal")
LINE = re.compile(
    r"(?:(?P<day>[A-Z][a-z]{2}) )?\s*(?P<at>\d\d:\d\d)?\s*(?P<name>\w+)\s{2,}(?P<what>\S.*?)\s+=> (?P<result>.+)"
)


def system(code: AccountCode) -> UUID:
    return system_account_id(TENANT, "NGN", code, 0, 1)


ACCOUNTS = {
    "exposure": exposure_account_id(CUSTOMER, "NGN"),
    "wallet": wallet_account_id(CUSTOMER, "NGN"),
    "principal": principal_account_id(LOAN),
    "fee": fee_account_id(LOAN),
    "funding": system(AccountCode.FUNDING),
    "fee_income": system(AccountCode.FEE_INCOME),
    "contra": system(AccountCode.EXPOSURE_CONTRA),
}


class Lender:
    """A book with one customer; `terms` are the policy's about undoing a loan, None where it says nothing."""

    def __init__(self, within_days: int = 3, repaid: str = "return", *, allows: bool = True) -> None:
        self.book = book_with("account side limit floor\nbank debit\nshop credit")
        self.allows = allows
        self.within_days, self.repaid = within_days, OnRepaid(repaid)

    def terms(self, source: str = "funding") -> LoanReversal:
        return LoanReversal(within_days=self.within_days, repaid=self.repaid, principal_from=PrincipalFrom(source))

    def run(self, script: str) -> "Lender":
        """Runs a script and holds every line to its result."""
        at = self.book.now
        for text in script.strip().splitlines():
            line = LINE.fullmatch(text.strip())
            assert line, f"not a line of a script: {text}"
            if line["day"]:
                at = NOW + timedelta(days=DAYS.index(line["day"]))
            if line["at"]:
                hour, minute = line["at"].split(":")
                at = at.replace(hour=int(hour), minute=int(minute))
            set_clock(self.book, at)
            told = self._told(self.say(line["name"], line["what"]), line["result"])
            assert told == line["result"], f"{line['name']}: {told}"
            check_books(self.book)
            self._check()
        return self

    def shows(self, table: str) -> "Lender":
        """Holds balances to a table of names and balances."""
        shown = {row["account"]: int(row["balance"]) for row in rows_of(table)}
        assert {name: self.balance(name) for name in shown} == shown
        return self

    def balance(self, name: str) -> int:
        return self.book.accounts[TENANT, ACCOUNTS.get(name) or id_for(name)].balance

    @property
    def loan(self) -> Loan:
        return self.book.loans[TENANT, LOAN]

    def events(self) -> list[str]:
        """The types of the events but those of transfers and accounts."""
        return [draft.type for draft in self.book.drafts if draft.type not in ("TransferPosted", "AccountOpened")]

    def say(self, name: str, what: str, **more: Any) -> Answer:
        """One command under the id of a name."""
        words = what.split()
        place = ACCOUNTS.get(words[-1]) or id_for(words[-1][-13:])
        commands: dict[str, tuple[Kind, Callable[..., Answer]]] = {
            "may": (Kind.CREDIT_LINE, partial(self._line, words)),
            "lend": (Kind.LOAN, partial(self._lend, words)),
            "repay": (Kind.REPAYMENT, partial(self._repay, words)),
            "bounce": (Kind.REPAYMENT_REVERSAL, partial(self._bounce, words)),
            "withdraw": (Kind.OFFER_WITHDRAWAL, partial(self._withdraw, words, **more)),
            "reverse": (Kind.LOAN_REVERSAL, partial(self._reverse, words)),
            "abandon": (Kind.LOAN_REVERSAL_ABANDONMENT, self._abandon),
            "freeze": (Kind.FREEZE, partial(freeze, self.book, account_id=place, frozen_for=Freeze.ALL)),
            "unfreeze": (Kind.UNFREEZE, partial(unfreeze, self.book, account_id=place)),
            "floor": (Kind.LIMIT, partial(set_limits, self.book, account_id=place, credit_limit=UNCHANGED, floor=0)),
        }
        if words[0] not in commands:
            return post(self.book, what, name, **self._places(what))
        kind, run = commands[words[0]]
        return run(asked(name, kind, what=what))

    def _places(self, what: str) -> dict[str, Any]:
        found = re.match(r"(?:hold )?(\w+) -> (\w+)", what)
        sides = ("debit_account", "credit_account")
        return (
            {}
            if not found
            else {side: ACCOUNTS[name] for side, name in zip(sides, found.groups(), strict=True) if name in ACCOUNTS}
        )

    def _line(self, words: list[str], command: Asked) -> Answer:
        return set_credit_line(self.book, command, CUSTOMER, "NGN", int(words[-1]))

    def _lend(self, words: list[str], command: Asked) -> Answer:
        principal, fee, now = int(words[1]), int(words[3]), self.book.now
        loan = Loan(TENANT, command.id, CUSTOMER, "nano", "NGN", principal, fee, 30, LoanOrigin.OFFER, OFFER, now, now)
        return book_loan(self.book, command, loan, 10**9)

    def _repay(self, words: list[str], command: Asked) -> Answer:
        return repay_loan(self.book, command, LOAN, int(words[1]), False, self.book.now)

    def _bounce(self, words: list[str], command: Asked) -> Answer:
        return reverse_repayment(self.book, command, LOAN, id_for(words[1]), self.book.now)

    def _withdraw(self, words: list[str], command: Asked, **more: Any) -> Answer:
        wanted: dict[str, Any] = {
            "offer": OFFER,
            "customer": CUSTOMER,
            "currency": "NGN",
            "reversal": REVERSAL,
            "terms": self.terms() if self.allows else None,
            "kept": None if self.allows else Kept.NOT_ALLOWED,
            "holds": tuple(id_for(name) for name in words[1:]),
        }
        return withdraw_offer(self.book, command, Undoing(**wanted | more))

    def _reverse(self, words: list[str], command: Asked) -> Answer:
        return reverse_loan(self.book, command, LOAN, REVERSAL, self.terms(words[2]))

    def _abandon(self, command: Asked) -> Answer:
        return abandon_reversal(self.book, command, LOAN, REVERSAL)

    def _told(self, answer: Answer, expected: str) -> str:
        result = answer.result
        if answer.reason is not None:
            figures = [part.split("=")[0] for part in expected.split() if "=" in part]
            told = " ".join([answer.reason, *(f"{name}={result.get(name)}" for name in figures)])
        elif "outcome" in result:
            told = " ".join(filter(None, [result["outcome"], result["kept_because"]]))
        elif "amount" in result and "repayment" not in result:
            told = f"moved {result['amount']}"
        elif "returned" in result:
            told = f"returned {result['returned']}"
        elif "loan_outstanding" in result or "outstanding" in result:
            told = f"owes {self.loan.outstanding} {self.loan.status}"
        else:
            told = "done"
        return f"{told} again" if answer.replayed else told

    def _check(self) -> None:
        """The loan and the customer's control account agree with the receivables."""
        if (TENANT, LOAN) not in self.book.loans:
            return
        loan = self.loan
        owed = loan.principal_outstanding, loan.fee_outstanding, loan.outstanding
        assert (self.balance("principal"), self.balance("fee"), self.balance("exposure")) == owed
        assert self.balance("contra") == self.balance("exposure")
