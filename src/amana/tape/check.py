"""From rows to the clean book. Every row is accepted, repaired or refused, and the report says which and why.

Rows become records (`amana.tape.records`, where a contradiction inside a row refuses it), then records are held against
each other: duplicates, borrowers without a record, overlapping loans, repayments of nothing; last, what the book does
not say about repayments is inferred. A refused row leaves no trace in the book.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, TypeVar
from uuid import UUID

from amana.tape.book import Book, TapeCustomer, TapeLoan, TapeRepayment
from amana.tape.infer import inferred_repayments, settle
from amana.tape.mapping import FileMapping, Mapping, load_mapping
from amana.tape.records import Contradiction, customer_from, loan_from, repayment_from
from amana.tape.report import CheckReport, Disposition, Place
from amana.tape.rows import read_records

Item = TypeVar("Item", TapeCustomer, TapeLoan, TapeRepayment)


def load_book(folder: str | Path, mapping: str | Path) -> tuple[Book, CheckReport]:
    """Reads and checks a tape: the folder with its CSV files, and a shipped mapping's name or a mapping file.

    Raises `TapeError` when the tape as a whole can't be read; a bad row is in the report instead.
    """
    loaded = load_mapping(mapping)
    check = _Check(Path(folder), loaded, CheckReport(loaded.name))
    check.read_customers()
    check.read_loans()
    check.read_repayments()
    check.note_overlaps()
    check.settle_loans()
    check.tidy_customers()
    return check.close(), check.report


class _Shelf(Generic[Item]):
    """Records of one kind by the lender's reference, in the order of the files; the first of a reference stays."""

    def __init__(self, report: CheckReport) -> None:
        self._report = report
        self.stored: dict[str, tuple[Item, Place]] = {}

    def put(self, item: Item, place: Place) -> bool:
        """Adds a record, or reports it as a duplicate of the one that came first. Says whether it was added."""
        first, first_place = self.stored.setdefault(item.ref, (item, place))
        if first_place is place:
            return True
        detail = f"first on line {first_place.line} of {first_place.file}"
        if first == item:
            self._report.add(place, "", Disposition.REPAIRED, "duplicate_identical", detail)
            return False
        differing = ", ".join(name for name in item.__slots__ if getattr(first, name) != getattr(item, name))
        detail = f"{detail}; differs in {differing}"
        self._report.add(place, "", Disposition.REFUSED, "duplicate_conflicting", detail)
        return False

    def items(self) -> list[Item]:
        """The records, in order."""
        return [item for item, _ in self.stored.values()]

    def places(self) -> list[Place]:
        """Where each record stands."""
        return [place for _, place in self.stored.values()]


