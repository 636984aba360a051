"""The validator: what a cached answer got wrong is found from the source, told by its cause, and healed."""

import asyncio
from typing import cast
from uuid import UUID

import pytest
from tests.eligibility.conftest import RECORD, Lender
from tests.eligibility.standings_server import StandingsServer

from amana.eligibility import validator
from amana.eligibility.flow import Flow
from amana.eligibility.memory import Memory
from amana.infra.postgres import DatabaseUnavailable

HEARD_WITHIN_S = 10.0
OLD_ENOUGH_S = validator.YOUNGEST.total_seconds() + 0.05


async def validated(lender: Lender) -> dict[str, int]:
    await asyncio.sleep(OLD_ENOUGH_S)
    status, answer = await lender.internally("POST", "/v1/cache-validations", {"sample": 200})
    assert status == 200 and answer["looked_at"] >= 1
    divergent: dict[str, int] = answer["divergent"]
    return divergent


async def test_what_the_source_still_says_is_left_alone(lender: Lender, good: str) -> None:
    await lender.check(good)
    assert await validated(lender) == {}
    assert (await lender.check(good))["source"] == "memory"


async def test_a_loan_that_nobody_told_of_is_found_and_the_next_answer_is_true(
    lender: Lender, good: str, ledger: StandingsServer
) -> None:
    before = await lender.check(good)
    ledger.known[lender.tenant, UUID(good)] = {"exposure": 700_000, "loans_open": 1}
    assert (await lender.check(good))["outcome"] == before["outcome"] == "approve"  # stale
    assert await validated(lender) == {"exposure": 1}
    after = await lender.check(good)
    assert (after["source"], after["outcome"], after["exposure"]) == ("fresh", "decline", 700_000)


async def test_a_record_that_changed_without_a_word_is_a_difference_of_facts(
    lender: Lender, good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lender.check(good)
    told: list[object] = []
    heard = asyncio.Event()

    def forget(*whom: object) -> None:
        told.append(whom)
        if len(told) == 2:  # by who changes the record, and by the channel, which comes later
            heard.set()

    with monkeypatch.context() as patch:
        patch.setattr(Memory, "forget", forget)
        await lender.send("PUT", f"/v1/customers/{good}", RECORD | {"monthly_income": 20_000_000})
        await asyncio.wait_for(heard.wait(), HEARD_WITHIN_S)
    assert (await lender.check(good))["source"] == "memory"
    assert await validated(lender) == {"facts": 1}
    assert (await lender.check(good))["source"] == "fresh"


async def test_an_answer_that_is_younger_than_a_change_may_travel_is_not_judged(
    lender: Lender, good: str, ledger: StandingsServer
) -> None:
    await lender.check(good)
    ledger.known[lender.tenant, UUID(good)] = {"exposure": 700_000}
    _, answer = await lender.internally("POST", "/v1/cache-validations", {"sample": 200})
    assert answer["divergent"] == {}


async def test_without_the_ledger_nothing_is_said(lender: Lender, good: str, ledger: StandingsServer) -> None:
    await lender.check(good)
    await asyncio.sleep(OLD_ENOUGH_S)
    ledger.down = True
    try:
        status, _ = await lender.internally("POST", "/v1/cache-validations", {})
    finally:
        ledger.down = False
    assert status == 503


async def test_it_looks_by_itself_again_and_again_and_goes_on_after_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validator, "EVERY_S", 0.01)
    looked: list[int] = []

    async def look(_flow: object, count: int) -> validator.Validated:
        looked.append(count)
        if len(looked) == 2:
            raise DatabaseUnavailable("away")
        if len(looked) == 3:
            raise AssertionError("a bug")
        return validator.Validated(count, {})

    monkeypatch.setattr(validator, "validate", look)
    running = asyncio.create_task(validator.validate_forever(cast(Flow, None), 7))
    async with asyncio.timeout(30):
        while len(looked) < 5:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    running.cancel()
    assert set(looked) == {7}
