"""What clients say about transfers, sealed: never kept in clear, and known again by keyed fingerprints.

    reference, metadata, salt  →  sealed under the key of the debit account's owner  →  that under the credit account's

So it takes both keys to read it, and with either of the two erased nobody does, in no backup either. An account of the
tenant's own is owned by the tenant, whose key nobody destroys. Where an owner's key can't be had now, the text is
sealed under the key file until it can (`note_jobs`): money moves, and nothing personal is written in clear.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

import msgspec

from amana.domain.transfer import ERASED, Key, Notes, Prints
from amana.infra.key_file import KeyFile
from amana.infra.sealing import SealBroken, SealingKey
from amana.vault.sealed import place_of, seal, unseal

PRINT_BYTES = 16
PLACE = "notes.words"


class _Said(msgspec.Struct, omit_defaults=True):
    salt: bytes
    reference: str | None = None
    metadata: dict[str, str] | None = None


_said = msgspec.json.Decoder(_Said)


class Owners(NamedTuple):
    """Whose accounts a transfer moves; None where a refused one named no account that was there."""

    debit: UUID | None = None
    credit: UUID | None = None

    def of(self, tenant: int) -> list[Key]:
        """The keys that it takes, from the inside out."""
        return [(tenant, owner) for owner in dict.fromkeys(self) if owner is not None]


class KeptNotes(NamedTuple):
    """Notes as they are kept. `kek` is the version of the key file that seals them until the owners' keys can be had.

    `sealed` is None of a refused transfer, which nobody reads, and where an owner is erased."""

    owners: Owners
    sealed: bytes | None
    kek: int | None
    prints: Prints
    erased: bool


class Seals(NamedTuple):
    """What it takes to seal a batch's notes. An owner whose key is None is erased; one who is absent can't be asked."""

    file: KeyFile
    keys: Mapping[Key, SealingKey | None]

    def prints_of(self, transfer: Key, notes: Notes) -> Prints:
        """The fingerprints of what is said about a transfer."""
        tenant, id_ = transfer
        metadata = None
        if notes.metadata:
            said = msgspec.json.encode(notes.metadata, order="deterministic")
            metadata = self.file.hidden(f"{tenant}/metadata/{id_}/".encode() + said)[:PRINT_BYTES]
        reference = None if notes.reference is None else reference_print(self.file, tenant, notes.reference)
        return Prints(reference, metadata)

    def seal(self, transfer: Key, owners: Owners, notes: Notes, *, moved: bool) -> KeptNotes:
        """What is kept of notes. Of a transfer that did not move nobody ever reads them: only fingerprints are kept."""
        wanted = owners.of(transfer[0])
        if any(owner in self.keys and self.keys[owner] is None for owner in wanted):
            return KeptNotes(owners, None, None, erased_prints(notes), erased=True)
        prints = self.prints_of(transfer, notes)
        if not moved:
            return KeptNotes(owners, None, None, prints, erased=False)
        return KeptNotes(owners, *self._sealed(transfer, wanted, _written(notes)), prints, erased=False)

    def _sealed(self, transfer: Key, owners: Iterable[Key], content: bytes) -> tuple[bytes, int | None]:
        sealed = seal_for(self.keys, transfer, owners, content)
        return (self.wait(transfer, content), self.file.current) if sealed is None else (sealed, None)

    def wait(self, transfer: Key, content: bytes) -> bytes:
        """The content, sealed under the key file until the owners' keys can be had."""
        kek = self.file.kek(self.file.current)
        assert kek is not None, "a key file has its current version"
        return kek.seal(content, _waiting(transfer))


def merged(all_: Iterable[Seals | None]) -> Seals | None:
    """The seals of a batch: what was looked up for any of its units."""
    found = [seals for seals in all_ if seals is not None]
    if len(found) < 2:
        return found[0] if found else None
    return Seals(found[-1].file, {owner: key for seals in found for owner, key in seals.keys.items()})


def reference_print(file: KeyFile, tenant: int, reference: str) -> bytes:
    """By which a tenant's transfers of this reference are found."""
    return file.hidden(f"{tenant}/reference/{reference}".encode())[:PRINT_BYTES]


def erased_prints(notes: Notes) -> Prints:
    """Only that something was said."""
    return Prints(None if notes.reference is None else ERASED, ERASED if notes.metadata else None)


def seal_for(
    keys: Mapping[Key, SealingKey | None], transfer: Key, owners: Iterable[Key], content: bytes
) -> bytes | None:
    """The content under every owner's key, one within the other; None where one of them is not there."""
    for owner in owners:
        key = keys.get(owner)
        if key is None:
            return None
        content = seal(key, owner, place_of(PLACE, transfer[1]), content)
    return content


def open_for(keys: Mapping[Key, SealingKey], transfer: Key, owners: Owners, sealed: bytes) -> Notes:
    """What was sealed with `seal_for`; every owner's key is there. Raises `SealBroken`."""
    for owner in reversed(owners.of(transfer[0])):
        sealed = unseal(keys[owner], owner, place_of(PLACE, transfer[1]), sealed)
    return _read(sealed)


def open_waiting(file: KeyFile, version: int, transfer: Key, sealed: bytes) -> bytes:
    """The content that waits for its owners' keys. Raises `SealBroken`, also where the file lost its version."""
    kek = file.kek(version)
    if kek is None:
        raise SealBroken(f"the key file has no version {version}, under which notes wait")
    return kek.open(sealed, _waiting(transfer))


def read_waiting(file: KeyFile, version: int, transfer: Key, sealed: bytes) -> Notes:
    """The same as notes."""
    return _read(open_waiting(file, version, transfer, sealed))


def _written(notes: Notes) -> bytes:
    metadata = None if not notes.metadata else dict(notes.metadata)
    return msgspec.json.encode(_Said(notes.salt, notes.reference, metadata))


def _read(content: bytes) -> Notes:
    said = _said.decode(content)
    return Notes(said.reference, said.metadata, said.salt)


def _waiting(transfer: Key) -> bytes:
    return f"amana/waiting/{transfer[0]}/{place_of(PLACE, transfer[1])}".encode()
