"""One method per SQL statement of reviews. Rows become values here and nowhere else."""

from uuid import UUID

import msgspec

from amana.domain.findings import read_findings
from amana.domain.money import Currency
from amana.domain.policy import Outcome
from amana.domain.privacy import Processing
from amana.domain.review import AppealState, Case, OverrideTerms, ReviewKind, Standing
from amana.eligibility.review_records import UNREVIEWED, Appeal, Draft, OverrideOffer, Review, Stands, stored
from amana.eligibility.store import look, network_of
from amana.infra.postgres import Connection, Record
from amana.infra.sql import load_queries

SQL = load_queries("amana.eligibility", "reviews.sql")

_terms = msgspec.json.Decoder(OverrideTerms)


async def lock_case(connection: Connection, tenant: int, decision_id: UUID) -> Case:
    """A decision that is there, with its reviews' state, locked against every other review until the COMMIT."""
    await lock_standing(connection, tenant, decision_id)
    row = await connection.fetchrow(SQL["find_case"], tenant, decision_id)
    assert row is not None, "a decision is never deleted"
    return Case(
        tenant=row["tenant"],
        decision_id=row["decision_id"],
        customer=row["customer"],
        product=row["product"],
        currency=row["currency"],
        asked_by=row["asked_by"],
        confirms=row["confirms"],
        outcome=Outcome(row["outcome"]),
        knockouts=read_findings(row["assessment"]).knockouts,
        term_days=row["term_days"],
        network=network_of(row),
        version=row["version"],
        standing=Standing(row["standing"]),
        override_id=row["override_id"],
        open_appeal=row["open_appeal"],
        offers=tuple(row["offers"]),
    )


async def lock_standing(connection: Connection, tenant: int, decision_id: UUID) -> None:
    """Locks a decision against every review and every step of its reversal, until the COMMIT."""
    await connection.execute(SQL["lock_standing"], tenant, decision_id)


async def find_review(connection: Connection, tenant: int, review_id: UUID) -> Review | None:
    """One review by its id."""
    row = await connection.fetchrow(SQL["find_review"], tenant, review_id)
    return None if row is None else _review(row)


async def list_reviews(connection: Connection, tenant: int, decision_id: UUID, limit: int) -> list[Review]:
    """The newest reviews of a decision, at most `limit`, in their order."""
    return [_review(row) for row in await connection.fetch(SQL["list_reviews"], tenant, decision_id, limit)]


async def count_reviews(connection: Connection, tenant: int, decision_id: UUID) -> int:
    """How many reviews a decision has had."""
    return int(await connection.fetchval(SQL["count_reviews"], tenant, decision_id))


async def find_customer(connection: Connection, tenant: int, decision_id: UUID) -> UUID | None:
    """Whom a decision is about; None where there is no such decision."""
    found: UUID | None = await connection.fetchval(SQL["find_customer"], tenant, decision_id)
    return found


async def is_decision(connection: Connection, tenant: int, id_: UUID) -> bool:
    """Whether the id is a decision's."""
    return bool(await connection.fetchval(SQL["is_decision"], tenant, id_))


async def insert_review(connection: Connection, draft: Draft, customer: UUID, sealed: bytes) -> Review:
    """Records a review and, apart, its words, which are `sealed`; and moves its decision on."""
    asked = draft.asked
    row = await connection.fetchrow(
        SQL["insert_review"],
        asked.tenant,
        asked.id,
        draft.decision_id,
        draft.version,
        asked.kind,
        msgspec.json.encode(asked.request, order="deterministic"),
        draft.standing,
        draft.outcome,
        None if draft.terms is None else msgspec.json.encode(draft.terms, order="deterministic"),
        draft.ttl_s,
        draft.offers,
        asked.actor,
        draft.words.digest(),
    )
    assert row is not None, "an INSERT that returns gives a row"
    await connection.execute(SQL["insert_words"], asked.tenant, asked.id, customer, sealed)
    override = asked.id if asked.kind == ReviewKind.OVERRIDE else None
    await connection.execute(
        SQL["set_standing"], asked.tenant, draft.decision_id, draft.version, draft.standing, override
    )
    return stored(draft, row["reviewed_at"], row["expires_at"])


