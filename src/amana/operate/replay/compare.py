"""Rebuilt rows against live ones, column by column."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from amana.domain.events import utc_text
from amana.domain.projection.folds import Group
from amana.domain.projection.state import Contradiction
from amana.infra.postgres import Connection, Record
from amana.infra.sql import load_queries
from amana.operate.replay.options import CannotReplay, Options
from amana.operate.replay.result import DIFFERENCES_MAX, Difference, Replayed
from amana.operate.replay.scratch import SQL, Scratch
from amana.operate.replay.sources import SQL as LOG
from amana.operate.replay.tables import TABLES, Table
from amana.operate.replay.telling import Telling

LIVE = load_queries("amana.operate.replay", "live.sql")
PAST = load_queries("amana.operate.replay", "past.sql")
NO_ROW = "(no row)"
PAST_TABLES = {
    "past_accounts": ("accounts", Table("past_accounts", Group.LEDGER, object, ("tenant", "id"), kept=False)),
    "transfers": ("transfers", TABLES["transfers"]),
}
"""What can be compared at a past instant, and the statement of `past.sql` that reads it."""


async def compare(scratch: Scratch, options: Options, result: Replayed, telling: Telling) -> None:
    """Compares every wanted table with its live twin, and adds what differs to the result."""
    for name in options.tables:
        telling.comparing(name)
        await _compare_table(scratch, TABLES[name], result)


def wanted_rows(options: Options) -> Iterator[tuple[str, str, tuple[object, ...]]]:
    """The name, statement and arguments of what must be read of the live tables."""
    if options.until is None:
        yield from ((name, LIVE[name], ()) for name in options.tables)
    elif Group.LEDGER in options.groups:
        yield from ((name, PAST[statement], (options.until,)) for name, (statement, _) in PAST_TABLES.items())


async def require_past(main: Connection, options: Options) -> None:
    """Raises `CannotReplay` for an instant that is not over by the ledger's clock."""
    if options.until is not None and options.until > await main.fetchval(LOG["read_clock"]):
        raise CannotReplay("--until is later than now")


async def compare_past(scratch: Scratch, options: Options, result: Replayed) -> None:
    """The same with what the ledger's own transfers say of an instant; then what stood, as the API showed it."""
    if Group.LEDGER in options.groups:
        await scratch.connection.execute(SQL["fill_past_accounts"])
        for _, table in PAST_TABLES.values():
            await _compare_table(scratch, table, result)
    await tell_rebuilt(scratch, options, result)


async def tell_rebuilt(scratch: Scratch, options: Options, result: Replayed) -> None:
    """What stood in the end or, without what was held beyond its time, just before an instant."""
    if options.until is not None:
        result.until = utc_text(options.until)
        await scratch.connection.execute(SQL["release_overdue"], options.until)
    if Group.LEDGER in options.groups:
        result.totals = [dict(row) for row in await scratch.connection.fetch(SQL["totals"])]
    for name in options.tables:
        result.rebuilt[name] = await scratch.connection.fetchval(SQL["counted"], name)


async def _compare_table(scratch: Scratch, table: Table, result: Replayed) -> None:
    rows = await scratch.differences(table, DIFFERENCES_MAX)
    result.tables[table.name] = rows[0]["differing"] if rows else 0
    result.differences += [difference for row in rows for difference in _differences(table.name, row)]
    if not table.kept:
        twice = await scratch.doubles(table, DIFFERENCES_MAX)
        result.tables[table.name] += twice[0]["differing"] if twice else 0
        result.differences += [
            Difference(table.name, _key(row), "the row", "at most once", f"{row['times']} times", row["position"])
            for row in twice
        ]


def _differences(table: str, row: Record) -> Iterator[Difference]:
    """A difference for each column, or one for a row that only one side has."""
    key = _key(row)
    live, rebuilt = (None if row[side] is None else _object(row[side]) for side in ("live", "rebuilt"))
    if live is None or rebuilt is None:
        found, expected = (NO_ROW if side is None else "a row" for side in (live, rebuilt))
        yield Difference(table, key, "the row", found, expected, row["position"])
        return
    for column in live:
        if live[column] != rebuilt[column]:
            yield Difference(table, key, column, str(live[column]), str(rebuilt[column]), row["position"])


def _key(row: Record) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(_object(row["key"]).items()))


def _object(text: str) -> Mapping[str, Any]:
    return msgspec.json.decode(text, type=dict[str, Any])


def of_the_log(found: Contradiction) -> Difference:
    """What the log itself does not agree about."""
    return Difference("the log", found.about, "the event", found.told, found.folded, found.position)
