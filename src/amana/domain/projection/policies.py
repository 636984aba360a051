"""Policies: versions, the steps of their lives, and which start was told last."""

from amana.domain.projection.eligibility_rows import PolicyRow, ProductRow, StepRow
from amana.domain.projection.state import Needs, State
from amana.domain.projection.told import PolicyTold, Told

STEPS = {"PolicyDrafted": "drafted", "PolicyApproved": "approved", "PolicyWithdrawn": "withdrawn"}


def needs_product(told: Told[PolicyTold], _state: State) -> Needs:
    """The product."""
    yield "policy_products", (told.tenant, told.data.product)


def change(state: State, told: Told[PolicyTold], position: int | None) -> None:
    """Any step: each counts among its product's events."""
    data = told.data
    key = told.tenant, data.product
    product = state.policy_products.get(key)
    if product is None:
        product = state.policy_products[key] = ProductRow(*key)
    if told.aggregate.version != product.events + 1:
        folded = f"event {product.events + 1}"
        state.object_to(position, f"product {data.product}", folded, f"event {told.aggregate.version}")
    product.events, product.position = told.aggregate.version, position
    if told.type == "PolicyDrafted":
        product.versions = data.policy_version
        state.policies.append(
            PolicyRow(told.tenant, data.product, data.policy_version, data.hash, data.restores, position)
        )
    if told.type == "PolicyPublished":
        product.told, product.told_from = data.policy_version, data.valid_from
    if told.type in STEPS:
        state.policy_steps.append(
            StepRow(
                told.tenant,
                data.product,
                data.policy_version,
                STEPS[told.type],
                told.actor,
                data.valid_from,
                position,
            )
        )
