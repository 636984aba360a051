"""Streaming CSV reading: every record with the physical line on which it begins, whatever is wrong with it.

A file or a column that is missing raises `TapeError`. A bad record (encoding, quoting, number of cells) comes back as a
row with a fault, so that the caller can report it: one bad line never hides the rest.
"""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from amana.tape.cells import Fault
from amana.tape.mapping import Constant, FileMapping, TapeError

COLUMNS_MAX = 1_000
LINE_BYTES_MAX = 1 << 20


class Row(NamedTuple):
    """One record: the line on which it begins (the header is line 1), its cells, and what is wrong with it as a whole.

    A blank line is a row with no cells and no fault.
    """

    line: int
    cells: list[str]
    fault: Fault | None


class Table(NamedTuple):
    """An open file: where each column stands, the columns that the mapping does not use, and its rows."""

    columns: dict[str, int]
    ignored: list[str]
    rows: Iterator[Row]


@contextmanager
def open_table(folder: Path, file: FileMapping) -> Iterator[Table]:
    """Opens a mapped CSV file. Raises `TapeError` for a file or column that is missing or a header that is unclear."""
    path = folder / file.path
    if not path.is_file():
        raise TapeError(f"{path}: there is no such file")
    with path.open("rb") as stream:
        lines = Lines(stream, file.encoding)
        reader = csv.reader(lines, delimiter=file.delimiter, strict=True)
        names = read_header(path, reader, lines)
        columns = {name: index for index, name in enumerate(names)}
        _check_columns(path, columns, file)
        used = {source.column for source in file.fields.values() if not isinstance(source, Constant)}
        yield Table(columns, [name for name in columns if name not in used], read_rows(reader, lines, len(names)))


class Source(Protocol):
    """Where lines come from: a binary file, or whatever reads like one."""

    def readline(self, limit: int, /) -> bytes:
        """The next line with its end, at most `limit` bytes of it; empty at the end."""


class Lines:
    """Decoded lines for the csv module. A line that is not in the encoding is kept readable and remembered as bad.

    `number` is that of the last line read.
    """

    def __init__(self, stream: Source, encoding: str) -> None:
        self._stream = stream
        self.encoding = encoding
        self.number = 0
        self.last_bad = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._stream.readline(LINE_BYTES_MAX)
        if not line:
            raise StopIteration
        self.number += 1
        try:
            text = line.decode(self.encoding)
        except UnicodeDecodeError:
            text = line.decode("ascii", "replace")
            self.last_bad = self.number
        if "\0" in text:
            self.last_bad = self.number
        return text.removeprefix("\ufeff") if self.number == 1 else text


def read_header(path: Path, reader: Iterator[list[str]], lines: Lines) -> list[str]:
    """The names of the columns, trimmed. Raises `TapeError`, which names `path`."""
    try:
        names = [name.strip() for name in next(reader)]
    except StopIteration:
        raise TapeError(f"{path}: the file is empty; its first line must name the columns") from None
    except csv.Error as error:
        raise TapeError(f"{path}: the header can't be read: {error}") from error
    if lines.last_bad:
        raise TapeError(f"{path}: the header is not in the encoding {lines.encoding}")
    if len(names) > COLUMNS_MAX:
        raise TapeError(f"{path}: more than {COLUMNS_MAX} columns")
    twice = [name for name in names if name and names.count(name) > 1]
    if twice:
        raise TapeError(f"{path}: two columns are named {twice[0]!r}")
    return names


def _check_columns(path: Path, columns: dict[str, int], file: FileMapping) -> None:
    for field, source in file.fields.items():
        if isinstance(source, Constant) or source.optional or source.column in columns:
            continue
        raise TapeError(f"{path}: there is no column {source.column!r} (for {field}); it has {', '.join(columns)}")


def read_rows(reader: Iterator[list[str]], lines: Lines, width: int) -> Iterator[Row]:
    """The records that follow the header. `reader` is the csv module's, strict, over `lines`."""
    while True:
        begin = lines.number + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(begin, [], Fault("malformed_row", f"{error}{_span(begin, lines.number)}"))
            continue
        yield Row(begin, cells, _row_fault(cells, begin, lines, width))


def _row_fault(cells: list[str], begin: int, lines: Lines, width: int) -> Fault | None:
    if lines.last_bad >= begin:
        return Fault("bad_encoding", f"line {lines.last_bad} is not in the encoding {lines.encoding}")
    if cells and len(cells) != width:
        detail = f"{len(cells)} cells where the header has {width}{_span(begin, lines.number)}"
        return Fault("wrong_cell_count", detail)
    return None


def _span(begin: int, end: int) -> str:
    return f" (lines {begin} to {end})" if end > begin else ""
