"""One method per SQL statement about what clients say of transfers. Rows become values here and in `reads`."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec

from amana.domain.ids import shard_of
from amana.domain.transfer import Key, Notes, Prints
from amana.infra.postgres import Connection
from amana.infra.sql import load_queries
from amana.transactions.notes import KeptNotes, Owners, Seals, erased_prints
from amana.transactions.places import placed

SQL = load_queries("amana.transactions", "notes.sql")


class Waiting(NamedTuple):
    """Notes that wait for their owners' keys, sealed under version `kek` of the key file."""

    shard: int
    transfer: Key
    owners: Owners
    kek: int
    sealed: bytes


async def find_owners(connection: Connection, accounts: Iterable[Key], shards: int) -> dict[Key, Key]:
    """(tenant, owner) of these accounts; those that are not there are not in the answer."""
    rows = await connection.fetch(SQL["find_owners"], *placed(accounts, shards))
    return {(row["tenant"], row["id"]): (row["tenant"], row["owner"]) for row in rows}


async def find_notes(
    connection: Connection, transfers: Iterable[Key], shards: int, seals: Seals | None
) -> dict[Key, Prints]:
    """How these transfers' notes are known. Without `seals` nobody says anything now, and of rows in clear it is
    enough to know that something was said."""
    rows = await connection.fetch(SQL["find_notes"], *placed(transfers, shards))
    found: dict[Key, Prints] = {}
    for row in rows:
        key = row["tenant"], row["id"]
        found[key] = Prints(row["reference_print"], row["metadata_print"])
        if row["salt"] is not None:
            notes = clear_notes(row["reference"], row["metadata"], row["salt"])
            found[key] = erased_prints(notes) if seals is None else seals.prints_of(key, notes)
    return found


def clear_notes(reference: str | None, metadata: str | None, salt: bytes) -> Notes:
    """Notes as an older version wrote them."""
    return Notes(reference, None if metadata is None else msgspec.json.decode(metadata, type=dict[str, str]), salt)


async def insert_notes(connection: Connection, notes: Sequence[tuple[Key, KeptNotes]], shards: int) -> None:
    """Keeps notes beside their transfers."""
    rows = [
        (
            *(shard_of(id_, shards), tenant, id_),
            *kept.owners,
            *(kept.sealed, kept.kek, kept.prints.reference, kept.prints.metadata, kept.erased),
        )
        for (tenant, id_), kept in notes
    ]
    await connection.execute(SQL["insert_notes"], *(list(column) for column in zip(*rows, strict=True)))


async def page_waiting(connection: Connection, after: tuple[int, int, UUID], limit: int) -> list[Waiting]:
    """Notes that wait, from after a (shard, tenant, transfer)."""
    rows = await connection.fetch(SQL["waiting_notes"], *after, limit)
    return [
        Waiting(
            row["shard"],
            (row["tenant"], row["transfer"]),
            Owners(row["debit_owner"], row["credit_owner"]),
            row["kek"],
            row["sealed"],
        )
        for row in rows
    ]


async def reseal_notes(connection: Connection, resealed: Sequence[tuple[Waiting, bytes | None]]) -> None:
    """Notes that waited, sealed under their owners' keys; None where an owner was erased."""
    await connection.execute(
        SQL["reseal_notes"],
        [waiting.shard for waiting, _ in resealed],
        [waiting.transfer[0] for waiting, _ in resealed],
        [waiting.transfer[1] for waiting, _ in resealed],
        [sealed for _, sealed in resealed],
    )


async def erase_notes(connection: Connection, customers: Sequence[Key], shards: int, limit: int) -> int:
    """Takes out what was said about these customers' transfers, `limit` at most; how many that were."""
    done: str = await connection.execute(
        SQL["erase_notes"],
        [shard_of(customer, shards) for _, customer in customers],
        [tenant for tenant, _ in customers],
        [customer for _, customer in customers],
        limit,
    )
    return int(done.rpartition(" ")[2])


async def holds_clear_text(connection: Connection) -> bool:
    """Whether rows that an older version wrote may be in clear."""
    return bool(await connection.fetchval(SQL["holds_clear_text"]))
