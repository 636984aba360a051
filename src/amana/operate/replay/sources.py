"""Where the events of a stream are read from: what is asked of each place, and the two databases.

The folding is the same whatever the place. `exported` reads a folder that `amana audit export` wrote, `service` the
audit service over HTTP.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec

from amana.audit.merkle import Tree
from amana.audit.store import Rows
from amana.audit.tree import Incomplete, tree_at
from amana.infra.postgres import Connection
from amana.infra.sql import load_queries
from amana.operate.replay.options import CannotReplay

SQL = load_queries("amana.operate.replay", "log.sql")


class Event(NamedTuple):
    """An event in its stream. `type` is what it is filed as."""

    position: int
    type: str
    body: bytes


class Signed(NamedTuple):
    """A size of a stream and the root that the log has signed for it."""

    size: int
    root: bytes


class Source(Protocol):
    """One stream in one place. Any of it may raise `CannotReplay`, and what says that its place is away."""

    stream: str
    place: str
    """In words, as in `the audit log of transactions`."""
    advice: str
    """What to do where it is behind the main database; empty where it never grows."""

    async def last(self) -> int:
        """The last position that is there, -1 for none."""
        ...

    async def page(self, start: int, limit: int) -> Sequence[Event]:
        """Events from `start` on in order, at most `limit`; fewer say nothing of what comes after. None: a gap."""
        ...

    async def signed(self, size: int) -> Sequence[Signed]:
        """What was signed that can be met where the first `size` events are read, in order; beyond them where reading
        on is how the last ones are vouched for."""
        ...

    async def tree_at(self, size: int) -> Tree | None:
        """The tree over the first events, None where only reading them tells it."""
        ...

    async def oldest(self) -> int:
        """The first position that there is, where those before it are gone and no tree tells of them; else 0."""
        ...


class AuditDatabase:
    """The log as the audit service keeps it."""

    place = "audit log"
    advice = "let audit catch up, or replay the outboxes with --log outbox"

    def __init__(self, stream: str, connection: Connection) -> None:
        self.stream = stream
        self._connection = connection

    async def last(self) -> int:
        """See `Source`; sealed or not, as far as nothing is missing before it."""
        return int(await self._connection.fetchval(SQL["audit_last"], self.stream))

    async def page(self, start: int, limit: int) -> list[Event]:
        """See `Source`."""
        events = list(map(Event._make, await self._connection.fetch(SQL["audit_page"], self.stream, start, limit)))
        if not events or events[0].position != start:
            await self._refuse_dropped(start)
        return events

    async def _refuse_dropped(self, start: int) -> None:
        first = await self._connection.fetchval(SQL["audit_first"], self.stream, start)
        if first is not None:
            raise CannotReplay(
                f"the bodies of {self.stream} below position {first:,} were dropped by retention: replay the outboxes"
                " with --log outbox where they have them yet, or begin with a snapshot (--from-snapshot) made at"
                f" {first:,} or later"
            )

    async def signed(self, size: int) -> list[Signed]:
        """The newest checkpoint."""
        row = await self._connection.fetchrow(SQL["audit_checkpoint"], self.stream, size)
        return [] if row is None else [Signed(row["size"], row["root"])]

    async def tree_at(self, size: int) -> Tree:
        """From what is stored of it."""
        try:
            return await tree_at(Rows(self._connection), self.stream, size)
        except Incomplete as error:
            raise CannotReplay(f"the audit log is not whole: {error}") from error

    async def oldest(self) -> int:
        """See `Source`: what retention dropped is in the tree."""
        return 0


class Outbox:
    """The events as the service that wrote them keeps them, as far as they have positions. Nothing of it is signed."""

    place = "outbox log"
    advice = "let the relay catch up"

    def __init__(self, stream: str, connection: Connection) -> None:
        self.stream = stream
        self._connection = connection

    async def last(self) -> int:
        """See `Source`."""
        return int(await self._connection.fetchval(SQL[f"{self.stream}_last"]))

    async def oldest(self) -> int:
        """See `Source`: what was before was pruned."""
        return int(await self._connection.fetchval(SQL[f"{self.stream}_oldest"]))

    async def page(self, start: int, limit: int) -> list[Event]:
        """See `Source`."""
        events = list(map(Event._make, await self._connection.fetch(SQL[f"{self.stream}_page"], start, limit)))
        if not events or events[0].position != start:
            await self._refuse_pruned(start)
        return events

    async def _refuse_pruned(self, start: int) -> None:
        oldest = await self.oldest()
        if start < oldest:
            raise CannotReplay(
                f"the outbox of {self.stream} was pruned before position {oldest:,}: replay the audit log (--log audit,"
                " --from-audit, or --from-export with an export that reaches as far)"
            )

    async def signed(self, size: int) -> list[Signed]:
        """Nothing."""
        return []

    async def tree_at(self, size: int) -> None:
        """Unknown until it is read."""
        return


class _Envelope(msgspec.Struct):
    type: str


_envelopes = msgspec.json.Decoder(_Envelope)


def filed(stream: str, position: int, body: bytes) -> Event:
    """An event of which there is nothing but its bytes: it is filed as what it says that it is."""
    try:
        return Event(position, _envelopes.decode(body).type, body)
    except msgspec.MsgspecError as error:
        raise CannotReplay(f"{stream}, position {position}: {error}") from error
