"""What identifies a customer is sealed in its place: moved or changed it is an error, and without keys it is a 503."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from tests.eligibility.conftest import RECORD, Lender
from tests.eligibility.standings_server import StandingsServer, served

from amana.eligibility.app import build
from amana.infra.http import HttpClient
from amana.infra.settings import Settings

IDENTITY = {"bvn": "22212345678", "nin": "70123456789", "bank_code": "011", "nuban": "0000014579"}


@asynccontextmanager
async def service(lender: Lender, settings: Settings, http: HttpClient) -> AsyncIterator[Lender]:
    """The same lender at a process of its own, with nothing in memory."""
    async with served(build(settings)) as url:
        yield Lender(http, url, lender.tenant, lender.key, lender.internal_key, lender.second_key)


async def read(lender: Lender, customer: str) -> tuple[int, str]:
    status, answer = await lender.send("GET", f"/v1/customers/{customer}")
    return status, answer.get("code", "")


@pytest.mark.parametrize("column", ["birth_sealed", "identity_sealed"])
async def test_what_was_sealed_of_one_customer_does_not_open_for_another(
    lender: Lender, ledger: StandingsServer, database: "asyncpg.Connection[asyncpg.Record]", column: str
) -> None:
    ada, obi = await lender.customer(**IDENTITY), await lender.customer(**IDENTITY | {"bvn": "22200000001"})
    await database.execute(
        f"UPDATE customers SET {column} = (SELECT {column} FROM customers WHERE customer = $1) WHERE customer = $2",
        UUID(ada), UUID(obi),
    )  # fmt: skip
    assert await read(lender, obi) == (500, "internal")
    assert (await read(lender, ada))[0] == 200


async def test_what_was_sealed_as_one_thing_does_not_open_as_another(
    lender: Lender, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    ada = await lender.customer(**IDENTITY)
    await database.execute("UPDATE customers SET birth_sealed = identity_sealed WHERE customer = $1", UUID(ada))
    assert await read(lender, ada) == (500, "internal")


async def test_without_the_key_file_what_needs_no_key_goes_on(
    lender: Lender,
    ledger: StandingsServer,
    service_settings: Settings,
    http: HttpClient,
    tmp_path: Path,
) -> None:
    ada, unborn = await lender.customer(**IDENTITY), await lender.customer(birth_date=None)
    path = tmp_path / "keys.json"
    lost = msgspec.structs.replace(service_settings, privacy_key_file=str(path))
    async with service(lender, lost, http) as elsewhere:
        assert await read(elsewhere, ada) == (503, "unavailable")
        assert (await elsewhere.send("PUT", f"/v1/customers/{uuid4()}", RECORD))[0] == 503
        assert (await elsewhere.ask(ada, id=str(uuid4())))[0] == 503
        assert (await elsewhere.ask(unborn, id=str(uuid4())))[0] == 200
        decided = (await lender.check(ada, id=str(uuid4())))["decision_id"]
        assert (await elsewhere.send("GET", f"/v1/decisions/{decided}"))[0] == 200
        cached = await lender.check(ada)
        assert (await elsewhere.check(ada))["decision_id"] == cached["decision_id"]
        shutil.copy(service_settings.privacy_key_file, path)
        assert (await read(elsewhere, ada))[0] == 200
        assert (await elsewhere.ask(ada, id=str(uuid4())))[0] == 200


async def test_a_check_opens_the_birth_date_and_nothing_else(
    lender: Lender, ledger: StandingsServer, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    ada = await lender.customer(**IDENTITY)
    await database.execute("UPDATE customers SET identity_sealed = 'broken' WHERE customer = $1", UUID(ada))
    decided = await lender.check(ada, id=str(uuid4()))
    facts = (await lender.send("GET", f"/v1/decisions/{decided['decision_id']}"))[1]["facts"]
    told = {fact["name"]: fact["value"] for fact in facts}
    assert (told["bvn_known"], told["nin_known"], told["bank_known"]) == (True, True, True)
    assert told["age_years"] >= 35


async def test_the_table_refuses_what_is_in_clear(
    lender: Lender, eligibility: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    ada = await lender.customer()
    for column, value in (("bvn", "'22212345678'"), ("phone", "'+2348031234567'"), ("birth_date", "now()")):
        with pytest.raises(asyncpg.CheckViolationError, match="customers_hold_no_clear_text"):
            await eligibility.execute(f"UPDATE customers SET {column} = {value} WHERE customer = $1", UUID(ada))
