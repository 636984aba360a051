"""One method per SQL statement about the projection of standings. Rows become values here and nowhere else."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from amana.domain.account import exposure_account_id
from amana.domain.facts import CustomerStanding
from amana.eligibility.projection import STREAM, Projection, Row, StandingKey, Watermark
from amana.eligibility.records import Key
from amana.infra.arrays import instants, integers, texts, uuids
from amana.infra.postgres import Connection, Record
from amana.infra.sql import load_queries

SQL = load_queries("amana.eligibility", "projection.sql")

_VALUES = tuple(name for name in Row.__struct_fields__ if name not in ("customer", "currency", "moves", "given_up"))
_CLAIMED: tuple[Callable[[Any], object], ...] = (integers, uuids, texts, uuids)
_FILLED: tuple[Callable[[Any], object], ...] = (
    *(integers, uuids, texts, integers, instants),
    *(integers,) * 8,
    *(list, list, list, integers),
)
"""How each column of `claim_standings` and `fill_standings` is sent; days as they are."""
_rows = msgspec.json.Decoder(tuple[Row, ...])


class Noted(NamedTuple):
    """What was so before the ledger was asked: the `moves` of the row, and how many letters had been given up."""

    moves: int
    given_up: int


class Told(NamedTuple):
    """What the ledger said of a customer, and what was `noted` before it was asked."""

    key: StandingKey
    noted: Noted
    standing: CustomerStanding


class Before(NamedTuple):
    """The first position not taken, at an instant of this database's clock."""

    at: datetime
    below: int


def projection_of(row: Record) -> Projection:
    """The projection of a person, from the columns that are read with the customer's record. A row from before a letter
    was given up is stale: the letter may have concerned it."""
    if row["ledger_at"] is None:
        return Projection()
    watermark = Watermark(row["ledger_at"], row["ledger_lag"], row["ledger_given_up"])
    rows = () if row["standings"] is None else _rows.decode(row["standings"])
    if any(one.given_up != watermark.given_up for one in rows):
        rows = tuple(one if one.given_up == watermark.given_up else replace(one, as_of=None) for one in rows)
    return Projection(rows, watermark)


async def make_stale(connection: Connection, named: Collection[Key], accounts: Collection[Key]) -> None:
    """The rows of customers (`named`) and of exposure accounts (`accounts`) are stale from now on."""
    await connection.execute(SQL["make_stale"], *_pairs(named), *_pairs(accounts))


async def find_owners(connection: Connection, accounts: Collection[Key]) -> set[Key]:
    """Whose exposure accounts these are, of customers who have a row."""
    return {tuple(row) for row in await connection.fetch(SQL["find_owners"], *_pairs(accounts))}


async def claim(connection: Connection, keys: Collection[StandingKey]) -> dict[StandingKey, int]:
    """Makes stale rows where there are none; those that were made, with their moves."""
    columns = zip(*((*key, exposure_account_id(key.customer, key.currency)) for key in keys), strict=True)
    arrays = [array(column) for array, column in zip(_CLAIMED, columns, strict=True)]
    rows = await connection.fetch(SQL["claim_standings"], *arrays)
    return {StandingKey(tenant, customer, currency): moves for tenant, customer, currency, moves in rows}


async def fill(connection: Connection, told: Sequence[Told]) -> None:
    """Keeps what the ledger said, where nothing moved since before it was asked."""
    columns = zip(
        *(
            (*one.key, one.noted.moves, *(getattr(one.standing, name) for name in _VALUES), one.noted.given_up)
            for one in told
        ),
        strict=True,
    )
    arrays = [array(column) for array, column in zip(_FILLED, columns, strict=True)]
    await connection.execute(SQL["fill_standings"], *arrays)


async def read_clock(connection: Connection) -> datetime:
    """The clock that watermarks are proven by."""
    now: datetime = await connection.fetchval(SQL["clock"])
    return now


async def make_wrong_stale(
    connection: Connection, suspects: Mapping[StandingKey, tuple[int, datetime]]
) -> set[StandingKey]:
    """Makes rows stale of which (moves, instant) says when they differed from the ledger, where no event can tell of
    it any more; those that were."""
    columns = zip(*((*key, *seen) for key, seen in suspects.items()), strict=True)
    rows = await connection.fetch(SQL["make_wrong_stale"], *(list(column) for column in columns), STREAM)
    return {StandingKey(*row) for row in rows}


async def look_before(connection: Connection, consumer: str) -> Before | None:
    """How far the consumer is; None where the stream is not begun."""
    row = await connection.fetchrow(SQL["look_before"], consumer, STREAM)
    return None if row is None else Before(row["at"], row["below"])


async def advance(
    connection: Connection, consumer: str, last: int, proven_at: datetime, ledger_at: datetime
) -> timedelta | None:
    """Moves the watermark, once everything up to position `last` is taken: the lag. None until then."""
    lag: timedelta | None = await connection.fetchval(
        SQL["advance_watermark"], consumer, STREAM, last, proven_at, ledger_at
    )
    return lag


async def find_lag(connection: Connection) -> timedelta | None:
    """How far behind the projection may be; None where it was never level with the ledger."""
    lag: timedelta | None = await connection.fetchval(SQL["lag"], STREAM)
    return lag


def _pairs(keys: Collection[Key]) -> tuple[list[int], list[object]]:
    return [tenant for tenant, _ in keys], [id_ for _, id_ in keys]