class _Check:
    """One check of one tape; `load_book` says in which order."""

    def __init__(self, folder: Path, mapping: Mapping, report: CheckReport) -> None:
        self.folder = folder
        self.mapping = mapping
        self.report = report
        self.customers: _Shelf[TapeCustomer] = _Shelf(report)
        self.loans: _Shelf[TapeLoan] = _Shelf(report)
        self.repayments: _Shelf[TapeRepayment] = _Shelf(report)
        self.created: dict[str, TapeCustomer] = {}
        self.inferred: list[TapeRepayment] = []

    def read_customers(self) -> None:
        """Customers as the files describe them; what can't be is left out of them, not they out of the book."""
        for file, place, values in self._records("customers", self.mapping.files.customers):
            customer, wrong = customer_from(values, self.mapping)
            self._report_wrong(file, place, wrong, Disposition.REPAIRED)
            self.customers.put(customer, place)

    def read_loans(self) -> None:
        """Loans, and a customer with nothing but the reference for each borrower without a record."""
        for file, place, values in self._records("loans", self.mapping.files.loans):
            loan, wrong = loan_from(values, self.mapping)
            self._report_wrong(file, place, wrong, Disposition.REFUSED)
            if wrong or not self.loans.put(loan, place):
                continue
            ref = values["customer"]
            if ref not in self.customers.stored and ref not in self.created:
                self.created[ref], _ = customer_from({"ref": ref}, self.mapping)
                self.report.add(place, "", Disposition.NOTED, "customer_without_record", ref)

    def read_repayments(self) -> None:
        """Repayments of loans that are in the book."""
        for file, place, values in self._records("repayments", self.mapping.files.repayments):
            stored = self.loans.stored.get(values["loan"])
            if stored is None:
                detail = f"loan {values['loan']} is not in the book"
                self.report.add(place, "", Disposition.REFUSED, "repayment_without_loan", detail)
                continue
            repayment, wrong = repayment_from(values, stored[0])
            self._report_wrong(file, place, wrong, Disposition.REFUSED)
            if not wrong:
                self.repayments.put(repayment, place)

    def note_overlaps(self) -> None:
        """Notes each loan that was paid out while an earlier one of the same customer was open."""
        per_customer: dict[UUID, list[tuple[TapeLoan, Place]]] = defaultdict(list)
        for loan, place in self.loans.stored.values():
            per_customer[loan.customer].append((loan, place))
        for loans in per_customer.values():
            loans.sort(key=lambda each: (each[0].disbursed_at, each[0].ref))
            before = loans[0][0]
            for loan, place in loans[1:]:
                if before.closed_at is None or loan.disbursed_at < before.closed_at:
                    self.report.add(place, "", Disposition.NOTED, "loan_overlaps", f"loan {before.ref} was open")
                if before.closed_at and (loan.closed_at is None or loan.closed_at > before.closed_at):
                    before = loan

    def settle_loans(self) -> None:
        """Notes repayments that came when nothing was owed, and infers those that the book does not state."""
        stated: dict[UUID, list[TapeRepayment]] = defaultdict(list)
        for repayment in self.repayments.items():
            stated[repayment.loan].append(repayment)
        for loan, place in self.loans.stored.values():
            repayments = stated.get(loan.id, [])
            for idle in settle(loan, repayments).idle:
                _, paid = self.repayments.stored[idle.ref]
                self.report.add(paid, "", Disposition.NOTED, "nothing_owed", f"loan {loan.ref} was settled")
            inferred = inferred_repayments(loan, repayments)
            if inferred and repayments:
                detail = f"{inferred[0].amount} kobo inferred"
                self.report.add(place, "", Disposition.NOTED, "closed_short", detail)
            self.inferred += inferred

    def tidy_customers(self) -> None:
        """Birth dates after the end of the book become unknown; customers who never borrowed are noted."""
        borrowers = {loan.customer for loan in self.loans.items()}
        end = max((loan.closed_at or loan.disbursed_at for loan in self.loans.items()), default=None)
        for customer, place in list(self.customers.stored.values()):
            if customer.id not in borrowers:
                self.report.add(place, "", Disposition.NOTED, "customer_without_loans")
            if end and customer.birth_date and customer.birth_date > end.date():
                detail = customer.birth_date.isoformat()
                self.report.add(place, "", Disposition.REPAIRED, "birth_date_implausible", detail)
                self.customers.stored[customer.ref] = replace(customer, birth_date=None), place

    def close(self) -> Book:
        """The book, once every row is accounted for."""
        self.report.inferred = len(self.inferred)
        self.report.close([*self.customers.places(), *self.loans.places(), *self.repayments.places()])
        return Book(
            key=self.mapping.name,
            currency=self.mapping.currency,
            customers=(*self.customers.items(), *self.created.values()),
            loans=tuple(self.loans.items()),
            repayments=(*self.repayments.items(), *self.inferred),
            credit_limits=self.mapping.credit_limits,
        )

    def _records(self, kind: str, files: Iterable[FileMapping]) -> Iterator[tuple[FileMapping, Place, dict[str, Any]]]:
        for file in files:
            for place, values in read_records(self.folder, kind, file, self.report):
                yield file, place, values

    def _report_wrong(
        self, file: FileMapping, place: Place, wrong: list[Contradiction], disposition: Disposition
    ) -> None:
        for field, code, detail in wrong:
            column = getattr(file.fields[field], "column", field)
            self.report.add(place, column, disposition, code, detail)
