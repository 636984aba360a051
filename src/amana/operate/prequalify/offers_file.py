"""The file of offers: written beside its name and renamed at the end, so that a file under the name is whole.

CSV and JSON Lines grow page by page. Parquet has its index at the end, so pages go into part files, which are then read
as one and written as one, as a stream.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import polars as pl

from amana.operate.prequalify.deciding import SCHEMA
from amana.operate.prequalify.options import CannotPrequalify

PART_ROWS = 100_000
"""Rows of a part of a Parquet file: held in memory until there are so many."""
INSTANT = "%Y-%m-%dT%H:%M:%S%.6fZ"
EMPTY = pl.DataFrame(schema=SCHEMA)
FORMATS = (".csv", ".jsonl", ".parquet")


class OffersFile:
    """`with OffersFile(place) as file: file.add(rows)`. After an error or an interruption nothing of it is left.

    Raises `CannotPrequalify` for a suffix that is not in `FORMATS`, and OSError.
    """

    def __init__(self, place: Path) -> None:
        if place.suffix not in FORMATS:
            raise CannotPrequalify(f"the file {place} must end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
        self._place = place
        beside = f"{place.name}.{os.getpid()}"  # two runs for one name do not meet: the last to end has it
        self._beside = place.with_name(f"{beside}.part")
        self._sink = _Parts(place.with_name(f"{beside}.parts")) if place.suffix == ".parquet" else None
        self._stream: BinaryIO | None = None
        self._write: Callable[[BinaryIO, pl.DataFrame], None] = _csv if place.suffix == ".csv" else _jsonl

    def __enter__(self) -> Self:
        try:
            self._place.parent.mkdir(parents=True, exist_ok=True)
            if self._place.is_dir():
                raise CannotPrequalify(f"the file {self._place} is a folder")
            self._stream = self._beside.open("wb")
            if self._sink is not None:
                self._sink.open()
            elif self._place.suffix == ".csv":
                self._stream.write(f"{','.join(SCHEMA)}\n".encode())
        except OSError as error:
            raise CannotPrequalify(f"the file {self._place} can't be written: {error.strerror}") from error
        return self

    def add(self, rows: pl.DataFrame) -> None:
        """Adds rows with the columns of `SCHEMA`."""
        if self._sink is not None:
            self._sink.add(rows)
        else:
            assert self._stream is not None, "it is open"
            self._write(self._stream, rows)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._stream is not None, "it is open"
        try:
            if kind is None and self._sink is not None:
                self._sink.write_to(self._beside)
            self._stream.close()
            if kind is None:
                self._beside.replace(self._place)
        finally:
            self._beside.unlink(missing_ok=True)
            if self._sink is not None:
                self._sink.remove()


class _Parts:
    """Part files of one Parquet file, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: list[pl.DataFrame] = [EMPTY]
        self._parts: list[Path] = []

    def open(self) -> None:
        self.remove()
        self._folder.mkdir()

    def add(self, rows: pl.DataFrame) -> None:
        self._held.append(rows)
        if sum(one.height for one in self._held) >= PART_ROWS:
            self._let_go()

    def write_to(self, place: Path) -> None:
        self._let_go()
        pl.scan_parquet(self._parts).sink_parquet(place)

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _let_go(self) -> None:
        part = self._folder / f"{len(self._parts):06}.parquet"
        pl.concat(self._held).write_parquet(part)
        self._parts.append(part)
        self._held = [EMPTY]


def _csv(stream: BinaryIO, rows: pl.DataFrame) -> None:
    rows = rows.with_columns(pl.col("reasons").list.join(" "), pl.col("as_of").dt.strftime(INSTANT))
    rows.write_csv(stream, include_header=False)


def _jsonl(stream: BinaryIO, rows: pl.DataFrame) -> None:
    rows.with_columns(pl.col("as_of").dt.strftime(INSTANT)).write_ndjson(stream)
