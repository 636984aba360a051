"""Who leads a stream: a lease in its row, and a term that only grows and fences whoever led before.

Every write of a leader names its term and finds no row once another has taken over. For what PostgreSQL can't fence
(messages to the broker) the holder also keeps its own clock: `remaining_s` counts from before the request that took or
renewed the lease, so it ends before the row's does. (A virtual machine whose clock stood still while it was frozen may
be wrong about that; `amana.infra.publisher` says why order survives it.)
"""

import time
from uuid import uuid4

from amana.infra.postgres import Pool, reading
from amana.infra.sql import load_queries

LEASE_S = 10.0
"""How long a leader that died keeps others waiting."""
RENEWALS_PER_LEASE = 3

SQL = load_queries("amana.infra", "relay.sql")


class Lease:
    """One relay's claim to lead `stream`. `term` is None when it does not lead."""

    def __init__(self, pool: Pool, stream: str, lease_s: float = LEASE_S) -> None:
        self.holder = uuid4()
        self.stream = stream
        self.lease_s = lease_s
        self._pool = pool
        self._term: int | None = None
        self._until = 0.0

    @property
    def term(self) -> int | None:
        """The term under which this relay leads now, by its own clock."""
        return self._term if self.remaining_s() > 0 else None

    def remaining_s(self) -> float:
        """For how long nobody else can become leader, by this process's clock; 0 when it does not lead."""
        return max(0.0, self._until - time.monotonic()) if self._term is not None else 0.0

    def lost(self) -> None:
        """A write was refused: somebody else leads."""
        self._term = None

    async def hold(self) -> bool:
        """Take or renew the lease, if that is possible; whether it is held. Raises `DatabaseUnavailable`."""
        asked_at = time.monotonic()
        async with reading(self._pool) as connection:
            if self._term is not None:
                held = await connection.fetchval(SQL["renew_lease"], self.stream, self.holder, self._term, self.lease_s)
            else:
                held = await connection.fetchval(SQL["take_lease"], self.stream, self.holder, self.lease_s)
        self._term = held
        self._until = asked_at + self.lease_s
        return held is not None

    async def release(self) -> None:
        """Give the lease up, when it is held. Raises `DatabaseUnavailable`."""
        if self._term is not None:
            async with reading(self._pool) as connection:
                await connection.execute(SQL["release_lease"], self.stream, self.holder, self._term)
            self._term = None
