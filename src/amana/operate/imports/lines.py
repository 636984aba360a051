"""A file of transfers → its lines, each as the fields that it names or as what is wrong with it. Memory is constant.

Two formats: CSV whose header names fields of a transfer, and JSON Lines. How far the file was read can be marked, with
a hash of all that was read until there, and reading can go on from a mark: a file that was changed before it is told.
"""

import csv
import re
from collections.abc import Iterator
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import msgspec

from amana.gateway.strict import BodyError, decode_strict
from amana.tape.mapping import TapeError
from amana.tape.read import LINE_BYTES_MAX, Lines, read_header, read_rows
from amana.wire.problems import FieldError
from amana.wire.transfers import TransferItem

Tree: TypeAlias = dict[str, Any]
CSV, JSON_LINES = "csv", "jsonl"
FORMATS = {".csv": CSV, ".jsonl": JSON_LINES, ".ndjson": JSON_LINES}
"""By suffix."""
METADATA = "metadata."
"""Before a column's name: its cells are one text of the metadata."""
CHUNK_BYTES = 1 << 20
LINKED = "linked"

_INTEGERS = frozenset({"amount", "ttl_s"})
_SWITCHES = {LINKED: {"true": True, "false": False}, "final": {"true": True, "false": False}}
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,15})", re.ASCII)
_BOM = b"\xef\xbb\xbf"


class CannotImport(Exception):
    """The import can't begin or can't go on; the message is for the person at the keyboard."""


class Mark(msgspec.Struct, frozen=True):
    """How far a file was read: to the end of which line, how many bytes, and their SHA-256 (hex)."""

    line: int
    bytes: int
    digest: str


class Line(NamedTuple):
    """One line (of CSV: one record, by the line on which it begins).

    `item` holds the fields that it names as JSON values, None where the line can't be read at all. `linked`: the next
    one moves only together with it, or may have been meant to.
    """

    number: int
    item: Tree | None
    errors: tuple[FieldError, ...]
    linked: bool


class Source:
    """A binary stream that knows how much of it was read. `number` is that of the last line."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = sha256()
        self.bytes = 0
        self.number = 0

    def readline(self, limit: int, /) -> bytes:
        """The next line with its end, at most `limit` bytes of it."""
        line = self._stream.readline(limit)
        self._hash.update(line)
        self.bytes += len(line)
        self.number += bool(line)
        return line

    def mark(self) -> Mark:
        """Where reading stands."""
        return Mark(self.number, self.bytes, self._hash.hexdigest())

    def skip_to(self, mark: Mark) -> None:
        """Goes on to a mark of an earlier run. `CannotImport` where what lies before it is not what it was."""
        while self.bytes < mark.bytes and (chunk := self._stream.read(min(CHUNK_BYTES, mark.bytes - self.bytes))):
            self._hash.update(chunk)
            self.bytes += len(chunk)
        if (self.bytes, self._hash.hexdigest()) != (mark.bytes, mark.digest):
            raise CannotImport(f"the file was changed: its first {mark.line:,} lines are not those that were imported")
        self.number = mark.line


def fingerprint(path: Path) -> str:
    """SHA-256 (hex) of a whole file."""
    with path.open("rb") as stream:
        return file_digest(stream, sha256).hexdigest()


def read_lines(source: Source, format_: str, name: str, begin: Mark | None) -> Iterator[Line]:
    """The lines of a file that are not blank, from `begin` on. `CannotImport` for a header that can't be used."""
    return _csv_lines(source, name, begin) if format_ == CSV else _json_lines(source, begin)


def _json_lines(source: Source, begin: Mark | None) -> Iterator[Line]:
    if begin is not None:
        source.skip_to(begin)
    while raw := source.readline(LINE_BYTES_MAX):
        number = source.number
        if len(raw) == LINE_BYTES_MAX and not raw.endswith(b"\n"):
            while (rest := source.readline(LINE_BYTES_MAX)) and not rest.endswith(b"\n"):
                pass
            source.number = number
            yield _unreadable(number, "too_long", f"Longer than {LINE_BYTES_MAX} bytes.", raw)
            continue
        text = (raw.removeprefix(_BOM) if number == 1 else raw).strip()
        if text:
            yield _json_line(number, text)


def _json_line(number: int, text: bytes) -> Line:
    try:
        item: Tree = decode_strict(text, dict[str, Any])
    except BodyError as error:
        return Line(number, None, tuple(error.errors), LINKED.encode() in text)
    return Line(number, item, (), bool(item.get(LINKED)))


def _unreadable(number: int, code: str, detail: str, raw: bytes) -> Line:
    return Line(number, None, (FieldError("", code, detail),), LINKED.encode() in raw)


def _csv_lines(source: Source, name: str, begin: Mark | None) -> Iterator[Line]:
    lines = Lines(source, "utf-8")
    reader = csv.reader(lines, strict=True)
    try:
        names = read_header(Path(name), reader, lines)
    except TapeError as error:
        raise CannotImport(str(error)) from error
    _check_names(name, names)
    if begin is not None and begin.line:
        source.skip_to(begin)
        lines.number = begin.line
    for row in read_rows(reader, lines, len(names)):
        if row.fault is not None:
            yield Line(row.line, None, (FieldError("", *row.fault),), LINKED in names)
        elif any(row.cells):
            yield _csv_line(row.line, dict(zip(names, row.cells, strict=True)))


def _check_names(file: str, names: list[str]) -> None:
    known = {field.name for field in msgspec.structs.fields(TransferItem)} - {"metadata"}
    for column in names:
        if column not in known and not (column.startswith(METADATA) and len(column) > len(METADATA)):
            raise CannotImport(
                f"{file}: there is no field {column!r}; a transfer has {', '.join(sorted(known))} and {METADATA}<key>"
            )


def _csv_line(number: int, cells: dict[str, str]) -> Line:
    item: Tree = {}
    errors: list[FieldError] = []
    for name, cell in cells.items():
        text = cell.strip()
        if not text:
            continue
        if name.startswith(METADATA):
            item.setdefault("metadata", {})[name.removeprefix(METADATA)] = text
        elif name in _INTEGERS and _INTEGER.fullmatch(text):
            item[name] = int(text)
        elif name in _INTEGERS:
            errors.append(FieldError(f"/{name}", "wrong_type", f"A whole number in plain digits, not {text[:40]!r}."))
        elif name in _SWITCHES and text.lower() not in _SWITCHES[name]:
            errors.append(FieldError(f"/{name}", "wrong_type", f"true or false, not {text[:40]!r}."))
        else:
            item[name] = _SWITCHES[name][text.lower()] if name in _SWITCHES else text
    linked = item.get(LINKED) is True or any(error.pointer == f"/{LINKED}" for error in errors)
    return Line(number, item, tuple(errors), linked)
