"""From what is known of customers to responses. Who may not see what identifies a person gets it masked."""

from collections.abc import Sequence
from typing import Any, TypeAlias
from uuid import UUID

import msgspec

from amana.domain.transfer import Refused as Refusal
from amana.eligibility import customer_requests as asked
from amana.eligibility.customer_requests import Asked
from amana.eligibility.customers import Found, Recorded, Result
from amana.eligibility.records import Block
from amana.wire.blocks import BlockView
from amana.wire.customers import (
    BureauView,
    ConsentView,
    CustomerResult,
    CustomerResults,
    CustomerView,
    TopUpsView,
)
from amana.wire.problems import Refused

IDENTIFYING = ("bvn", "nin", "nuban", "phone")
SHOWN = 4
"""The last characters that a mask leaves, for people who compare."""

Done: TypeAlias = Refused | tuple[Asked, Result]
"""What became of one item of a batch: refused as it was asked, or asked and tried."""


def customer_view(whole: Found, *, with_identity: bool) -> CustomerView:
    """What is known of a customer."""
    found, record = whole.customer, msgspec.structs.asdict(whole.record)
    if not with_identity:
        record |= {name: _masked(record[name]) for name in IDENTIFYING}
    said = found.said
    return CustomerView(
        customer=found.customer,
        facts_version=found.facts_version,
        recorded_at=found.recorded_at,
        **record,
        bureau=None if said.bureau is None else BureauView(**msgspec.structs.asdict(said.bureau)),
        topups=None if said.topups is None else TopUpsView(**msgspec.structs.asdict(said.topups)),
        consents={
            purpose: answer and ConsentView(given=answer.given, at=answer.at)
            for purpose, answer in said.consents._asdict().items()
        },
        person_blocked=said.blocked,
        linked=list(found.linked),
    )


def batch_view(items: Sequence[dict[str, Any]], done: Sequence[Done]) -> CustomerResults:
    """A result for each item, in order."""
    numbered = enumerate(zip(items, done, strict=True))
    return CustomerResults(results=[_result(f"/customers/{at}", item, became) for at, (item, became) in numbered])


def block_view(block: Block, *, replayed: bool = False) -> BlockView:
    """A block as it stands."""
    shown = msgspec.structs.asdict(block)
    id_ = shown.pop("block_id")
    for name in ("lift_id", "words_sealed", "lift_words_sealed"):
        del shown[name]
    return BlockView(id=id_, **shown, replayed=replayed)


def _result(below: str, item: dict[str, Any], done: Done) -> CustomerResult:
    if isinstance(done, Refused):
        return _refused(below, _customer_of(item), done)
    said, result = done
    if isinstance(result, Refusal):
        return _refused(below, said.customer, asked.refused_as(result))
    assert isinstance(result, Recorded)
    return CustomerResult(
        customer=said.customer,
        status="recorded" if result.is_new else "unchanged",
        facts_version=result.facts_version,
        warnings=asked.moved(said.warnings, below),
    )


def _refused(below: str, customer: UUID | None, refused: Refused) -> CustomerResult:
    return CustomerResult(
        customer=customer,
        status="refused",
        reason=refused.reason,
        figures=refused.figures or None,
        errors=asked.moved(refused.errors, below),
    )


def _customer_of(item: dict[str, Any]) -> UUID | None:
    """The customer that a refused item names, where it does."""
    try:
        return msgspec.convert(item.get("customer"), UUID)
    except msgspec.ValidationError:
        return None


def _masked(text: str | None) -> str | None:
    return None if text is None else "*" * (len(text) - SHOWN) + text[-SHOWN:]
