"""Seals and opens what identifies a customer and what people wrote, each bound to its tenant, customer and place.

What is sealed for one place opens in no other: `SealBroken` says that bytes were moved or changed. A customer whose key
was destroyed is erased, whatever the row still says: it may come from a backup.
"""

from collections.abc import Mapping
from datetime import date
from typing import NamedTuple
from uuid import UUID

import msgspec

from amana.domain.commitments import Words
from amana.domain.privacy import Processing
from amana.domain.record import CustomerRecord, Profile
from amana.eligibility.records import Customer, Key, Sealed
from amana.eligibility.review_records import Review
from amana.infra.sealing import SealingKey
from amana.vault.numbers import Number
from amana.vault.sealed import place_of, seal, unseal
from amana.vault.vault import KeysUnavailable, Vault

BIRTH, IDENTITY = "customers.birth", "customers.identity"
PLACED, LIFTED = "blocks.placed", "blocks.lifted"
REVIEW = "reviews.words"


class _Identity(msgspec.Struct, omit_defaults=True):
    bank_code: str | None = None
    nuban: str | None = None
    phone: str | None = None
    bvn: str | None = None
    nin: str | None = None


class _Words(msgspec.Struct, omit_defaults=True):
    reason: str
    salt: bytes
    reviewer: str | None = None


_identity = msgspec.json.Decoder(_Identity)
_words = msgspec.json.Decoder(_Words)


class Opened(NamedTuple):
    """Customers whose birth dates are open; whose key was destroyed is erased. `failed`: whose key can't be had now."""

    customers: dict[Key, Customer]
    failed: dict[Key, KeysUnavailable]


def seal_record(key: SealingKey, where: Key, record: CustomerRecord) -> Sealed:
    """What identifies the customer, sealed."""
    birth = None
    if record.birth_date is not None:
        birth = seal(key, where, BIRTH, record.birth_date.isoformat().encode())
    said = _Identity(record.bank_code, record.nuban, record.phone, record.bvn, record.nin)
    identity = None if said == _Identity() else seal(key, where, IDENTITY, msgspec.json.encode(said))
    return Sealed(birth, identity)


def open_record(key: SealingKey | None, where: Key, profile: Profile, sealed: Sealed) -> CustomerRecord | None:
    """The whole record; None where something is sealed and the key is gone. Raises `SealBroken`."""
    if key is None and any(sealed):
        return None
    said = _Identity()
    if key is not None and sealed.identity is not None:
        said = _identity.decode(unseal(key, where, IDENTITY, sealed.identity))
    return CustomerRecord(
        kyc_tier=profile.kyc_tier,
        birth_date=None if key is None else _birth(key, where, sealed),
        employment=profile.employment,
        monthly_income=profile.monthly_income,
        blocked=profile.blocked,
        **msgspec.structs.asdict(said),
    )


def seal_text(key: SealingKey, where: Key, field: str, id_: UUID, text: str) -> bytes:
    """What somebody wrote under an id, sealed."""
    return seal(key, where, place_of(field, id_), text.encode())


def open_text(key: SealingKey | None, where: Key, field: str, id_: UUID, sealed: bytes | None) -> str | None:
    """What somebody wrote; None once it is erased. Raises `SealBroken`."""
    return None if key is None or sealed is None else unseal(key, where, place_of(field, id_), sealed).decode()


def seal_words(key: SealingKey, where: Key, review: UUID, words: Words) -> bytes:
    """The words of a review with the salt of their digest, sealed."""
    said = _Words(words.reason, words.salt, words.reviewer)
    return seal(key, where, place_of(REVIEW, review), msgspec.json.encode(said))


def open_words(key: SealingKey | None, where: Key, review: UUID, sealed: bytes | None) -> Words | None:
    """The words of a review; None once they are erased. Raises `SealBroken`."""
    if key is None or sealed is None:
        return None
    said = _words.decode(unseal(key, where, place_of(REVIEW, review), sealed))
    return Words(said.reviewer, said.reason, said.salt)


def open_review(review: Review, where: Key, key: SealingKey | None) -> Review:
    """The review with what a person wrote; without a key, which was destroyed, without that."""
    return msgspec.structs.replace(review, words=open_words(key, where, review.review_id, review.sealed))


async def open_births(vault: Vault, customers: Mapping[Key, Customer]) -> Opened:
    """What decisions need to know: the birth dates. No round trip where all keys are in memory, else one."""
    wanted = [where for where, customer in customers.items() if customer.sealed.birth is not None]
    failure: KeysUnavailable | None = None
    try:
        keys = await vault.keys(wanted)
    except KeysUnavailable as error:
        failure = error
        keys = vault.kept(wanted)
    opened = Opened(dict(customers), {})
    for where in wanted:
        if failure is not None and where not in keys:
            opened.failed[where] = failure
        else:
            opened.customers[where] = _opened(keys.get(where), where, customers[where])
    return opened


def numbers_of(where: Key, record: CustomerRecord) -> list[Number]:
    """The numbers that make the customer a person."""
    tenant, customer = where
    said = (("bvn", record.bvn), ("nin", record.nin))
    return [Number(tenant, customer, kind, text) for kind, text in said if text is not None]


def _opened(key: SealingKey | None, where: Key, customer: Customer) -> Customer:
    if key is None:
        return msgspec.structs.replace(customer, processing=Processing.ERASED)
    record = msgspec.structs.replace(customer.record, birth_date=_birth(key, where, customer.sealed))
    return msgspec.structs.replace(customer, record=record)


def _birth(key: SealingKey, where: Key, sealed: Sealed) -> date | None:
    if sealed.birth is None:
        return None
    return date.fromisoformat(unseal(key, where, BIRTH, sealed.birth).decode())
