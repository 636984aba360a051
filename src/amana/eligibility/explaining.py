"""Finds a decision with all that is known of it: the policy that made it, how it stands, its reviews in words."""

from typing import NamedTuple
from uuid import UUID

from amana.domain.decision import CompiledPolicy
from amana.eligibility import reversal_store, review_store, store
from amana.eligibility.flow import Flow
from amana.eligibility.records import Recorded
from amana.eligibility.reversal_records import Saga
from amana.eligibility.review_records import Review, Stands
from amana.eligibility.sealed import open_review
from amana.infra.postgres import Connection, reading_at_once

REVIEWS_SHOWN = 100
"""The newest ones. Nothing bounds how often a decision may be appealed and overridden in the course of time."""


class Explained(NamedTuple):
    """A decision, its policy, how it stands, how many reviews it had, the newest of them in order, and its reversal."""

    found: Recorded
    policy: CompiledPolicy
    stands: Stands
    reviews: list[Review]
    review_count: int
    reversal: Saga | None


async def explain(flow: Flow, tenant: int, id_: UUID, *, with_words: bool) -> Explained | None:
    """The decision with this id, or the one that an approving override with this id overrode: a loan names either.

    `with_words`: with what people wrote, which needs the customer's key. Raises `DatabaseUnavailable`.
    """
    async with reading_at_once(flow.pool) as connection:
        found = await _find(connection, tenant, id_)
        if found is None:
            return None
        first = found.decision_id if found.offer_id is None else await _first(connection, tenant, found.offer_id)
        stands = await review_store.find_standing(connection, tenant, first)
        reviews = await review_store.list_reviews(connection, tenant, first, REVIEWS_SHOWN)
        count = await review_store.count_reviews(connection, tenant, first)
        reversal = await reversal_store.find_reversal_of(connection, tenant, first) if count else None
        version = found.assessment.policy_version
        policy = await flow.policies.version(connection, tenant, found.product, version)
    if with_words and any(review.sealed for review in reviews):
        where = tenant, found.customer
        key = (await flow.vault.keys([where])).get(where)
        reviews = [open_review(review, where, key) for review in reviews]
    return Explained(found, policy, stands, reviews, count, reversal)


async def _find(connection: Connection, tenant: int, id_: UUID) -> Recorded | None:
    keys = [(tenant, id_), (tenant, await _first(connection, tenant, id_))]
    found = await store.find_decisions(connection, keys)
    return found.get(keys[0]) or found.get(keys[1])


async def _first(connection: Connection, tenant: int, offer_id: UUID) -> UUID:
    """The decision behind an offer: the one with its id, but of an override's offer the one that it overrode."""
    return await review_store.find_overridden(connection, tenant, offer_id) or offer_id
