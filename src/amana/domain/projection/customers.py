"""Customers' facts, as far as events say them, and blocks."""

from uuid import UUID

from amana.domain.privacy import Processing
from amana.domain.projection.eligibility_rows import BlockRow, CustomerRow
from amana.domain.projection.state import Needs, State
from amana.domain.projection.told import Blocked, CustomerTold, FactsRecorded, Lifted, Told

SEALED = frozenset({"nuban", "phone"})
"""Parts of a record whose being there no row tells without the customer's key."""


def needs_customer(told: Told[FactsRecorded] | Told[CustomerTold], _state: State) -> Needs:
    """The customer."""
    yield "customers", (told.tenant, told.data.customer)


def record(state: State, told: Told[FactsRecorded], position: int | None) -> None:
    """What is known now: each event says all of it."""
    data, key = told.data, (told.tenant, told.data.customer)
    consents = data.consents
    before = state.customers.get(key)
    state.customers[key] = CustomerRow(
        told.tenant,
        data.customer,
        0 if before is None else before.facts_version,
        data.kyc_tier,
        data.blocked,
        sorted({*data.known} - SEALED),
        consents.get("terms"),
        consents.get("bureau"),
        consents.get("recovery"),
        str(Processing.OPEN) if before is None else before.processing,
    )
    _next_version(state, told.tenant, data.customer, data.facts_version, position)


def needs_blocked(told: Told[Blocked], _state: State) -> Needs:
    """The customer and the block."""
    yield "customers", (told.tenant, told.data.customer)
    yield "customer_blocks", (told.tenant, told.data.block)


def block(state: State, told: Told[Blocked], position: int | None) -> None:
    """A block was placed."""
    data = told.data
    state.customer_blocks[told.tenant, data.block] = BlockRow(
        told.tenant, data.block, data.customer, data.code, data.until, told.actor, position=position
    )
    _next_version(state, told.tenant, data.customer, data.facts_version, position)


def needs_lifted(told: Told[Lifted], _state: State) -> Needs:
    """The customer and the blocks."""
    yield "customers", (told.tenant, told.data.customer)
    for id_ in told.data.blocks:
        yield "customer_blocks", (told.tenant, id_)


def lift(state: State, told: Told[Lifted], position: int | None) -> None:
    """Blocks were lifted."""
    for id_ in told.data.blocks:
        found = state.customer_blocks.get((told.tenant, id_))
        if found is None:
            state.object_to(position, f"block {id_}", "never placed", "lifted")
        else:
            found.lifted_by, found.position = told.actor, position
    _next_version(state, told.tenant, told.data.customer, told.data.facts_version, position)


def restrict(state: State, told: Told[CustomerTold], position: int | None) -> None:
    """The customer is to be erased: kept, and used for nothing but what they owe."""
    found = state.customers.get((told.tenant, told.data.customer))
    if found is not None:
        found.processing = str(Processing.RESTRICTED)
    _next_version(state, told.tenant, told.data.customer, told.data.facts_version, position)


def erase(state: State, told: Told[CustomerTold], position: int | None) -> None:
    """Nothing personal is left in the row."""
    found = state.customers.get((told.tenant, told.data.customer))
    if found is not None:
        found.known, found.consent_terms, found.consent_bureau, found.consent_recovery = [], None, None, None
        found.processing = str(Processing.ERASED)
    _next_version(state, told.tenant, told.data.customer, told.data.facts_version, position)


def _next_version(state: State, tenant: int, customer: UUID, version: int, position: int | None) -> None:
    """Versions have no gap: a missing one is an event that is not in the log."""
    found = state.customers.get((tenant, customer))
    if found is None:
        state.object_to(position, f"customer {customer}", "never recorded", f"facts version {version}")
        return
    if version != found.facts_version + 1:
        folded = f"facts version {found.facts_version + 1}"
        state.object_to(position, f"customer {customer}", folded, f"facts version {version}")
    found.facts_version, found.position = version, position
