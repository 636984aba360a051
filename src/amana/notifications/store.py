"""The table of requests: one method per statement, each one round trip."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from amana.domain.ids import derived_id
from amana.infra.consuming.store import deleted
from amana.infra.postgres import Connection, Record
from amana.infra.sql import load_queries
from amana.notifications.events import Told
from amana.notifications.holds import Key
from amana.notifications.templates import TEMPLATES, newest_wording, text_of
from amana.wire.notifications import NotificationState, NotificationView

ATTEMPTS_MAX = 5
"""How often a request is handed to a sender."""
SWEEP_MAX = 500

SQL = load_queries("amana.notifications")


class Standing(NamedTuple):
    """A request as a report finds it."""

    state: NotificationState
    attempts: int
    lease: UUID | None
    error: str | None


def request_id(told: Told) -> UUID:
    """The id of the one request that an event and a template make."""
    return derived_id(told.event_id, f"notification/{told.template}")


async def insert(connection: Connection, told: Sequence[Told]) -> None:
    """Makes requests; those that are there already stay as they are."""
    await connection.execute(
        SQL["insert_requests"],
        [one.tenant for one in told],
        [request_id(one) for one in told],
        [one.event_id for one in told],
        [one.template for one in told],
        [newest_wording(one.template) for one in told],
        [one.customer for one in told],
        [one.about for one in told],
        [msgspec.json.encode(one.figures).decode() for one in told],
        [one.occurred_at for one in told],
        [_expiry(one) for one in told],
    )


async def list_page(
    connection: Connection,
    tenant: int,
    after: int,
    limit: int,
    state: NotificationState | None,
    customer: UUID | None,
) -> tuple[list[NotificationView], int | None]:
    """A page after a number, and the number of its last one where there may be more."""
    if customer is None:
        rows = await connection.fetch(SQL["list_requests"], tenant, after, state, limit)
    else:
        rows = await connection.fetch(SQL["list_of_customer"], tenant, after, state, limit, customer)
    return [view(row) for row in rows], rows[-1]["number"] if len(rows) == limit else None


async def claim(
    connection: Connection, tenant: int, lease: UUID, limit: int, lease_s: int
) -> tuple[list[NotificationView], datetime | None]:
    """Leases what is due, the oldest first; until when."""
    rows = await connection.fetch(SQL["claim"], tenant, lease, limit, float(lease_s), ATTEMPTS_MAX)
    rows.sort(key=_number)
    return [view(row) for row in rows], min((row["due_at"] for row in rows), default=None)


async def lock(connection: Connection, tenant: int, ids: Sequence[UUID]) -> dict[UUID, Standing]:
    """How requests stand, locked until the transaction ends."""
    rows = await connection.fetch(SQL["lock_requests"], tenant, list(ids))
    return {
        row["request_id"]: Standing(NotificationState(row["state"]), row["attempts"], row["lease"], row["error"])
        for row in rows
    }


async def settle(connection: Connection, tenant: int, id_: UUID, state: NotificationState, error: str | None) -> None:
    """A request is over."""
    await connection.execute(SQL["settle"], tenant, id_, state, error)


async def put_back(connection: Connection, tenant: int, id_: UUID, error: str | None, pause_s: float) -> None:
    """A request is tried again later."""
    await connection.execute(SQL["put_back"], tenant, id_, error, pause_s)


async def sweep(connection: Connection) -> int:
    """Settles what may not be claimed any more; how many."""
    done: str = await connection.execute(SQL["sweep"], ATTEMPTS_MAX, SWEEP_MAX)
    return int(done.rpartition(" ")[2])


async def leave(connection: Connection, leaving: UUID, days: int, limit: int, held: Collection[Key]) -> int:
    """Puts requests that were settled more than `days` days ago out of sight for a minute, at most `limit`, but none of
    the `held` customers; how many. They leave together, under the id `leaving`."""
    done: str = await connection.execute(SQL["leave"], days, limit, *_columns(held), leaving)
    return int(done.rpartition(" ")[2])


async def prune(connection: Connection, leaving: UUID, held: Collection[Key]) -> int:
    """Deletes the requests that leave under this id, at most half a minute later; those of the `held` customers are
    back in sight. How many went."""
    await connection.execute(SQL["stay"], leaving, *_columns(held))
    return deleted(await connection.execute(SQL["prune"], leaving))


def _columns(keys: Collection[Key]) -> tuple[list[int], list[UUID]]:
    return [tenant for tenant, _ in keys], [customer for _, customer in keys]


async def count_open(connection: Connection) -> dict[str, int]:
    """Open requests by state."""
    return {row["state"]: row["requests"] for row in await connection.fetch(SQL["count_open"])}


def view(row: Record) -> NotificationView:
    """A request as the API shows it."""
    figures = msgspec.json.decode(row["figures"])
    return NotificationView(
        id=row["request_id"],
        template=row["template"],
        wording=row["wording"],
        text=text_of(row["template"], row["wording"], figures),
        figures=figures,
        customer=row["customer"],
        about=row["about"],
        event_id=row["event_id"],
        occurred_at=row["occurred_at"],
        expires_at=row["expires_at"],
        state=NotificationState(row["state"]),
        attempts=row["attempts"],
        error=row["error"],
        settled_at=row["settled_at"],
    )


def _expiry(told: Told) -> datetime:
    useful = told.occurred_at + TEMPLATES[told.template].useful
    return useful if told.until is None else min(useful, told.until)


def _number(row: Record) -> int:
    return int(row["number"])
