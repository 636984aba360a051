"""Whatever races, two processes on one database give the same results as one."""

import asyncio
from collections import Counter
from typing import Any
from uuid import uuid4

import pytest
from tests.chaos.site import Ledger, Lender, Site, money

CALLERS = 64
RACERS = 32
LIMIT = 1_000
STEP = 33
Results = list[tuple[int, dict[str, Any]]]


@pytest.fixture(params=[1, 2], ids=["one process", "two processes"])
async def ledgers(site: Site, request: pytest.FixtureRequest) -> list[Ledger]:
    """One of which, or each in turn, is called."""
    return await site.serving(request.param)


async def at_once(owner: Lender, ledgers: list[Ledger], path: str, bodies: list[dict[str, Any]]) -> Results:
    """All at the same time, in turn to each process."""
    return await asyncio.gather(
        *(owner.post(ledgers[number % len(ledgers)], path, body) for number, body in enumerate(bodies))
    )


def outcomes(results: Results) -> Counter[str]:
    """How often each status or reason was answered for the one item of each request."""
    found: Counter[str] = Counter()
    for status, answer in results:
        assert status == 200, answer
        [result] = answer["results"]
        found[result["reason"] or ("replayed" if result["replayed"] else result["status"])] += 1
    return found


async def test_one_id_raced_by_many_has_one_effect(owner: Lender, ledgers: list[Ledger]) -> None:
    till, income = await owner.account(ledgers[0]), await owner.account(ledgers[0])
    body = {"transfers": [money(till, income, 7)]}
    assert outcomes(await at_once(owner, ledgers, "/v1/transfers", [body] * RACERS)) == {
        "posted": 1,
        "replayed": RACERS - 1,
    }
    assert await owner.balance(ledgers[0], till) == 7


async def test_one_id_with_other_amounts_has_one_effect_and_the_others_are_told(
    owner: Lender, ledgers: list[Ledger]
) -> None:
    till, income = await owner.account(ledgers[0]), await owner.account(ledgers[0])
    item = money(till, income, 1)
    bodies = [{"transfers": [item | {"amount": 1 + number}]} for number in range(RACERS)]
    assert outcomes(await at_once(owner, ledgers, "/v1/transfers", bodies)) == {
        "posted": 1,
        "id_conflict": RACERS - 1,
    }


@pytest.mark.parametrize("kind", ["post", "hold"])
async def test_a_limit_raced_by_many_is_never_broken_by_one_kobo(
    owner: Lender, ledgers: list[Ledger], kind: str
) -> None:
    card, income = await owner.account(ledgers[0], credit_limit=LIMIT), await owner.account(ledgers[0])
    bodies = [{"transfers": [money(card, income, STEP, kind=kind)]} for _ in range(CALLERS)]
    found = outcomes(await at_once(owner, ledgers, "/v1/transfers", bodies))
    fitting = LIMIT // STEP
    assert found == {"posted" if kind == "post" else "held": fitting, "limit_exceeded": CALLERS - fitting}
    assert (await owner.get(ledgers[0], f"/v1/accounts/{card}"))["headroom"] == LIMIT - fitting * STEP


async def test_opposite_transfers_in_opposite_order_all_go_through(
    site: Site, owner: Lender, ledgers: list[Ledger]
) -> None:
    ring = [await owner.account(ledgers[0]) for _ in range(5)]
    pairs = list(zip(ring, ring[1:] + ring[:1], strict=True))
    before = await deadlocks(site)
    lists = []
    for number in range(CALLERS):
        forth = [money(debit, credit, 5) for debit, credit in pairs]
        back = [money(credit, debit, 5) for debit, credit in reversed(pairs)]
        lists.append({"transfers": _linked(forth if number % 4 < 2 else back)})
    for status, answer in await at_once(owner, ledgers, "/v1/transfers", lists):
        assert status == 200, answer
        assert {result["status"] for result in answer["results"]} == {"posted"}
    assert [await owner.balance(ledgers[0], account) for account in ring] == [0] * len(ring)
    assert await deadlocks(site) == before


@pytest.mark.parametrize(
    ("route", "refusal"), [("captures", (409, "hold_captured")), ("reversals", (422, "exceeds_original"))]
)
async def test_what_is_captured_or_reversed_twice_at_once_moves_once(
    owner: Lender, ledgers: list[Ledger], route: str, refusal: tuple[int, str]
) -> None:
    till, income = await owner.account(ledgers[0]), await owner.account(ledgers[0])
    kind = "hold" if route == "captures" else "post"
    _, original = await owner.transfer(ledgers[0], **money(till, income, 50, kind=kind))
    bodies = [{"id": uuid4()} for _ in range(RACERS)]
    answers = await at_once(owner, ledgers, f"/v1/transfers/{original['id']}/{route}", bodies)
    assert Counter((status, answer.get("code", "posted")) for status, answer in answers) == {
        (201, "posted"): 1,
        refusal: RACERS - 1,
    }
    assert await owner.balance(ledgers[0], till) == (50 if route == "captures" else 0)


def _linked(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [*(item | {"linked": True} for item in items[:-1]), items[-1]]


async def deadlocks(site: Site) -> int:
    """How many PostgreSQL has seen."""
    async with site.database() as connection:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        found: int = await connection.fetchval(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
    return found
