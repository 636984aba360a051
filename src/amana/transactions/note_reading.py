"""Reads what clients said about transfers: opened with keys as they are now, whatever a process remembers of them.

So who is erased is unreadable from the moment at which the key is destroyed, whether the rows were blanked or not.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from amana.domain.transfer import Key, Notes, NotesState
from amana.infra.postgres import Record
from amana.transactions.note_store import clear_notes
from amana.transactions.notes import Owners, open_for, read_waiting
from amana.vault.vault import KeysUnavailable, Standing, Vault

HIDDEN = ("noted", "debit_owner", "credit_owner", "sealed", "kek", "reference", "metadata", "salt")
"""The columns behind notes; `told` puts what they say in their place."""


class Told(NamedTuple):
    """What a client said, as far as it can be read. `state` is None where nothing was said."""

    notes: Notes | None
    state: NotesState | None


async def tell(
    vault: Vault, tenant: int, rows: Sequence[Record], *, restricted: bool = False, whole: bool = False
) -> list[dict[str, Any]]:
    """The rows with `reference`, `metadata` and `notes` (their state) in the place of what is kept.

    `restricted` also shows what was said about customers who are to be erased. Without the vault the rest is told all
    the same, unless it must be `whole`: then that raises `KeysUnavailable`.
    """
    owners = {owner for row in rows if row["sealed"] is not None for owner in _owners_of(row).of(tenant)}
    standings: Mapping[Key, Standing] | None = None
    try:
        standings = await vault.standings(owners)
    except KeysUnavailable:
        if whole:
            raise
    return [_told(row, _read(vault, tenant, row, standings, restricted)) for row in rows]


def _told(row: Record, told: Told) -> dict[str, Any]:
    fields = {name: value for name, value in row.items() if name not in HIDDEN}
    notes = told.notes
    fields["reference"] = None if notes is None else notes.reference
    fields["metadata"] = None if notes is None else notes.metadata
    fields["notes"] = told.state
    return fields


def _read(vault: Vault, tenant: int, row: Record, standings: Mapping[Key, Standing] | None, restricted: bool) -> Told:
    if not row["noted"]:
        return Told(None, None)
    if row["salt"] is not None:
        return Told(clear_notes(row["reference"], row["metadata"], row["salt"]), NotesState.KEPT)
    if row["sealed"] is None:
        return Told(None, NotesState.ERASED)
    if standings is None:
        return Told(None, NotesState.UNAVAILABLE)
    owners = _owners_of(row)
    theirs = {owner: standings[owner] for owner in owners.of(tenant)}
    if any(standing.erased for standing in theirs.values()):
        return Told(None, NotesState.ERASED)
    if not restricted and any(standing.restricted for standing in theirs.values()):
        return Told(None, NotesState.RESTRICTED)
    return _opened(vault, (tenant, row["id"]), row, {owner: standing.key for owner, standing in theirs.items()})


def _opened(vault: Vault, transfer: Key, row: Record, found: Mapping[Key, Any]) -> Told:
    if row["kek"] is not None:
        try:
            return Told(read_waiting(vault.file(), row["kek"], transfer, row["sealed"]), NotesState.KEPT)
        except KeysUnavailable:
            return Told(None, NotesState.UNAVAILABLE)
    keys = {owner: key for owner, key in found.items() if key is not None}
    if len(keys) < len(found):  # a vault that was restored and has forgotten them
        return Told(None, NotesState.UNAVAILABLE)
    return Told(open_for(keys, transfer, _owners_of(row), row["sealed"]), NotesState.KEPT)


def _owners_of(row: Record) -> Owners:
    return Owners(row["debit_owner"], row["credit_owner"])
