"""Numbers that make a person (BVN, NIN): looked up by a keyed hash here, known by a random token everywhere else.

All who have a number have one token for it, so persons are found by equal tokens, and the main database holds nothing
that could be tried through. With the last customer who has a number the number is forgotten, and the token is no one's.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple
from uuid import UUID, uuid4

from amana.infra.postgres import Connection
from amana.vault.vault import SQL, Vault


class Number(NamedTuple):
    """A number that makes a person, of a customer. `kind` is `bvn` or `nin`."""

    tenant: int
    customer: UUID
    kind: str
    text: str


async def tokens(vault: Vault, numbers: Collection[Number]) -> dict[Number, UUID]:
    """What stands for each number in the main database: the same token for whoever has it. Raises
    `KeysUnavailable`."""
    if not numbers:
        return {}
    hidden = {number: _hidden(vault, number) for number in numbers}
    found: dict[Number, UUID] = {}

    async def work(connection: Connection) -> None:
        known = await connection.fetch(SQL["find_used"], *_used(hidden))
        by_use = {(row["tenant"], row["customer"], row["kind"], row["hidden"]): row["token"] for row in known}
        uses = {number: (*number[:3], at) for number, at in hidden.items()}
        found.update({number: by_use[use] for number, use in uses.items() if use in by_use})
        new = {number: at for number, at in hidden.items() if number not in found}
        if not new:
            return
        tenants, kinds, hashes, customers = _used(new)
        drawn = [uuid4() for _ in new]
        made = await connection.fetch(SQL["ensure_numbers"], tenants, kinds, hashes, drawn)
        by_number = {(row["tenant"], row["kind"], row["hidden"]): row["token"] for row in made}
        await connection.execute(SQL["insert_uses"], tenants, kinds, hashes, customers)
        found.update({n: by_number[n.tenant, n.kind, h] for n, h in new.items()})

    await vault.transaction(work)
    return found


def _hidden(vault: Vault, number: Number) -> bytes:
    return vault.file().hidden(f"{number.tenant}/{number.kind}/{number.text}".encode())


def _used(hidden: Mapping[Number, bytes]) -> tuple[list[int], list[str], list[bytes], list[UUID]]:
    listed = list(hidden)
    return (
        [number.tenant for number in listed],
        [number.kind for number in listed],
        list(hidden.values()),
        [number.customer for number in listed],
    )
