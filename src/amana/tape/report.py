"""What became of every row of a tape: accepted, repaired or refused, with file, line, column and reason.

Nothing is dropped in silence: for every file, rows read = accepted + repaired + refused, and `close` asserts it.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

CODES: dict[str, str] = {
    # A row as a whole
    "malformed_row": "The line is not CSV: quotes do not match, or a cell is too long.",
    "bad_encoding": "The line is not in the encoding that the mapping names.",
    "wrong_cell_count": "The row has more or fewer cells than the header.",
    "missing_value": "A cell that the row can't do without is blank.",
    "blank_value": "A cell about a customer is blank: the fact is missing.",
    "duplicate_identical": "The same record came before: the two are one.",
    "duplicate_conflicting": "A record with this reference and other values came before: the first is kept.",
    # One cell
    "unreadable_text": "Longer than 200 characters, or with control characters.",
    "unreadable_money": "Not a decimal number.",
    "unreadable_instant": "Not a time in the mapping's format.",
    "unreadable_date": "Not a date in the mapping's format.",
    "unreadable_integer": "Not a whole number.",
    "unreadable_phone": "Not a Nigerian telephone number.",
    "unknown_value": "A word that the mapping does not list.",
    "unknown_bank": "No bank by this name.",
    "bank_renamed": "The bank is known by another name now, or became part of another.",
    "out_of_range": "A number or a word outside what the field allows.",
    "birth_date_implausible": "A birth date later than the end of the book.",
    "fractional_kobo": "An amount with a fraction of a kobo.",
    "zero_amount": "An amount of nothing.",
    "negative_amount": "An amount below nothing.",
    "amount_too_large": "An amount above 2^53 - 1 kobo.",
    # Cells that contradict each other
    "due_below_principal": "Less was due than was lent.",
    "disbursed_before_applied": "Paid out before it was asked for; often a clock that the mapping has wrong.",
    "repaid_before_disbursed": "Repaid before it was paid out.",
    "closed_before_disbursed": "Closed before it was paid out.",
    "closed_before_repaid": "Closed before its first repayment.",
    "reversed_before_paid": "A repayment reversed before it was made.",
    # Rows that contradict each other
    "customer_without_record": "A borrower who is in no customer file: created with nothing but the reference.",
    "customer_without_loans": "A customer who never borrowed in this book.",
    "loan_overlaps": "Paid out while the borrower's loan before was open.",
    "repayment_without_loan": "A repayment of a loan that is not in the book, or was refused.",
    "nothing_owed": "A repayment that came when the loan was settled: all of it is the borrower's.",
    "closed_short": "Closed although the stated repayments fall short; the rest is inferred.",
}
"""Every reason code, with its meaning. One table: the report, the documentation and the tests use it."""


class Disposition(IntEnum):
    """What a finding does to its row; the gravest of a row's findings is the row's. A noted row is accepted."""

    NOTED = 0
    REPAIRED = 1
    REFUSED = 2


@dataclass(frozen=True, slots=True)
class Place:
    """A row: what it was read as, its file's path in the mapping, and the physical line on which it begins."""

    kind: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about one row; `column` is empty where it is about the whole row."""

    place: Place
    column: str
    disposition: Disposition
    code: str
    detail: str


@dataclass(slots=True)
class FileSummary:
    """Rows of one file. Blank lines are no rows; ignored columns are those that the mapping does not use."""

    file: str
    kind: str
    rows: int = 0
    blank_lines: int = 0
    accepted: int = 0
    repaired: int = 0
    refused: int = 0
    ignored_columns: list[str] = field(default_factory=list)


class CheckReport:
    """Collects findings while a tape is checked, and says afterwards what became of every row."""

    def __init__(self, mapping: str) -> None:
        self.mapping = mapping
        self.findings: list[Finding] = []
        self.inferred = 0
        self._files: dict[tuple[str, str], FileSummary] = {}
        self._worst: dict[Place, Disposition] = {}

    def open_file(self, file: str, kind: str, ignored_columns: list[str]) -> FileSummary:
        """Begins a file; the caller counts `rows` and `blank_lines` in what it gets back."""
        summary = FileSummary(file, kind, ignored_columns=ignored_columns)
        assert (kind, file) not in self._files, f"{file} is read twice"
        self._files[kind, file] = summary
        return summary

    def add(self, place: Place, column: str, disposition: Disposition, code: str, detail: str = "") -> None:
        """Records a finding about a row."""
        assert code in CODES, f"{code} is not in the table of codes"
        self.findings.append(Finding(place, column, disposition, code, detail))
        self._worst[place] = max(disposition, self._worst.get(place, Disposition.NOTED))

    def is_refused(self, place: Place) -> bool:
        """Whether the row has been refused."""
        return self._worst.get(place) is Disposition.REFUSED

    def close(self, in_book: Iterable[Place]) -> None:
        """Ends the check. `in_book` are the rows that became records of the book; every other row must have been
        refused, or merged into one of them: that is asserted, file by file."""
        kept = Counter((place.kind, place.file) for place in in_book)
        merged = Counter(
            (each.place.kind, each.place.file) for each in self.findings if each.code == "duplicate_identical"
        )
        worst = Counter((place.kind, place.file, worst) for place, worst in self._worst.items())
        for key, file in self._files.items():
            file.repaired = worst[*key, Disposition.REPAIRED]
            file.refused = worst[*key, Disposition.REFUSED]
            file.accepted = file.rows - file.repaired - file.refused
            assert file.rows == kept[key] + merged[key] + file.refused, f"{file.file}: a row was dropped in silence"

    def summaries(self) -> list[FileSummary]:
        """Every file with its rows counted, once closed: read = accepted + repaired + refused."""
        return list(self._files.values())

    def counts(self, disposition: Disposition) -> dict[str, int]:
        """Rows by reason: how many rows have a finding of this disposition and code."""
        rows = {(each.place, each.code) for each in self.findings if each.disposition is disposition}
        return dict(sorted(Counter(code for _, code in rows).items()))

    def to_json(self) -> dict[str, Any]:
        """The whole report, findings in order of file and line, as JSON values."""
        return {
            "mapping": self.mapping,
            "files": [{name: getattr(each, name) for name in FileSummary.__slots__} for each in self.summaries()],
            "refused": self.counts(Disposition.REFUSED),
            "repaired": self.counts(Disposition.REPAIRED),
            "noted": self.counts(Disposition.NOTED),
            "inferred_repayments": self.inferred,
            "findings": [_finding_json(each) for each in sorted(self.findings, key=_by_place)],
        }


def _by_place(finding: Finding) -> tuple[str, str, int]:
    return finding.place.kind, finding.place.file, finding.place.line


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.place.kind,
        "file": finding.place.file,
        "line": finding.place.line,
        "column": finding.column,
        "disposition": finding.disposition.name.lower(),
        "code": finding.code,
        "detail": finding.detail,
    }
