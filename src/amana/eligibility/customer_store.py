"""One method per SQL statement about customers. Rows become values here and nowhere else."""

from collections.abc import Collection, Sequence
from uuid import UUID

from amana.domain.customer import Known
from amana.domain.facts import CustomerRecord, Employment
from amana.domain.persons import LINKED_MAX
from amana.domain.sources import BureauSummary, Consent, Consents, Said, TopUps
from amana.eligibility.records import Block, Customer, Key
from amana.infra.postgres import Connection, Record
from amana.infra.sql import load_queries

SQL = load_queries("amana.eligibility", "customers.sql")


async def find_customers(connection: Connection, keys: Collection[Key]) -> dict[Key, Customer]:
    """The records of these customers with who else is the same person; one that has none is not in the answer."""
    tenants, ids = [tenant for tenant, _ in keys], [id_ for _, id_ in keys]
    # Themselves, as many others as a person may have, and one more to tell that there are too many.
    rows = await connection.fetch(SQL["find_customers"], tenants, ids, LINKED_MAX + 2)
    return {(row["tenant"], row["customer"]): _customer(row) for row in rows}


async def lock_customers(connection: Connection, keys: Collection[Key]) -> dict[Key, Known]:
    """What is known of these customers, their rows locked; one without a record is not in the answer."""
    tenants, ids = [tenant for tenant, _ in keys], [id_ for _, id_ in keys]
    rows = await connection.fetch(SQL["lock_customers"], tenants, ids)
    return {(row["tenant"], row["customer"]): _known(row) for row in rows}


async def insert_customers(connection: Connection, known: Sequence[tuple[Key, Known]]) -> int:
    """Writes first records; how many were written: fewer than given when another request was first."""
    columns = zip(*(_columns(key, item) for key, item in known), strict=True)
    return len(await connection.fetch(SQL["insert_customers"], *(list(column) for column in columns)))


async def update_customers(connection: Connection, known: Sequence[tuple[Key, Known, bool]]) -> None:
    """Writes what is now known of customers whose rows are locked, each with whether its record was said again."""
    columns = zip(*((*_columns(key, item), again) for key, item, again in known), strict=True)
    await connection.execute(SQL["update_customers"], *(list(column) for column in columns))


async def bump_facts_version(connection: Connection, tenant: int, customer: UUID) -> int:
    """The next version of the facts of a customer whose row is locked."""
    version: int = await connection.fetchval(SQL["bump_facts_version"], tenant, customer)
    return version


async def find_block(connection: Connection, tenant: int, block_id: UUID) -> Block | None:
    """One block."""
    row = await connection.fetchrow(SQL["find_block"], tenant, block_id)
    return None if row is None else Block(**row)


async def list_blocks(connection: Connection, tenant: int, customer: UUID, limit: int) -> list[Block]:
    """The newest blocks of a customer, at most `limit`."""
    return [Block(**row) for row in await connection.fetch(SQL["list_blocks"], tenant, customer, limit)]


async def insert_block(connection: Connection, tenant: int, block: Block) -> bool:
    """Places a block; False when its id is taken by now. The clock of `block` is not kept: the database's is."""
    added = await connection.fetchval(
        SQL["insert_block"],
        tenant,
        block.block_id,
        block.customer,
        block.code,
        block.reason,
        block.until,
        block.placed_by,
    )
    return added is not None


async def lift_blocks(
    connection: Connection, tenant: int, customer: UUID, code: str, lift_id: UUID, actor: str, reason: str
) -> list[UUID]:
    """Lifts what is in force under a code; the ids of what was lifted."""
    rows = await connection.fetch(SQL["lift_blocks"], tenant, customer, code, lift_id, actor, reason)
    return sorted(row["block_id"] for row in rows)


async def find_lifted(
    connection: Connection, tenant: int, customer: UUID, code: str, lift_id: UUID
) -> list[tuple[UUID, str]]:
    """(block, reason) of all that an earlier lift of this id lifted."""
    rows = await connection.fetch(SQL["find_lifted"], tenant, customer, code, lift_id)
    return [(row["block_id"], row["lift_reason"]) for row in rows]


def _columns(key: Key, known: Known) -> tuple[object, ...]:
    record, said = known.record, known.said
    bureau, topups = said.bureau, said.topups
    return (
        *key,
        known.version,
        record.kyc_tier,
        record.birth_date,
        record.employment,
        record.monthly_income,
        record.bank_code,
        record.nuban,
        record.phone,
        record.bvn,
        record.nin,
        record.blocked,
        bureau and bureau.as_of,
        bureau and bureau.bureau_count,
        bureau and bureau.score,
        bureau and bureau.worst_days_past_due,
        bureau and bureau.open_facilities,
        topups and topups.as_of,
        topups and topups.monthly,
        *(part for answer in said.consents for part in (answer or (None, None))),
    )


def _customer(row: Record) -> Customer:
    known = _known(row)
    linked = tuple(id_ for id_ in row["person"] if id_ != row["customer"])
    return Customer(
        customer=row["customer"],
        facts_version=known.version,
        record=known.record,
        recorded_at=row["recorded_at"],
        said=_said(row, blocked=row["person_blocked"]),
        linked=linked[:LINKED_MAX],
        too_widely_linked=len(linked) > LINKED_MAX,
    )


def _known(row: Record) -> Known:
    record = CustomerRecord(
        kyc_tier=row["kyc_tier"],
        birth_date=row["birth_date"],
        employment=None if row["employment"] is None else Employment(row["employment"]),
        monthly_income=row["monthly_income"],
        bank_code=row["bank_code"],
        nuban=row["nuban"],
        phone=row["phone"],
        bvn=row["bvn"],
        nin=row["nin"],
        blocked=row["blocked"],
    )
    return Known(version=row["facts_version"], record=record, said=_said(row))


def _said(row: Record, *, blocked: bool = False) -> Said:
    bureau = topups = None
    if row["bureau_as_of"] is not None:
        bureau = BureauSummary(
            as_of=row["bureau_as_of"],
            bureau_count=row["bureau_count"],
            score=row["bureau_score"],
            worst_days_past_due=row["bureau_worst_days_past_due"],
            open_facilities=row["bureau_open_facilities"],
        )
    if row["topups_as_of"] is not None:
        topups = TopUps(as_of=row["topups_as_of"], monthly=row["topup_monthly"])
    answers = ((row[f"consent_{purpose}"], row[f"consent_{purpose}_at"]) for purpose in Consents._fields)
    consents = Consents(*(None if given is None else Consent(given, at) for given, at in answers))
    return Said(bureau=bureau, topups=topups, consents=consents, blocked=blocked)
