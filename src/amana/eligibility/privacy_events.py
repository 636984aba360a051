"""The events about a customer's data as such: restricted, planned to be erased, erased, handed out, under a legal hold.
None of it is in them."""

from datetime import datetime
from uuid import UUID

from amana.domain.events import Aggregate, utc_text
from amana.domain.ids import uuid7
from amana.eligibility.erasure_store import Erasure
from amana.eligibility.events import SYSTEM, outbox_row
from amana.eligibility.records import Key
from amana.infra import clock
from amana.infra.outbox import OutboxRow
from amana.vault.legal_holds import LegalHold


def customer_restricted(erasure: Erasure, facts_version: int, now: datetime, trace: str) -> OutboxRow:
    """`CustomerRestricted`: from now on the data is kept and not used."""
    data = {
        "customer": str(erasure.customer),
        "facts_version": facts_version,
        "erasure": str(erasure.erasure_id),
        "reason": str(erasure.reason),
    }
    aggregate = Aggregate("customer", erasure.customer, facts_version)
    return outbox_row(erasure.tenant, "CustomerRestricted", aggregate, now, erasure.requested_by, trace, data)


def erasure_planned(erasure: Erasure, now: datetime) -> OutboxRow:
    """`CustomerErasurePlanned`: when it is due; null while something is owed."""
    data = {
        "customer": str(erasure.customer),
        "erasure": str(erasure.erasure_id),
        "due_at": None if erasure.due_at is None else utc_text(erasure.due_at),
    }
    aggregate = Aggregate("erasure", erasure.erasure_id, erasure.version)
    return outbox_row(erasure.tenant, "CustomerErasurePlanned", aggregate, now, SYSTEM, "", data)


def customer_erased(erasure: Erasure, facts_version: int, now: datetime) -> OutboxRow:
    """`CustomerErased`: the key is destroyed, and nothing personal is left."""
    data = {
        "customer": str(erasure.customer),
        "facts_version": facts_version,
        "erasure": str(erasure.erasure_id),
    }
    aggregate = Aggregate("customer", erasure.customer, facts_version)
    return outbox_row(erasure.tenant, "CustomerErased", aggregate, now, SYSTEM, "", data)


def customer_exported(where: Key, now: datetime, actor: str, trace: str) -> OutboxRow:
    """`CustomerExported`: a copy of all that is known of the customer was handed to the caller."""
    tenant, customer = where
    export: UUID = uuid7(clock.unix_ms(), clock.random_74_bits())
    data = {"customer": str(customer), "export": str(export)}
    return outbox_row(tenant, "CustomerExported", Aggregate("export", export, 1), now, actor, trace, data)


def legal_hold_told(hold: LegalHold, trace: str) -> OutboxRow:
    """`LegalHoldPlaced`, or `LegalHoldReleased`: the last that happened to a hold, under the id that it is told by."""
    data: dict[str, str | None] = {"customer": str(hold.customer), "legal_hold": str(hold.hold_id)}
    aggregate = Aggregate("legal_hold", hold.hold_id, hold.steps)
    if hold.released_at is None:
        data |= {"reason": hold.reason, "placed_for": hold.placed_for}
        at, by, type_ = hold.placed_at, hold.placed_by, "LegalHoldPlaced"
    else:
        assert hold.released_by is not None, "a release is whole"
        data |= {"reason": hold.release_reason, "released_for": hold.released_for}
        at, by, type_ = hold.released_at, hold.released_by, "LegalHoldReleased"
    return outbox_row(hold.tenant, type_, aggregate, at, by, trace, data, hold.told_as)
