"""The events of a policy's life: what each says, and its outbox row."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from amana.domain.events import Aggregate, utc_text
from amana.domain.ids import derived_id
from amana.domain.policy_life import PolicyLife
from amana.eligibility.events import outbox_row
from amana.infra.outbox import OutboxRow


class Said(NamedTuple):
    """An event's type and its data."""

    type: str
    data: dict[str, Any]


class Teller(NamedTuple):
    """Of whose product events tell, who caused them, and when."""

    tenant: int
    product: str
    actor: str
    trace: str
    now: datetime

    def row(self, said: Said, number: int) -> OutboxRow:
        """The event as a row. `number` counts the events of the product's policies, from 1."""
        aggregate = Aggregate("policy", derived_id(UUID(int=self.tenant), f"policy/{self.product}"), number)
        return outbox_row(self.tenant, said.type, aggregate, self.now, self.actor, self.trace, said.data)


def drafted(product: str, version: int, digest: str, restores: int | None) -> Said:
    """`PolicyDrafted`: a version is there, for another key to approve."""
    return Said("PolicyDrafted", _about(product, version, digest) | {"restores": restores})


def approved(life: PolicyLife, valid_from: datetime) -> Said:
    """`PolicyApproved`: it is to decide from an instant on."""
    more = {"drafted_by": life.drafted_by, "valid_from": utc_text(valid_from)}
    return Said("PolicyApproved", _about(life.product, life.version, life.hash) | more)


def withdrawn(life: PolicyLife) -> Said:
    """`PolicyWithdrawn`: it never decides."""
    return Said("PolicyWithdrawn", _about(life.product, life.version, life.hash))


def published(product: str, version: int, digest: str, valid_from: datetime, replaces: int | None) -> Said:
    """`PolicyPublished`: since `valid_from` this version decides."""
    more = {"valid_from": utc_text(valid_from), "replaces": replaces}
    return Said("PolicyPublished", _about(product, version, digest) | more)


def retired(product: str, version: int, digest: str, replaced_by: int) -> Said:
    """`PolicyRetired`: since another was published, this version decides no longer."""
    return Said("PolicyRetired", _about(product, version, digest) | {"replaced_by": replaced_by})


def _about(product: str, version: int, digest: str) -> dict[str, Any]:
    return {"product": product, "policy_version": version, "hash": digest}
