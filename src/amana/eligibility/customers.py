"""A customer's record: written with its event in one transaction, and its cached assessments dropped after that."""

from uuid import UUID

from amana.domain.facts import CustomerRecord
from amana.eligibility import store
from amana.eligibility.events import customer_facts_recorded
from amana.eligibility.flow import Flow
from amana.eligibility.records import Customer
from amana.gateway.caller import Caller
from amana.infra import clock
from amana.infra.outbox import append
from amana.infra.postgres import reading


async def record(flow: Flow, caller: Caller, customer: UUID, said: CustomerRecord) -> int:
    """Writes what is said of a customer; the version of their facts. The same again is no new version, and no event."""
    async with reading(flow.pool) as connection, connection.transaction():
        version = await store.put_customer(connection, caller.tenant, customer, said)
        if version is None:
            found = await store.find_customers(connection, [(caller.tenant, customer)])
            return found[caller.tenant, customer].facts_version
        event = customer_facts_recorded(
            caller.tenant, customer, version, said, clock.now(), caller.key_id, caller.trace
        )
        await append(connection, [event])
    await flow.cache.forget(caller.tenant, customer)
    return version


async def find(flow: Flow, tenant: int, customer: UUID) -> Customer | None:
    """The record as it stands."""
    async with reading(flow.pool) as connection:
        return (await store.find_customers(connection, [(tenant, customer)])).get((tenant, customer))
