"""Tiles and entry bundles: a log as files that never change (C2SP tlog-tiles). Pure.

A tile of level L holds up to 256 hashes of full subtrees of 256^L leaves, a bundle up to 256 leaves, each after its
length in two bytes. A place in a level is written in groups of three digits, all but the last behind an `x`, and a tile
that is not full yet says how wide it is: `tile/0/x001/x234/067.p/12`.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from amana.audit.merkle import STORED_LEVEL_STEP

TILE_WIDTH = 1 << STORED_LEVEL_STEP
ENTRY_BYTES_MAX = 0xFFFF
"""The longest leaf that a bundle can hold."""
LEVEL_MAX = 63
_PATH = re.compile(
    r"(?P<level>0|[1-9][0-9]?|entries)/(?P<number>(?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


class TileError(ValueError):
    """A path names no tile, or bytes are no bundle; the message says what is wrong."""


class Tile(NamedTuple):
    """A tile: `level` None for a bundle of entries, `number` of its level, `width` hashes or entries, 1 to 256."""

    level: int | None
    number: int
    width: int = TILE_WIDTH

    @property
    def first(self) -> int:
        """The first of its hashes among those of its level, or its first entry."""
        return self.number * TILE_WIDTH

    @property
    def stop(self) -> int:
        """Where its hashes or entries end, in the same count."""
        return self.first + self.width

    @property
    def path(self) -> str:
        """`tile/<L>/<N>[.p/<W>]`."""
        partial = f".p/{self.width}" if self.width < TILE_WIDTH else ""
        level = "entries" if self.level is None else self.level
        return f"tile/{level}/{number_path(self.number)}{partial}"


def number_path(number: int) -> str:
    """A place in a level: 1234067 is `x001/x234/067`."""
    groups = [f"{number % 1000:03d}"]
    while number := number // 1000:
        groups.append(f"x{number % 1000:03d}")
    return "/".join(reversed(groups))


def parse_tile(path: str) -> Tile:
    """The tile that `<L>/<N>[.p/<W>]` names. Raises `TileError`."""
    found = _PATH.fullmatch(path)
    if not found:
        raise TileError("not the path of a tile")
    number = int(re.sub("[x/]", "", found["number"]))
    width = int(found["width"] or TILE_WIDTH)
    level = None if found["level"] == "entries" else int(found["level"])
    if number_path(number) != found["number"] or (found["width"] and width >= TILE_WIDTH) or (level or 0) > LEVEL_MAX:
        raise TileError("not the path of a tile")
    return Tile(level, number, width)


def tiles_of(level: int | None, size: int, start: int = 0) -> Iterator[Tile]:
    """The tiles of a level in the log of `size` leaves, from the one that the hash or entry `start` is in."""
    count = size >> STORED_LEVEL_STEP * (level or 0)
    for number in range(start // TILE_WIDTH, -(-count // TILE_WIDTH)):
        yield Tile(level, number, min(TILE_WIDTH, count - number * TILE_WIDTH))


def levels_of(size: int) -> range:
    """The levels that a log of `size` leaves has tiles on."""
    return range(-(-size.bit_length() // STORED_LEVEL_STEP))


def to_bundle(entries: Iterable[bytes]) -> bytes:
    """Entries, each after its length as two bytes, the higher first."""
    return b"".join(part for entry in entries for part in (len(entry).to_bytes(2, "big"), entry))


def from_bundle(bundle: bytes) -> list[bytes]:
    """The entries of a bundle. Raises `TileError` unless the lengths lead exactly to its end."""
    entries, rest = split_bundle(bundle)
    if rest:
        raise TileError(f"the bundle ends in the middle of its entry {len(entries)}")
    return entries


def split_bundle(bundle: bytes) -> tuple[list[bytes], bytes]:
    """The whole entries of a bundle, and what is left behind them: nothing of a good one."""
    entries: list[bytes] = []
    at, end = 0, len(bundle)
    while at + 2 <= end:
        stop = at + 2 + int.from_bytes(bundle[at : at + 2], "big")
        if stop > end:
            break
        entries.append(bundle[at + 2 : stop])
        at = stop
    return entries, bundle[at:]
