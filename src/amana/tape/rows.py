"""One mapped file → its rows as typed values, with a finding for every cell or row that could not be read as it stands.

A cell that a row can't do without refuses the row; so does any unreadable cell of a loan or a repayment, because a
money record is never completed by guessing. An unreadable cell about a customer becomes "not known".
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

from amana.tape.cells import CellReader, Changed, Fault, Value, cell_reader
from amana.tape.mapping import FIELDS, Constant, FileMapping
from amana.tape.read import Row, Table, open_table
from amana.tape.report import CheckReport, Disposition, Place

Values: TypeAlias = dict[str, Value]

REPAIRABLE_KINDS = frozenset({"customers"})


class _Source(NamedTuple):
    """A field, where its cells stand, and how they are read."""

    field: str
    position: int
    column: str
    read: CellReader
    required: bool
    remark_blank: bool


class Record(NamedTuple):
    """A row that could be read: where it stands, and its values by field; a field without a value is left out."""

    place: Place
    values: Values


def read_records(folder: Path, kind: str, file: FileMapping, report: CheckReport) -> Iterator[Record]:
    """The readable rows of one file, in order. Refused rows are only in the report. Raises `TapeError`."""
    if file.optional and not (folder / file.path).exists():
        return
    with open_table(folder, file) as table:
        summary = report.open_file(file.path, kind, table.ignored)
        sources = _sources(kind, file, table)
        constants: Values = {
            field: source.value for field, source in file.fields.items() if isinstance(source, Constant)
        }
        for row in table.rows:
            if not row.cells and row.fault is None:
                summary.blank_lines += 1
                continue
            summary.rows += 1
            place = Place(kind, file.path, row.line)
            values = _read_row(row, place, sources, report)
            if not report.is_refused(place):
                yield Record(place, constants | values)


def _sources(kind: str, file: FileMapping, table: Table) -> list[_Source]:
    return [
        _Source(
            field,
            table.columns[source.column],
            source.column,
            cell_reader(source),
            FIELDS[kind][field].required,
            FIELDS[kind][field].remark_blank and not source.optional,
        )
        for field, source in file.fields.items()
        if not isinstance(source, Constant) and source.column in table.columns
    ]


def _read_row(row: Row, place: Place, sources: list[_Source], report: CheckReport) -> Values:
    if row.fault is not None:
        report.add(place, "", Disposition.REFUSED, row.fault.code, row.fault.detail)
        return {}
    values: Values = {}
    for source in sources:
        text = row.cells[source.position].strip()
        cell = source.read(text) if text else None
        if cell is None:
            _blank(place, source, report)
        elif isinstance(cell, Fault):
            gravity = _gravity(place.kind, source)
            report.add(place, source.column, gravity, cell.code, cell.detail)
        elif isinstance(cell, Changed):
            report.add(place, source.column, Disposition.REPAIRED, cell.fault.code, cell.fault.detail)
            values[source.field] = cell.value
        else:
            values[source.field] = cell
    return values


def _blank(place: Place, source: _Source, report: CheckReport) -> None:
    if source.required:
        report.add(place, source.column, Disposition.REFUSED, "missing_value")
    elif source.remark_blank:
        report.add(place, source.column, Disposition.NOTED, "blank_value")


def _gravity(kind: str, source: _Source) -> Disposition:
    repairable = kind in REPAIRABLE_KINDS and not source.required
    return Disposition.REPAIRED if repairable else Disposition.REFUSED
