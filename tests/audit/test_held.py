"""What concerns a customer under a legal hold stays in the audit log, and with it all that came after."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from tests.audit.logs import STREAM, Log, body
from tests.audit.test_retaining import NOW, command, drop, indexed, lowest, told_of
from tests.audit.test_service import until

from amana.audit import retaining
from amana.audit.announcing import HeldBack
from amana.audit.flow import receive
from amana.audit.retaining import Bodies, drop_bodies, plan_bodies
from amana.domain.account import wallet_account_id
from amana.infra.settings import Settings
from amana.vault import legal_holds
from amana.vault.legal_holds import Telling
from amana.vault.vault import Vault

TENANT = 1


class Holds:
    """Places and releases holds on customers of the log's tenant."""

    def __init__(self, settings: Settings) -> None:
        self.vault = Vault(settings.owner_keys_database_url, "")
        self.standing: list[UUID] = []

    async def place(self, customer: UUID) -> UUID:
        id_ = uuid4()
        await legal_holds.place(self.vault, (TENANT, customer), id_, "dispute", "key", "ada", Telling(uuid4(), 0))
        self.standing.append(id_)
        return id_

    async def release(self, id_: UUID) -> None:
        for step in (1, 2):
            found = await legal_holds.find(self.vault, TENANT, id_)
            assert found is not None and found.steps == step
            await legal_holds.note_told(self.vault, found)
            await legal_holds.release(self.vault, TENANT, id_, "matter_closed", "key", "ada", Telling(uuid4(), 0))
        self.standing.remove(id_)


@pytest.fixture
async def holds(log: Log) -> AsyncIterator[Holds]:
    made = Holds(log.settings)
    yield made
    for id_ in list(made.standing):
        await made.release(id_)
    await made.vault.close()


async def with_leaf(log: Log, position: int, data: dict[str, object]) -> None:
    """Six hundred sealed leaves of 2026, one of which says something else."""
    event = msgspec.json.decode(body(position))
    event["data"] = data
    bodies = {at: body(at) for at in range(600)} | {position: msgspec.json.encode(event, order="sorted")}
    await receive(log.store, STREAM, sorted(bodies.items()))
    await log.new_sealer().seal()
    await indexed(log)


@pytest.mark.parametrize("field", ["customer", "owner", "customers", "debit"])
async def test_what_concerns_a_held_customer_stays_and_all_that_follows(log: Log, holds: Holds, field: str) -> None:
    ada = uuid4()
    said: dict[str, object] = {
        "customer": str(ada),
        "owner": str(ada),
        "customers": [str(uuid4()), str(ada)],
        "debit": {"account": str(wallet_account_id(ada, "NGN"))},
    }
    await with_leaf(log, 300, {field: said[field]})
    hold = await holds.place(ada)
    assert Bodies(STREAM, 0, 256) in await plan_bodies(log.settings, NOW)
    assert await drop(log) == Bodies(STREAM, 256, 256)
    assert await lowest(log) == 256
    await holds.release(hold)
    assert await drop(log) == Bodies(STREAM, 512, 512)
    assert (await log.verify()).ok


async def test_a_hold_on_somebody_else_keeps_nothing(log: Log, holds: Holds) -> None:
    ada = uuid4()
    await with_leaf(log, 300, {"customer": str(ada)})
    await holds.place(uuid4())
    id_, other = uuid4(), (TENANT + 1, ada)
    await legal_holds.place(holds.vault, other, id_, "dispute", "key", "ada", Telling(uuid4(), 0))
    assert await drop(log) == Bodies(STREAM, 512, 512)


async def test_who_is_held_while_bodies_go_keeps_what_is_left(
    log: Log, holds: Holds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retaining, "BATCH_LEAVES", 256)
    ada = uuid4()
    await with_leaf(log, 300, {"customer": str(ada)})
    other = await asyncpg.connect(log.settings.owner_audit_database_url)
    await other.execute("BEGIN")
    await other.execute("SELECT FROM audit.leaves WHERE stream = $1 AND position = 100 FOR UPDATE", STREAM)
    dropping = asyncio.create_task(drop(log))

    async def waits_for_the_row() -> bool:
        stuck = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return await log.owner.fetchval(stuck) is not None

    await until(waits_for_the_row)
    hold = await holds.place(ada)
    await other.close()
    assert await dropping == Bodies(STREAM, 256, 256)
    report = await log.verify()
    assert report.ok and "bodies below 256 " in told_of(report)
    assert await drop(log) == Bodies(STREAM, 256, 256), "what was announced does not go while the hold stands"
    await holds.release(hold)
    assert await drop(log) == Bodies(STREAM, 512, 512)
    assert (await log.verify()).ok


async def test_where_nobody_can_say_who_is_held_nothing_goes(log: Log) -> None:
    await log.sealed(600)
    await indexed(log)
    alone = msgspec.structs.replace(log.settings, owner_keys_database_url="")
    with pytest.raises(HeldBack, match="AMANA_OWNER_KEYS_DATABASE_URL"):
        await drop_bodies(alone, NOW, "ada")
    looked = await command(log, "retention", AMANA_OWNER_KEYS_DATABASE_URL="")
    assert looked.exit_code == 0
    assert "which bodies may go is not known" in looked.output and "who read" not in looked.output
    assert await lowest(log) == 0