async def find_standing(connection: Connection, tenant: int, decision_id: UUID) -> Stands:
    """How a decision stands; `UNREVIEWED` where nobody ever reviewed it."""
    row = await connection.fetchrow(SQL["find_standing"], tenant, decision_id)
    return UNREVIEWED if row is None else Stands(row["version"], Standing(row["standing"]), row["override_id"])


async def insert_appeal(connection: Connection, filed: Review) -> None:
    """Opens the appeal that a review filed."""
    await connection.execute(
        SQL["insert_appeal"], filed.tenant, filed.review_id, filed.decision_id, filed.reviewed_at, filed.version
    )


async def resolve_appeal(connection: Connection, tenant: int, appeal_id: UUID, resolution_id: UUID) -> None:
    """Closes an open appeal."""
    await connection.execute(SQL["resolve_appeal"], tenant, appeal_id, resolution_id)


async def find_appeal(connection: Connection, tenant: int, appeal_id: UUID) -> tuple[UUID, int] | None:
    """The decision that an appeal is about, and its version when the appeal was filed."""
    row = await connection.fetchrow(SQL["find_appeal"], tenant, appeal_id)
    return None if row is None else (row["decision_id"], row["filed_version"])


async def changed_since(
    connection: Connection, tenant: int, review_id: UUID | None, decision_id: UUID, version: int
) -> bool:
    """Whether this override or reversal of the decision was made after that version of it."""
    return bool(await connection.fetchval(SQL["changed_since"], tenant, review_id, decision_id, version))


async def list_appeals(
    connection: Connection, tenant: int, state: AppealState, after: UUID, limit: int
) -> list[Appeal]:
    """Appeals in one state, oldest first, from after the one named."""
    rows = await connection.fetch(SQL["list_appeals"], tenant, state, after, limit)
    return [msgspec.convert(dict(row), Appeal) for row in rows]


async def find_override_offer(connection: Connection, tenant: int, offer_id: UUID) -> OverrideOffer | None:
    """The offer of an approving override; None where no such override has the id."""
    row = await connection.fetchrow(SQL["find_override_offer"], tenant, offer_id)
    if row is None:
        return None
    return OverrideOffer(
        offer_id=row["review_id"],
        decision_id=row["decision_id"],
        customer=row["customer"],
        product=row["product"],
        currency=Currency(row["currency"]),
        network=network_of(row),
        terms=_terms.decode(row["terms"]),
        expires_at=row["expires_at"],
        expired=row["expired"],
        standing=Standing(row["standing"]),
        override_id=row["override_id"],
        processing=Processing(row["processing"]),
        newest=None if row["newest_id"] is None else look(row),
    )


async def find_overridden(connection: Connection, tenant: int, offer_id: UUID) -> UUID | None:
    """The decision that an approving override overrode; None where no such override has the id."""
    found: UUID | None = await connection.fetchval(SQL["find_overridden"], tenant, offer_id)
    return found


def _review(row: Record) -> Review:
    return Review(
        tenant=row["tenant"],
        review_id=row["review_id"],
        decision_id=row["decision_id"],
        version=row["version"],
        kind=ReviewKind(row["kind"]),
        asked=msgspec.json.decode(row["asked"]),
        standing=Standing(row["standing"]),
        outcome=row["outcome"],
        terms=None if row["terms"] is None else _terms.decode(row["terms"]),
        expires_at=row["expires_at"],
        offers=None if row["offers"] is None else tuple(row["offers"]),
        actor=row["actor"],
        words_digest=row["words_digest"],
        reviewed_at=row["reviewed_at"],
        sealed=row["sealed"],
    )
