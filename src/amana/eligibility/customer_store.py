"""One method per SQL statement about customers. Rows become values here and nowhere else."""

from collections.abc import Collection, Sequence
from typing import NamedTuple
from uuid import UUID

from amana.domain.customer import Known
from amana.domain.persons import LINKED_MAX
from amana.domain.privacy import Processing
from amana.domain.record import Employment, Profile
from amana.domain.sources import NOTHING_SAID, BureauSummary, Consent, Consents, Said, TopUps
from amana.eligibility.projection import STREAM
from amana.eligibility.projection_store import projection_of
from amana.eligibility.records import Customer, Kept, Key, Sealed
from amana.infra.postgres import Connection, Record
from amana.infra.sql import load_queries

SQL = load_queries("amana.eligibility", "customers.sql")

# Looked up by text: to call an enumeration takes three times as long.
_PROCESSING = {one.value: one for one in Processing}
_EMPLOYMENT: dict[str | None, Employment | None] = {None: None, **{one.value: one for one in Employment}}
_CONSENTS = tuple((f"consent_{purpose}", f"consent_{purpose}_at") for purpose in Consents._fields)
"""The columns of an answer and of its instant."""
_NO_ANSWERS = [None] * len(_CONSENTS)


class Written(NamedTuple):
    """What is now known of a customer, with what identifies them sealed, and the tokens of their numbers."""

    key: Key
    known: Known
    sealed: Sealed
    bvn_token: UUID | None
    nin_token: UUID | None


async def find_customers(connection: Connection, keys: Collection[Key]) -> dict[Key, Customer]:
    """The records of these customers with who else is the same person; one that has none is not in the answer."""
    tenants, ids = [tenant for tenant, _ in keys], [id_ for _, id_ in keys]
    # Themselves, as many others as a person may have, and one more to tell that there are too many.
    rows = await connection.fetch(SQL["find_customers"], tenants, ids, LINKED_MAX + 2, STREAM)
    return {(row["tenant"], row["customer"]): _customer(row) for row in rows}


async def lock_customers(connection: Connection, keys: Collection[Key]) -> dict[Key, Kept]:
    """The rows of these customers, locked; one without a record is not in the answer."""
    tenants, ids = [tenant for tenant, _ in keys], [id_ for _, id_ in keys]
    rows = await connection.fetch(SQL["lock_customers"], tenants, ids)
    return {(row["tenant"], row["customer"]): _kept(row) for row in rows}


async def insert_customers(connection: Connection, written: Sequence[Written]) -> int:
    """Writes first records; how many were written: fewer than given when another request was first."""
    columns = zip(*(_columns(item) for item in written), strict=True)
    return len(await connection.fetch(SQL["insert_customers"], *(list(column) for column in columns)))


async def update_customers(connection: Connection, written: Sequence[tuple[Written, bool]]) -> None:
    """Writes what is now known of customers whose rows are locked, each with whether its record was said again."""
    columns = zip(*((*_columns(item), again) for item, again in written), strict=True)
    await connection.execute(SQL["update_customers"], *(list(column) for column in columns))


async def bump_facts_version(connection: Connection, tenant: int, customer: UUID) -> int:
    """The next version of the facts of a customer whose row is locked."""
    version: int = await connection.fetchval(SQL["bump_facts_version"], tenant, customer)
    return version


def _columns(written: Written) -> tuple[object, ...]:
    known, sealed = written.known, written.sealed
    record, said = known.record, known.said
    bureau, topups = said.bureau, said.topups
    return (
        *written.key,
        known.version,
        record.kyc_tier,
        record.employment,
        record.monthly_income,
        sealed.birth,
        sealed.identity,
        record.bank_code is not None,
        written.bvn_token,
        written.nin_token,
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
    customer, person = row["customer"], row["person"]
    linked = () if len(person) == 1 else tuple(id_ for id_ in person if id_ != customer)
    return Customer(
        customer=customer,
        facts_version=row["facts_version"],
        record=_profile(row),
        sealed=Sealed(row["birth_sealed"], row["identity_sealed"]),
        recorded_at=row["recorded_at"],
        said=_said(row, blocked=row["person_blocked"]),
        processing=_PROCESSING[row["processing"]],
        linked=linked[:LINKED_MAX],
        too_widely_linked=len(linked) > LINKED_MAX,
        projection=projection_of(row),
    )


def _kept(row: Record) -> Kept:
    return Kept(
        version=row["facts_version"],
        profile=_profile(row),
        sealed=Sealed(row["birth_sealed"], row["identity_sealed"]),
        bvn_token=row["bvn_token"],
        nin_token=row["nin_token"],
        said=_said(row),
        processing=_PROCESSING[row["processing"]],
    )


def _profile(row: Record) -> Profile:
    return Profile(
        kyc_tier=row["kyc_tier"],
        birth_date=None,
        employment=_EMPLOYMENT[row["employment"]],
        monthly_income=row["monthly_income"],
        bank_known=row["bank_known"],
        bvn_known=row["bvn_token"] is not None,
        nin_known=row["nin_token"] is not None,
        blocked=row["blocked"],
    )


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
    answers = [None if (said := row[given]) is None else Consent(said, row[at]) for given, at in _CONSENTS]
    if bureau is None and topups is None and not blocked and answers == _NO_ANSWERS:
        return NOTHING_SAID
    return Said(bureau=bureau, topups=topups, consents=Consents(*answers), blocked=blocked)
