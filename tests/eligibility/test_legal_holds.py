"""Legal holds on customers: nothing of them is destroyed while one stands, whatever was planned and whoever dies."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from tests.eligibility.conftest import Lender
from tests.eligibility.test_erasure import IDENTITY, code, come_due, erase, events

from amana.eligibility.erasing import Eraser, advance, remind
from amana.eligibility.flow import Flow
from amana.eligibility.jobs import erase_due
from amana.eligibility.legal_holds import tell_untold
from amana.gateway.provision import create_key
from amana.infra.settings import Settings
from amana.vault import legal_holds
from amana.vault.legal_holds import Telling
from amana.vault.vault import Vault

AT_ONCE = timedelta(0)


async def place(lender: Lender, customer: str, **changes: object) -> tuple[int, Any]:
    body = {"id": str(uuid4()), "reason": "dispute", "by": "ada"} | changes
    return await lender.send("POST", f"/v1/customers/{customer}/legal-holds", body)


async def release(lender: Lender, customer: str, hold: str, **changes: object) -> tuple[int, Any]:
    body = {"reason": "matter_closed", "by": "obi"} | changes
    return await lender.send("POST", f"/v1/customers/{customer}/legal-holds/{hold}/releases", body)


async def listed(lender: Lender, query: str = "") -> list[Any]:
    status, answer = await lender.send("GET", f"/v1/legal-holds{query}")
    assert status == 200, answer
    return list(answer["legal_holds"])


async def state(lender: Lender, customer: str) -> tuple[str, bool]:
    _, answer = await lender.send("GET", f"/v1/customers/{customer}/erasures")
    return answer["state"], answer["held"]


async def test_a_held_customer_is_restricted_and_erased_once_the_hold_is_released(
    lender: Lender, database: Any, flow: Flow, vault: Vault
) -> None:
    ada = await lender.customer(**IDENTITY)
    status, hold = await place(lender, ada)
    assert (status, hold["reason"], hold["placed_for"], hold["released_at"]) == (200, "dispute", "ada", None)
    status, asked = await erase(lender, ada)
    assert (status, asked["state"], asked["held"]) == (200, "restricted", True)
    assert asked["due_at"] is not None
    await come_due(database, ada)
    await erase_due(Eraser(flow, AT_ONCE))
    assert await state(lender, ada) == ("restricted", True)
    assert (await lender.send("GET", f"/v1/customers/{ada}"))[1]["nuban"] == IDENTITY["nuban"]
    assert (await vault.keys([(lender.tenant, UUID(ada))]))[lender.tenant, UUID(ada)] is not None
    _, released = await release(lender, ada, hold["id"])
    assert (released["release_reason"], released["released_for"]) == ("matter_closed", "obi")
    await erase_due(Eraser(flow, AT_ONCE))
    assert await state(lender, ada) == ("erased", False)
    row = await database.fetchrow("SELECT * FROM customers WHERE customer = $1", UUID(ada))
    assert (row["processing"], row["identity_sealed"]) == ("erased", None)


async def test_each_step_is_an_event_of_who_did_it_and_why(lender: Lender, database: Any) -> None:
    ada = await lender.customer()
    _, hold = await place(lender, ada, reason="court_order")
    for _ in range(2):
        await release(lender, ada, hold["id"], reason="order_lifted")
    names = {"customer": ada, "legal_hold": hold["id"]}
    assert (await events(database, ada))[1:] == [
        ("LegalHoldPlaced", names | {"reason": "court_order", "placed_for": "ada"}),
        ("LegalHoldReleased", names | {"reason": "order_lifted", "released_for": "obi"}),
    ]
    bodies = await database.fetch("SELECT body FROM outbox WHERE aggregate_id = $1 ORDER BY seq", UUID(hold["id"]))
    told = [msgspec.json.decode(row["body"]) for row in bodies]
    assert [each["actor"] for each in told] == [hold["placed_by"]] * 2
    assert [each["aggregate"]["version"] for each in told] == [1, 2]


async def test_a_destruction_that_was_planned_before_waits_for_the_release(
    lender: Lender, good: str, database: Any, flow: Flow
) -> None:
    await lender.check(good, id=str(uuid4()))
    assert (await erase(lender, good))[1]["held"] is False
    _, hold = await place(lender, good)
    await come_due(database, good)
    await erase_due(Eraser(flow, AT_ONCE))
    assert await state(lender, good) == ("restricted", True)
    looked_again = "SELECT next_at > clock_timestamp() + interval '23 hours' FROM erasures WHERE customer = $1"
    assert await database.fetchval(looked_again, UUID(good))
    await release(lender, good, hold["id"])
    await erase_due(Eraser(flow, AT_ONCE))
    assert await state(lender, good) == ("erased", False)


async def test_every_hold_has_to_be_released(lender: Lender, database: Any, flow: Flow) -> None:
    ada = await lender.customer()
    held = [(await place(lender, ada, reason=reason))[1]["id"] for reason in ("dispute", "regulator")]
    await erase(lender, ada)
    for hold, left in zip(held, (("restricted", True), ("erased", False)), strict=True):
        await release(lender, ada, hold)
        await erase_due(Eraser(flow, AT_ONCE))
        assert await state(lender, ada) == left


async def test_a_process_that_died_after_placing_leaves_a_hold_that_binds_and_is_told_once(
    lender: Lender, database: Any, flow: Flow, vault: Vault
) -> None:
    ada, id_ = await lender.customer(), uuid4()
    where = lender.tenant, UUID(ada)
    await legal_holds.place(vault, where, id_, "dispute", "a-key", "ada", Telling(uuid4(), 0))  # and then it was killed
    assert (await erase(lender, ada))[1]["held"] is True
    await tell_untold(flow)
    assert [type_ for type_, _ in await events(database, ada)].count("LegalHoldPlaced") == 1
    _, again = await place(lender, ada, id=str(id_))
    assert again["replayed"]


async def test_killed_between_the_event_and_the_note_of_it_nothing_is_told_twice(
    lender: Lender, database: Any, flow: Flow, owner_of_keys: Any
) -> None:
    ada = await lender.customer()
    _, hold = await place(lender, ada)
    await release(lender, ada, hold["id"])
    forget = "UPDATE legal_holds SET told = 1 WHERE hold_id = $1"
    await owner_of_keys.execute(forget, UUID(hold["id"]))
    await asyncio.gather(*(tell_untold(flow) for _ in range(3)))
    types = [type_ for type_, _ in await events(database, ada)]
    assert types.count("LegalHoldReleased") == 1
    assert await owner_of_keys.fetchval("SELECT told FROM legal_holds WHERE hold_id = $1", UUID(hold["id"])) == 2


async def test_killed_after_a_release_the_customer_is_erased_all_the_same(
    lender: Lender, database: Any, flow: Flow, vault: Vault
) -> None:
    ada = await lender.customer()
    _, hold = await place(lender, ada)
    await erase(lender, ada)
    await legal_holds.release(
        vault, lender.tenant, UUID(hold["id"]), "matter_closed", "a-key", "obi", Telling(uuid4(), 0)
    )
    await tell_untold(flow)
    await erase_due(Eraser(flow, AT_ONCE))
    assert await state(lender, ada) == ("erased", False)


async def test_a_hold_and_a_destruction_at_once_take_turns(lender: Lender, flow: Flow, vault: Vault) -> None:
    for _ in range(5):
        ada = await lender.customer()
        where = lender.tenant, UUID(ada)
        (status, answer), _ = await asyncio.gather(place(lender, ada), vault.destroy(*where))
        vault.forget(where)
        key = (await vault.keys([where]))[where]
        assert (status == 200) == (key is not None), "either it is held or it is gone"
        assert status == 200 or answer["code"] == "customer_erased"


async def test_a_hold_survives_a_restart_and_a_restore_of_the_main_database(
    lender: Lender, database: Any, flow: Flow
) -> None:
    ada = await lender.customer(**IDENTITY)
    await place(lender, ada)
    await erase(lender, ada)
    await database.execute("DELETE FROM erasures WHERE customer = $1", UUID(ada))
    await database.execute("UPDATE customers SET processing = 'open' WHERE customer = $1", UUID(ada))
    assert await remind(flow) == 1
    await advance(Eraser(flow, AT_ONCE), (lender.tenant, UUID(ada)))
    assert await state(lender, ada) == ("restricted", True)


async def test_while_everything_is_held_nobody_is_destroyed(
    lender: Lender, database: Any, flow: Flow, settings: Settings
) -> None:
    ada = await lender.customer()
    vault = Vault.of(msgspec.structs.replace(settings, legal_hold="suit FHC/L/CS/12/2031"))
    assert await vault.destroy(lender.tenant, UUID(ada)) is False
    assert await vault.is_held(lender.tenant, UUID(ada))
    await vault.close()
    assert (await erase(lender, ada))[1]["state"] == "erased"


async def test_a_copy_for_the_customer_goes_on_and_does_not_tell_of_the_hold(lender: Lender) -> None:
    ada = await lender.customer()
    await place(lender, ada, reason="investigation")
    await erase(lender, ada)
    status, copy = await lender.send("GET", f"/v1/customers/{ada}/export")
    assert (status, copy["erasure"]["state"], copy["erasure"]["held"]) == (200, "restricted", None)
    assert "investigation" not in msgspec.json.encode(copy).decode()


async def test_a_held_customer_borrows_as_before(lender: Lender, good: str) -> None:
    await place(lender, good)
    assert (await lender.check(good, id=str(uuid4())))["outcome"] == "approve"


async def test_the_same_id_again_is_the_same_hold(lender: Lender) -> None:
    ada, id_ = await lender.customer(), str(uuid4())
    _, first = await place(lender, ada, id=id_)
    assert await place(lender, ada, id=id_) == (200, first | {"replayed": True})
    for field, value in (("reason", "regulator"), ("by", "obi")):
        status, other = await place(lender, ada, **{"id": id_, field: value})
        assert (status, other["code"], other["figures"]) == (409, "id_conflict", {"field": field})
    obi = await lender.customer()
    assert (await place(lender, obi, id=id_))[1]["figures"] == {"field": "customer"}
    assert await listed(lender, f"?customer={obi}") == []
    _, released = await release(lender, ada, id_)
    assert await release(lender, ada, id_) == (200, released | {"replayed": True})
    assert (await release(lender, ada, id_, by="ada"))[1]["figures"] == {"field": "by"}
    assert (await place(lender, ada, id=id_))[1]["released_at"] == released["released_at"]


async def test_holds_are_listed_that_stand_or_all(lender: Lender) -> None:
    ada, obi = await lender.customer(), await lender.customer()
    held = {customer: (await place(lender, customer))[1]["id"] for customer in (ada, obi)}
    await release(lender, ada, held[ada])
    assert [hold["id"] for hold in await listed(lender)] == [held[obi]]
    assert [hold["id"] for hold in await listed(lender, "?released=true")] == sorted(held.values())
    assert [hold["id"] for hold in await listed(lender, f"?released=true&customer={ada}")] == [held[ada]]
    _, page = await lender.send("GET", "/v1/legal-holds?released=true&limit=1")
    assert page["next"] == sorted(held.values())[0]
    assert [hold["id"] for hold in await listed(lender, f"?released=true&after={page['next']}")] == [
        sorted(held.values())[1]
    ]


async def test_who_is_not_there_or_erased_is_not_held(
    lender: Lender, settings: Settings, new_lender: Callable[..., Any]
) -> None:
    ada = await lender.customer()
    _, hold = await place(lender, ada)
    other = await new_lender()
    assert (await place(other, ada))[1]["code"] == "customer_not_found"
    assert (await release(other, ada, hold["id"]))[1]["code"] == "not_found"
    assert (await release(lender, await lender.customer(), hold["id"]))[1]["code"] == "not_found"
    obi = await lender.customer()
    await erase(lender, obi)
    assert (await place(lender, obi))[1]["code"] == "customer_erased"
    clerk = await create_key(settings.owner_database_url, lender.tenant, ["privacy:read", "privacy:write"])
    body = {"id": str(uuid4()), "reason": "dispute", "by": "ada"}
    path = f"/v1/customers/{ada}/legal-holds"
    assert await code(lender, "POST", path, body, clerk) == "scope_missing"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"id": "x"}, "/id"),
        ({"reason": "Ada Obi sued us"}, "/reason"),
        ({"reason": 1}, "/reason"),
        ({"by": ""}, "/by"),
        ({"by": "ada\n"}, "/by"),
        ({"by": "Ada and friends"}, "/by"),
        ({"by": "a" * 65}, "/by"),
        ({"by": None}, "/by"),
        ({"note": ""}, "/note"),
    ],
)
async def test_what_can_not_be_is_named_and_holds_nobody(
    lender: Lender, changes: dict[str, object], pointer: str
) -> None:
    ada = await lender.customer()
    status, answer = await place(lender, ada, **changes)
    assert (status, answer["errors"][0]["pointer"]) == (400, pointer)
    assert await listed(lender) == []
