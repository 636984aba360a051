"""Gives committed events their positions: dense from 0, in an order that keeps every aggregate's history.

The order is commit visibility. A sequencing transaction locks the stream row, checks its term and looks at the outbox
in one statement, with that statement's snapshot S. What S sees and the last snapshot `since` did not is sequenced in
order of seq; then `since` becomes S. Why that is right:

- Nothing is lost. A row is committed before some S or never. A transaction that got its xid early but commits late, or
  draws a low seq and commits after higher ones, is in no snapshot until then, and in the next one after.
- Nothing comes twice. The differences of successive snapshots don't overlap, and `positions.seq` is unique.
- An aggregate's changes keep their order. Its second writer waits for the row lock of the first, so it draws its seq
  after the first has committed. Then every snapshot that sees the second also sees the first: the first is in an
  earlier difference, or in the same one with a lower seq. The xid says nothing here (a waiting `SELECT ... FOR UPDATE`
  may have got its own long before), so nothing is ordered by it.
- Nobody waits. A transaction that stays open for an hour holds back its own events only.

A difference of at most `chunk` rows, the usual case, is sequenced in one transaction. A larger one (the relay was away,
or a bulk load committed) goes in several: `until` keeps S and `after_seq` how far it got, so a crash or a new leader
goes on in the middle. The lock is held to COMMIT, so a leader that was paused either still holds it (the server ends
its session after `IDLE_IN_TRANSACTION_TIMEOUT_MS`) or finds its term over and writes nothing.
"""

from typing import NamedTuple

from amana.infra.lease import SQL, Lease
from amana.infra.postgres import Connection, Pool, Record, reading

SEQUENCE_CHUNK_MAX = 2_000
"""Positions given in one transaction."""
LARGE_DIFFERENCE_TIMEOUT_S = 60
"""For the pass that finds where a large difference begins, and the walk through it."""


class _Chunk(NamedTuple):
    """Rows to sequence now, the snapshot that they belong to, and whether they are its last."""

    snapshot: str
    seqs: list[int]
    complete: bool


class Sequencer:
    """Sequences the stream of `lease`, while it leads."""

    def __init__(self, pool: Pool, lease: Lease, chunk: int = SEQUENCE_CHUNK_MAX) -> None:
        self._pool = pool
        self._lease = lease
        self._chunk = chunk
        self._quiet = False
        """Nothing was new the last time."""

    async def step(self) -> int:
        """One transaction; how many events got a position (0 also when not leading). Raises `DatabaseUnavailable`."""
        if self._lease.term is None:
            return 0
        if self._quiet and not await self._is_any_new():
            return 0
        async with reading(self._pool) as connection, connection.transaction(isolation="read_committed"):
            stands = await connection.fetchrow(
                SQL["lock_stream"], self._lease.stream, self._lease.holder, self._lease.term
            )
            if stands is None:
                self._lease.lost()
                return 0
            chunk = await self._next_chunk(connection, stands)
            if chunk.seqs or stands["until"] is not None:
                await self._place(connection, chunk, stands["last_position"])
        self._quiet = not chunk.seqs
        return len(chunk.seqs)

    async def _is_any_new(self) -> bool:
        async with reading(self._pool) as connection:
            return bool(await connection.fetchval(SQL["is_any_new"], self._lease.stream))

    async def _next_chunk(self, connection: Connection, stands: Record) -> _Chunk:
        since, until = stands["since"], stands["until"]
        if until is None:
            look = await connection.fetchrow(SQL["difference"], since, self._chunk + 1)
            assert look is not None
            until = look["snapshot"]
            if len(look["seqs"]) <= self._chunk:
                return _Chunk(until, look["seqs"], complete=True)
        await connection.execute(SQL["allow_time"], f"{LARGE_DIFFERENCE_TIMEOUT_S}s")
        begun = stands["until"] is not None
        after_seq = stands["after_seq"] if begun else await _before_first(connection, since, until)
        seqs = await connection.fetchval(
            SQL["chunk_of_difference"],
            since,
            until,
            after_seq,
            self._chunk,
            timeout=LARGE_DIFFERENCE_TIMEOUT_S,
        )
        return _Chunk(until, seqs, complete=len(seqs) < self._chunk)

    async def _place(self, connection: Connection, chunk: _Chunk, last: int) -> None:
        name = "finish_difference" if chunk.complete else "continue_difference"
        await connection.execute(SQL[name], self._lease.stream, chunk.snapshot, last, chunk.seqs)


async def _before_first(connection: Connection, since: str, until: str) -> int:
    first = await connection.fetchval(SQL["first_of_difference"], since, until, timeout=LARGE_DIFFERENCE_TIMEOUT_S)
    return int(first) - 1
