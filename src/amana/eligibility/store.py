"""One method per SQL statement. Rows become values here and nowhere else."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from amana.domain.decision import Decision, DecisionInputs, canonical
from amana.domain.findings import assessment_of, findings_bytes, read_findings
from amana.domain.money import Currency
from amana.domain.privacy import Processing
from amana.domain.review import Standing
from amana.eligibility.records import Key, Look, Made, Offer, Recorded
from amana.infra.arrays import booleans, instants, integers, texts, uuids
from amana.infra.outbox import OutboxRow
from amana.infra.postgres import Connection, Record
from amana.infra.sql import load_queries

SQL = load_queries("amana.eligibility")

_inputs = msgspec.json.Decoder(DecisionInputs)
_decision = msgspec.json.Decoder(Decision)


async def find_decisions(connection: Connection, keys: Collection[Key]) -> dict[Key, Recorded]:
    """Recorded decisions by id."""
    rows = await connection.fetch(SQL["find_decisions"], [tenant for tenant, _ in keys], [id_ for _, id_ in keys])
    return {(row["tenant"], row["decision_id"]): _recorded(row) for row in rows}


async def find_offer(connection: Connection, tenant: int, offer_id: UUID) -> Offer | None:
    """The offer and the newest decision on it; None where no approved request to borrow has the id."""
    row = await connection.fetchrow(SQL["find_offer"], tenant, offer_id)
    if row is None:
        return None
    return Offer(
        offer_id=row["decision_id"],
        customer=row["customer"],
        product=row["product"],
        currency=Currency(row["currency"]),
        network=network_of(row),
        decision=_decision.decode(row["decision"]),
        expires_at=row["expires_at"],
        expired=row["expired"],
        newest=look(row),
        standing=Standing(row["standing"]),
        override_id=row["override_id"],
        processing=Processing(row["processing"]),
    )


def network_of(row: Record) -> str | None:
    """The network that a decision was asked for, None where none was named."""
    return _inputs.decode(row["inputs"]).network


def look(row: Record) -> Look:
    """The newest decision on an offer."""
    return Look(
        decision_id=row["newest_id"],
        as_of=row["as_of"],
        assessment=assessment_of(_inputs.decode(row["newest_inputs"]), read_findings(row["newest_assessment"])),
        decision=_decision.decode(row["newest_decision"]),
        decided_at=row["decided_at"],
        age_ms=row["age_ms"],
    )


async def record_decisions(
    connection: Connection, made: Sequence[tuple[Made, OutboxRow]]
) -> dict[Key, tuple[datetime, datetime | None]]:
    """Records decisions, each with the event that tells of it, in one transaction: (decided_at, expires_at) of each;
    one whose id was taken is not in the answer, and its event is not told. One round trip."""
    columns = zip(*((*_columns(item), event.event_id, event.body) for item, event in made), strict=True)
    arrays = [array(column) for array, column in zip(_ARRAYS, columns, strict=True)]
    rows = await connection.fetch(SQL["record_decisions"], *arrays)
    return {(row["tenant"], row["decision_id"]): (row["decided_at"], row["expires_at"]) for row in rows}


_ARRAYS: tuple[Callable[[Any], object], ...] = (
    *(integers, uuids, uuids, texts, integers, texts, integers, integers, instants, booleans, uuids, texts, integers),
    *(texts, list, list, list, integers, texts, uuids, list),
)
"""How each column of `record_decisions` is sent; bytes as they are."""


def _columns(made: Made) -> tuple[object, ...]:
    check = made.check
    return (
        check.tenant,
        made.decision_id,
        check.customer,
        check.product,
        check.amount,
        check.currency,
        check.term_days if check.terms is None else check.terms.term_days,
        None if check.terms is None else check.terms.fee,
        check.as_of,
        check.id is not None,
        check.offer_id,
        made.decision.outcome,
        made.policy.version,
        made.policy.hash,
        canonical(made.inputs),
        findings_bytes(made.assessment),
        canonical(made.decision),
        made.policy.document.offer_ttl_s,
        check.actor,
    )


def _recorded(row: Record) -> Recorded:
    inputs = _inputs.decode(row["inputs"])
    return Recorded(
        tenant=row["tenant"],
        decision_id=row["decision_id"],
        customer=row["customer"],
        product=row["product"],
        currency=Currency(row["currency"]),
        as_of=row["as_of"],
        to_borrow=row["to_borrow"],
        offer_id=row["offer_id"],
        inputs=inputs,
        assessment=assessment_of(inputs, read_findings(row["assessment"])),
        decision=_decision.decode(row["decision"]),
        decided_at=row["decided_at"],
        expires_at=row["expires_at"],
    )
