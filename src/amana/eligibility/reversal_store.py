"""One method per SQL statement of reversals. Rows become values here and nowhere else."""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from amana.domain.decision_reversal import ENDS, SagaState, Step, StepState, UndoTerms
from amana.domain.loan_reversal import Kept
from amana.domain.money import Currency
from amana.domain.review import Standing
from amana.eligibility.records import Key
from amana.eligibility.reversal_records import Saga
from amana.eligibility.review_records import Review
from amana.infra.postgres import Connection, Record
from amana.infra.sql import load_queries

SQL = load_queries("amana.eligibility", "reversals.sql")

_undo = msgspec.json.Decoder(UndoTerms)


async def insert_reversal(connection: Connection, review: Review, undo: UndoTerms) -> None:
    """Begins the saga of a review that reversed a decision with offers."""
    document = msgspec.json.encode(undo, order="deterministic")
    key = review.tenant, review.review_id
    await connection.execute(SQL["insert_reversal"], *key, review.decision_id, document, review.reviewed_at)
    await connection.execute(SQL["insert_steps"], *key, review.offers)


async def claim_due(connection: Connection, limit: int, lease_s: int) -> list[Key]:
    """Takes at most `limit` reversals that are due, for `lease_s`."""
    rows = await connection.fetch(SQL["claim_due"], limit, lease_s)
    return [(row["tenant"], row["reversal_id"]) for row in rows]


async def find_reversal(connection: Connection, tenant: int, reversal_id: UUID) -> Saga | None:
    """One reversal by its id; None also where it had nothing to undo."""
    row = await connection.fetchrow(SQL["find_reversal"], tenant, reversal_id)
    return None if row is None else (await _with_steps(connection, tenant, [row]))[0]


async def find_reversal_of(connection: Connection, tenant: int, decision_id: UUID) -> Saga | None:
    """The reversal of a decision; None also where it had nothing to undo."""
    row = await connection.fetchrow(SQL["find_reversal_of"], tenant, decision_id)
    return None if row is None else (await _with_steps(connection, tenant, [row]))[0]


async def list_reversals(connection: Connection, tenant: int, state: SagaState, after: UUID, limit: int) -> list[Saga]:
    """Reversals in one state, oldest first, from after the one named."""
    rows = await connection.fetch(SQL["list_reversals"], tenant, state, after, limit)
    return await _with_steps(connection, tenant, rows)


async def change_step(connection: Connection, saga: Saga, before: Step, step: Step) -> None:
    """Moves a step on from where it was; one that is there no more was moved on by somebody else, and stays."""
    await connection.execute(
        SQL["change_step"],
        saga.tenant,
        saga.reversal_id,
        before.offer,
        before.state,
        before.refusals,
        step.state,
        step.loan,
        step.kept_because,
        step.stuck_because,
        step.refusals,
    )


async def set_state(
    connection: Connection, saga: Saga, state: SagaState, pause_s: float = 0.0, over: tuple[datetime, int] | None = None
) -> None:
    """How a reversal goes on, and when; `over` is the instant and version of the decision where it is."""
    key = saga.tenant, saga.reversal_id
    await connection.execute(SQL["set_state"], *key, state, pause_s, *(over or (None, None)))


async def postpone(connection: Connection, saga: Saga, pause_s: float) -> None:
    """The ledger could not be asked: it is due again after a pause."""
    await connection.execute(SQL["postpone"], saga.tenant, saga.reversal_id, pause_s)


async def stick_steps(connection: Connection, saga: Saga, reason: str) -> None:
    """Stops every step that goes on."""
    await connection.execute(SQL["stick_steps"], saga.tenant, saga.reversal_id, reason)


async def help_on(connection: Connection, tenant: int, reversal_id: UUID, change: Callable[[Step], Step]) -> None:
    """Changes the steps of a locked reversal that are not over, and has it go on at once."""
    saga = await find_reversal(connection, tenant, reversal_id)
    assert saga is not None, "a reversal is never deleted"
    for step in saga.steps:
        if step.state not in ENDS:
            await connection.execute(SQL["set_step"], tenant, reversal_id, step.offer, change(step).state)
    await set_state(connection, saga, SagaState.RUNNING)


async def move_version(connection: Connection, saga: Saga, standing: Standing) -> int:
    """The decision's next version, with its standing: of an event that is no review. Its row is locked."""
    return int(await connection.fetchval(SQL["move_version"], saga.tenant, saga.decision_id, standing))


async def read_clock(connection: Connection) -> datetime:
    """The database's clock."""
    now: datetime = await connection.fetchval(SQL["read_clock"])
    return now


async def _with_steps(connection: Connection, tenant: int, rows: Sequence[Record]) -> list[Saga]:
    ids = [row["reversal_id"] for row in rows]
    steps = await connection.fetch(SQL["list_steps"], tenant, ids) if ids else []
    return [_saga(row, [step for step in steps if step["reversal_id"] == row["reversal_id"]]) for row in rows]


def _saga(row: Record, steps: Sequence[Record]) -> Saga:
    return Saga(
        tenant=row["tenant"],
        reversal_id=row["reversal_id"],
        decision_id=row["decision_id"],
        customer=row["customer"],
        product=row["product"],
        currency=Currency(row["currency"]),
        state=SagaState(row["state"]),
        undo=_undo.decode(row["undo"]),
        attempts=row["attempts"],
        begun_at=row["begun_at"],
        over_at=row["over_at"],
        age=row["age"],
        steps=tuple(_step(step) for step in steps),
    )


def _step(row: Record) -> Step:
    return Step(
        offer=row["offer"],
        state=StepState(row["state"]),
        loan=row["loan"],
        kept_because=None if row["kept_because"] is None else Kept(row["kept_because"]),
        stuck_because=row["stuck_because"],
        refusals=row["refusals"],
    )
