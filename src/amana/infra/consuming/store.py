"""The tables of a consumer: one method per statement, each one round trip, on a connection of the caller."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from amana.infra.consuming.planning import Aggregate, Letter, State
from amana.infra.consuming.records import Place
from amana.infra.kafka import Message
from amana.infra.postgres import Connection, Record
from amana.infra.sql import load_queries

ADVANCE_MAX = 5_000
"""How far `below` moves in one statement."""
ERROR_LENGTH_MAX = 1_000

SQL = load_queries("amana.infra.consuming")


class StreamProgress(NamedTuple):
    """Everything below `below` was taken, and `ahead` events above it."""

    stream: str
    below: int
    ahead: int
    advanced_at: datetime


class KeptLetter(NamedTuple):
    """A letter as it is stored. `place` is None for a foreign message."""

    letter: int
    state: State
    message: Message
    place: Place | None
    reason: str
    error: str
    attempts: int
    kept_at: datetime | None = None
    settled_at: datetime | None = None


class Store:
    """The statements of the consumer called `name`."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def begin_stream(self, connection: Connection, stream: str, at: int) -> None:
        """Begins a stream at a position, unless it was begun before."""
        await connection.execute(SQL["begin_stream"], self.name, stream, at)

    async def lock_progress(self, connection: Connection) -> dict[str, int]:
        """The first position not taken yet, by stream; locked."""
        rows = await connection.fetch(SQL["lock_progress"], self.name)
        return {row["stream"]: row["below"] for row in rows}

    async def progress(self, connection: Connection) -> list[StreamProgress]:
        """How far each stream is."""
        rows = await connection.fetch(SQL["progress"], self.name)
        return [StreamProgress(row["stream"], row["below"], row["ahead"], row["advanced_at"]) for row in rows]

    async def look(self, connection: Connection, places: Sequence[Place]) -> tuple[set[Place], bool]:
        """Those of the places that were taken ahead of a gap, and whether any letter is open. Nothing changes while the
        progress is locked."""
        streams, positions = [place.stream for place in places], [place.position for place in places]
        row = await connection.fetchrow(SQL["look"], self.name, streams, positions)
        assert row is not None
        return {places[number - 1] for number in row["taken"]}, row["letters"]

    async def take(self, connection: Connection, stream: str, below: int, positions: Sequence[int]) -> None:
        """Takes new positions of a stream, in ascending order, and moves `below` as far as nothing is missing.

        What continues `below` needs no row: only what is ahead of a gap is noted place by place.
        """
        run = below
        for position in positions:
            if position != run:
                break
            run += 1
        if ahead := positions[run - below :]:
            await connection.execute(SQL["take_ahead"], self.name, stream, ahead)
        if run > below:
            await self._advance(connection, stream, run)

    async def _advance(self, connection: Connection, stream: str, below: int) -> None:
        while True:
            moved = await connection.fetchval(SQL["advance"], self.name, stream, below, ADVANCE_MAX)
            if moved is None or moved - below < ADVANCE_MAX:
                return
            below = moved

    async def blocked(self, connection: Connection, keys: Collection[bytes]) -> tuple[set[bytes], dict[bytes, int]]:
        """Of these keys: those behind a dead letter, and the lowest position that waits for a gap."""
        rows = await connection.fetch(SQL["blocked"], self.name, list(keys))
        waiting = {row["key"]: row["waiting"] for row in rows if row["waiting"] is not None}
        return {row["key"] for row in rows if row["blocked"]}, waiting

    async def versions(self, connection: Connection, aggregates: Collection[Aggregate]) -> dict[Aggregate, int]:
        """The versions that were applied of these aggregates."""
        rows = await connection.fetch(SQL["versions"], self.name, *_columns(aggregates))
        return {(row["tenant"], row["aggregate"]): row["version"] for row in rows}

    async def note_versions(self, connection: Connection, versions: dict[Aggregate, int]) -> None:
        """Remembers what was applied."""
        await connection.execute(SQL["note_versions"], self.name, *_columns(versions), list(versions.values()))

    async def keep(self, connection: Connection, letter: Letter) -> None:
        """Keeps a letter."""
        message, place = letter.read.message, letter.read.place
        await connection.execute(
            SQL["keep"],
            self.name,
            letter.state,
            message.key,
            message.topic,
            message.partition,
            message.offset,
            place.stream if place else None,
            place.position if place else None,
            msgspec.json.encode(message.headers),
            message.value,
            letter.reason,
            storable(letter.error),
            letter.attempts,
        )

    async def open_letters(
        self, connection: Connection, keys: Iterable[bytes], total_max: int, key_max: int
    ) -> tuple[int, int]:
        """How many are open, in all and of the fullest of `keys`, each counted to its bound."""
        row = await connection.fetchrow(SQL["open_letters"], self.name, list(keys), total_max, key_max)
        assert row is not None
        return row["total"], row["fullest"]

    async def letters(
        self, connection: Connection, after: int, state: State | None, key: bytes | None, limit: int
    ) -> list[KeptLetter]:
        """Letters by number."""
        return [_kept(row) for row in await connection.fetch(SQL["letters"], self.name, after, state, key, limit)]

    async def find_letter(self, connection: Connection, letter: int) -> Record | None:
        """State, key, stream, position and reason of a letter."""
        return await connection.fetchrow(SQL["find_letter"], self.name, letter)

    async def first_of_key(self, connection: Connection, key: bytes) -> KeptLetter | None:
        """The open letter of a key that stands first, locked."""
        row = await connection.fetchrow(SQL["first_of_key"], self.name, key)
        return None if row is None else _kept(row)

    async def lock_letter(self, connection: Connection, letter: int) -> KeptLetter | None:
        """An open letter, locked."""
        row = await connection.fetchrow(SQL["lock_letter"], self.name, letter)
        return None if row is None else _kept(row)

    async def dead(self, connection: Connection, after: int, limit: int) -> list[Record]:
        """Number, key and stream of dead letters, by number."""
        return await connection.fetch(SQL["dead"], self.name, after, limit)

    async def ripe(self, connection: Connection, limit: int) -> list[bytes]:
        """Keys that wait for nothing any more."""
        return [row["key"] for row in await connection.fetch(SQL["ripe"], self.name, limit)]

    async def settle(self, connection: Connection, letter: int, state: State) -> None:
        """A letter is done or discarded."""
        await connection.execute(SQL["settle"], self.name, letter, state)

    async def died_again(self, connection: Connection, letter: int, reason: str, error: str, attempts: int) -> None:
        """A letter failed again."""
        await connection.execute(SQL["died_again"], self.name, letter, reason, storable(error), attempts)

    async def untold(self, connection: Connection, limit: int) -> list[KeptLetter]:
        """Dead letters that the topic has not got."""
        return [_kept(row) for row in await connection.fetch(SQL["untold"], self.name, limit)]

    async def told(self, connection: Connection, letters: Sequence[int]) -> None:
        """The topic has got them."""
        await connection.execute(SQL["told"], self.name, list(letters))

    async def prune(self, connection: Connection, days: int, limit: int) -> int:
        """Deletes letters that were settled more than `days` days ago, at most `limit`; how many."""
        return deleted(await connection.execute(SQL["prune"], self.name, days, limit))

    async def count_letters(self, connection: Connection) -> dict[State, tuple[int, int]]:
        """Open letters and their keys, by state."""
        rows = await connection.fetch(SQL["count_letters"], self.name)
        return {State(row["state"]): (row["letters"], row["keys"]) for row in rows}


def deleted(status: str) -> int:
    """How many rows a DELETE says that it took."""
    return int(status.rpartition(" ")[2])


def storable(error: str) -> str:
    """An error's text as PostgreSQL takes it: no NUL, no half of a surrogate pair, not without end."""
    return error[:ERROR_LENGTH_MAX].replace("\x00", "\\0").encode("utf-8", "backslashreplace").decode()


def _columns(aggregates: Iterable[Aggregate]) -> tuple[list[int], list[object]]:
    pairs = list(aggregates)
    return [tenant for tenant, _ in pairs], [id_ for _, id_ in pairs]


def _kept(row: Record) -> KeptLetter:
    headers = msgspec.json.decode(row["headers"], type=dict[str, bytes])
    message = Message(row["topic"], row["partition"], row["offset"], row["key"], row["value"], headers)
    place = None if row["stream"] is None else Place(row["stream"], row["position"])
    return KeptLetter(
        row["letter"],
        State(row["state"]),
        message,
        place,
        row["reason"],
        row["error"],
        row["attempts"],
        row.get("kept_at"),
        row.get("settled_at"),
    )
