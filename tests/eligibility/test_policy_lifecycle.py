"""A policy's life over HTTP: two keys for every version, starts by the clock, one winner of every race, all told."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from tests.eligibility.conftest import Lender
from tests.eligibility.test_policies_published import nano

from amana.eligibility import policy_store as store
from amana.eligibility.lifecycle import tell_starts
from amana.eligibility.policies import Policies
from amana.gateway.provision import create_key
from amana.infra.postgres import open_pool, reading
from amana.infra.settings import Settings

SOON = timedelta(seconds=1)
HOUR = timedelta(hours=1)


async def draft(lender: Lender, **changes: object) -> Any:
    """A draft of the shipped nano policy with changes."""
    status, answer = await lender.send("POST", "/v1/policies", {"id": uuid4(), "document": nano(**changes)})
    assert (status, answer["state"]) == (200, "validated"), answer
    return answer


async def withdraw(lender: Lender, version: int, id_: object = None) -> tuple[int, Any]:
    return await lender.send("POST", f"/v1/policies/nano/versions/{version}/withdrawals", {"id": id_ or uuid4()})


async def versions(lender: Lender) -> list[Any]:
    """The versions of nano, the oldest first."""
    listed: list[Any] = (await lender.send("GET", "/v1/policies/nano/versions"))[1]["versions"]
    return listed[::-1]


async def states(lender: Lender) -> list[str]:
    return [version["state"] for version in await versions(lender)]


async def events(database: Any, tenant: int) -> list[Any]:
    """Of the tenant's policies, in their order: (type, version, data)."""
    rows = await database.fetch(
        "SELECT body FROM outbox WHERE tenant = $1 AND type LIKE 'Policy%' ORDER BY seq", tenant
    )
    bodies = [json.loads(row["body"]) for row in rows]
    assert [body["aggregate"]["version"] for body in bodies] == [*range(1, len(bodies) + 1)]
    return [(body["type"], body["data"]["policy_version"], body["data"]) for body in bodies]


def in_(span: timedelta) -> str:
    return (datetime.now(UTC) + span).isoformat()


def starts(told: list[Any]) -> list[tuple[int | None, int]]:
    """(replaced, version) of each start that was told."""
    return [(data["replaces"], version) for type_, version, data in told if type_ == "PolicyPublished"]


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Waits for what the clock and the service bring about by themselves."""
    async with asyncio.timeout(30):
        while not await true():  # noqa: ASYNC110 (there is no event: it happens in the database)
            await asyncio.sleep(0.02)


# Steps


async def test_a_draft_decides_nothing_until_another_key_approves_it(lender: Lender, good: str) -> None:
    made = await draft(lender, lending=False)
    assert (made["version"], made["replayed"], made["valid_from"]) == (1, False, None)
    assert (await lender.check(good))["outcome"] == "approve"
    assert await states(lender) == ["validated", "live"]
    status, answer = await lender.approve(made)
    assert (status, answer["state"], answer["version"], answer["hash"]) == (200, "live", 1, made["hash"])
    after = await lender.check(good)
    assert (after["outcome"], after["policy"]["version"]) == ("decline", 1)
    assert await states(lender) == ["live", "retired"]


async def test_the_author_can_not_approve(lender: Lender) -> None:
    made = await draft(lender)
    status, problem = await lender.approve(made, key=lender.key)
    assert (status, problem["code"]) == (422, "approver_is_author")
    assert await states(lender) == ["validated", "live"]


async def test_a_list_of_versions_says_who_did_what_and_when(lender: Lender) -> None:
    await lender.publish(nano())
    await draft(lender, offer_ttl_s=60)
    await withdraw(lender, 2)
    first, second = await versions(lender)
    author, approver = (key.split("_")[1] for key in (lender.key, lender.second_key))
    assert (first["drafted_by"], first["approved_by"], first["withdrawn_by"]) == (author, approver, None)
    assert first["drafted_at"] <= first["approved_at"] <= first["valid_from"]
    assert (second["state"], second["withdrawn_by"], second["approved_by"]) == ("withdrawn", author, None)
    status, page = await lender.send("GET", "/v1/policies/nano/versions?limit=1&before=2")
    assert (status, [version["version"] for version in page["versions"]]) == (200, [1])


async def test_a_draft_can_be_read_by_who_may_only_approve(lender: Lender, settings: Settings) -> None:
    made = await draft(lender, offer_ttl_s=61)
    key = await create_key(settings.owner_database_url, lender.tenant, ["policies:approve"])
    status, view = await lender.send("GET", f"/v1/policies/nano?version={made['version']}", key=key)
    assert (status, view["state"], view["document"]["offer_ttl_s"]) == (200, "validated", 61)
    assert (await lender.approve(made, key=key))[0] == 200
    status, problem = await lender.send("POST", "/v1/policies", {"id": uuid4(), "document": nano()}, key=key)
    assert (status, problem["code"]) == (403, "scope_missing")


async def test_who_may_only_write_does_not_approve(lender: Lender, settings: Settings) -> None:
    key = await create_key(settings.owner_database_url, lender.tenant, ["policies:write"])
    status, problem = await lender.approve(await draft(lender), key=key)
    assert (status, problem["code"]) == (403, "scope_missing")


async def test_a_version_is_approved_once(lender: Lender) -> None:
    made = await draft(lender)
    assert (await lender.approve(made))[0] == 200
    status, problem = await lender.approve(made)
    assert (status, problem["code"]) == (409, "policy_approved")


async def test_what_was_withdrawn_is_neither_approved_nor_withdrawn_again(lender: Lender) -> None:
    made = await draft(lender)
    status, answer = await withdraw(lender, 1)
    assert (status, answer["state"]) == (200, "withdrawn")
    assert [(await lender.approve(made))[1]["code"], (await withdraw(lender, 1))[1]["code"]] == ["policy_withdrawn"] * 2


async def test_what_is_or_was_live_is_not_withdrawn(lender: Lender) -> None:
    for ttl in (60, 61):
        await lender.publish(nano(offer_ttl_s=ttl))
    answers = [await withdraw(lender, version) for version in (1, 2)]
    assert [(status, answer["code"]) for status, answer in answers] == [(409, "policy_started")] * 2


async def test_every_step_is_told_in_its_order(lender: Lender, database: Any) -> None:
    first = await lender.publish(nano())
    await draft(lender, lending=False)
    await withdraw(lender, 2)
    third = await lender.publish(nano(offer_ttl_s=60))
    told = await events(database, lender.tenant)
    assert [(type_, version) for type_, version, _ in told] == [
        ("PolicyDrafted", 1),
        ("PolicyApproved", 1),
        ("PolicyPublished", 1),
        ("PolicyDrafted", 2),
        ("PolicyWithdrawn", 2),
        ("PolicyDrafted", 3),
        ("PolicyApproved", 3),
        ("PolicyPublished", 3),
        ("PolicyRetired", 1),
    ]
    assert told[1][2]["drafted_by"] == lender.key.split("_")[1]
    assert (told[7][2]["replaces"], told[7][2]["hash"]) == (1, third["hash"])
    assert (told[8][2]["replaced_by"], told[8][2]["hash"]) == (3, first["hash"])


# Rolling back


async def test_an_old_hash_is_published_again_as_a_new_version_that_points_at_it(lender: Lender, good: str) -> None:
    first = await lender.publish(nano())
    await lender.publish(nano(lending=False))
    assert (await lender.check(good))["outcome"] == "decline"
    body = {"id": uuid4(), "hash": first["hash"]}
    status, back = await lender.send("POST", "/v1/policies/nano/rollbacks", body)
    assert (status, back["version"], back["restores"], back["state"]) == (200, 3, 1, "validated")
    assert (await lender.approve(back))[0] == 200
    after = await lender.check(good)
    assert (after["outcome"], after["policy"]["version"], after["policy"]["hash"]) == ("approve", 3, first["hash"])
    assert await states(lender) == ["retired", "retired", "live"]
    assert (await lender.send("POST", "/v1/policies/nano/rollbacks", body))[1] == back | {"replayed": True}


async def test_an_old_document_that_is_sent_again_points_at_its_version_too(lender: Lender) -> None:
    await lender.publish(nano())
    await lender.publish(nano(lending=False))
    again = await draft(lender)
    assert (again["version"], again["restores"]) == (3, 1)


@pytest.mark.parametrize("which", ["unknown", "never approved", "of another product"])
async def test_only_what_was_live_is_rolled_back_to(lender: Lender, which: str) -> None:
    made = await draft(lender)
    other = (await lender.send("GET", "/v1/policies/airtime"))[1]
    hash_ = {"unknown": "0" * 64, "never approved": made["hash"], "of another product": other["hash"]}[which]
    status, problem = await lender.send("POST", "/v1/policies/nano/rollbacks", {"id": uuid4(), "hash": hash_})
    assert (status, problem["code"]) == (404, "not_found")


# Starts


async def test_a_scheduled_version_starts_by_the_clock_and_is_told_once(
    lender: Lender, good: str, database: Any, settings: Settings
) -> None:
    await lender.publish(nano())
    made = await draft(lender, lending=False)
    at = in_(SOON)
    status, answer = await lender.approve(made, valid_from=at)
    assert (status, answer["state"]) == (200, "scheduled")
    assert datetime.fromisoformat(answer["valid_from"]) == datetime.fromisoformat(at)
    assert (await lender.check(good, id=uuid4()))["outcome"] == "approve"
    assert await states(lender) == ["live", "scheduled"]
    await asyncio.sleep(SOON.total_seconds())
    assert (await lender.check(good, id=uuid4()))["policy"]["version"] == 2
    assert await states(lender) == ["retired", "live"]
    pool = await open_pool(settings.eligibility_database_url, "eligibility", connections=4)
    try:
        await asyncio.gather(*(tell_starts(pool) for _ in range(4)))
    finally:
        await pool.close()
    told = await events(database, lender.tenant)
    assert starts(told) == [(None, 1), (1, 2)]
    assert told[-1][:2] == ("PolicyRetired", 1)


async def test_the_service_tells_a_start_by_itself(lender: Lender, database: Any) -> None:
    made = await draft(lender)
    await lender.approve(made, valid_from=in_(SOON / 2))
    await until(lambda: _started(database, lender.tenant))


async def _started(database: Any, tenant: int) -> bool:
    return starts(await events(database, tenant)) == [(None, 1)]


async def _declined(lender: Lender, customer: str) -> bool:
    return bool((await lender.check(customer))["outcome"] == "decline")


async def test_the_cached_answer_takes_a_start_up_within_a_second(lender: Lender, good: str) -> None:
    made = await draft(lender, lending=False)
    begins = datetime.now(UTC) + SOON
    await lender.approve(made, valid_from=begins.isoformat())
    await until(lambda: _declined(lender, good))
    assert datetime.now(UTC) - begins < 1.5 * SOON


async def test_a_start_in_the_past_is_now(lender: Lender) -> None:
    made = await draft(lender)
    before = datetime.now(UTC)
    status, answer = await lender.approve(made, valid_from=(before - HOUR).isoformat())
    assert (status, answer["state"]) == (200, "live")
    assert datetime.fromisoformat(answer["valid_from"]) >= before - SOON


async def test_a_scheduled_version_is_withdrawn_and_never_decides(lender: Lender, database: Any) -> None:
    made = await draft(lender)
    assert (await lender.approve(made, valid_from=in_(HOUR)))[1]["state"] == "scheduled"
    assert (await withdraw(lender, made["version"]))[1]["state"] == "withdrawn"
    assert await database.fetchval("SELECT due_at FROM policy_products WHERE tenant = $1", lender.tenant) is None
    assert await states(lender) == ["withdrawn", "live"]


async def test_a_version_that_starts_in_a_moment_is_not_withdrawn(lender: Lender) -> None:
    made = await draft(lender)
    await lender.approve(made, valid_from=in_(2 * SOON))
    status, problem = await withdraw(lender, made["version"])
    assert (status, problem["code"]) == (409, "policy_started")


async def test_of_two_starts_the_later_one_decides_whatever_their_numbers(lender: Lender, database: Any) -> None:
    first, second = await draft(lender, offer_ttl_s=60), await draft(lender, offer_ttl_s=61)
    await lender.approve(first, valid_from=in_(2 * SOON))
    await lender.approve(second, valid_from=in_(SOON))
    await asyncio.sleep(2.1 * SOON.total_seconds())
    assert (await lender.send("GET", "/v1/policies/nano"))[1]["version"] == 1
    await draft(lender)  # the next step tells what nobody has told
    assert starts(await events(database, lender.tenant)) == [(None, 2), (2, 1)]


async def test_of_two_starts_at_once_the_higher_number_decides(lender: Lender) -> None:
    at = in_(SOON)
    for ttl in (60, 61):
        await lender.approve(await draft(lender, offer_ttl_s=ttl), valid_from=at)
    await asyncio.sleep(1.1 * SOON.total_seconds())
    assert (await lender.send("GET", "/v1/policies/nano"))[1]["version"] == 2


# Ids


async def test_the_same_id_gives_the_first_result_again(lender: Lender, database: Any) -> None:
    for send in (
        lambda body: lender.send("POST", "/v1/policies", body | {"document": nano()}),
        lambda body: lender.approve({"product": "nano", "version": 1}, **body),
        lambda body: lender.send("POST", "/v1/policies", body | {"document": nano(offer_ttl_s=60)}),
        lambda body: withdraw(lender, 2, body["id"]),
    ):
        body = {"id": uuid4()}
        answers = [answer for _, answer in await asyncio.gather(*(send(body) for _ in range(5)))]
        assert sum(not answer["replayed"] for answer in answers) == 1, answers
        assert len({json.dumps(answer | {"replayed": True}, sort_keys=True) for answer in answers}) == 1
    types = [type_ for type_, *_ in await events(database, lender.tenant)]
    steps = ["PolicyDrafted", "PolicyApproved", "PolicyPublished", "PolicyDrafted", "PolicyWithdrawn"]
    assert types == steps


async def test_the_first_result_of_an_approval_is_given_even_when_it_is_retired(lender: Lender) -> None:
    made, id_ = await draft(lender), uuid4()
    first = (await lender.approve(made, id=id_))[1]
    await lender.publish(nano(lending=False))
    assert (await lender.approve(made, id=id_))[1] == first | {"replayed": True}


async def test_the_same_id_with_another_field_is_refused_by_name(lender: Lender) -> None:
    drafted, approved, withdrawn = uuid4(), uuid4(), uuid4()
    document = nano()
    await lender.send("POST", "/v1/policies", {"id": drafted, "document": document})
    made = await draft(lender, offer_ttl_s=60)
    await draft(lender, offer_ttl_s=61)
    await lender.approve(made, id=approved, valid_from=in_(HOUR))
    await withdraw(lender, 1, withdrawn)
    third = made | {"version": 3}
    answers = [
        await lender.send("POST", "/v1/policies", {"id": drafted, "document": nano(offer_ttl_s=61)}),
        await lender.send("POST", "/v1/policies", {"id": approved, "document": document}),
        await lender.approve(made, id=approved),
        await lender.approve(third, id=approved),
        await lender.approve(made | {"product": "airtime"}, id=approved),
        await withdraw(lender, 3, withdrawn),
    ]
    told = [(status, answer["code"], answer["errors"][0]["pointer"]) for status, answer in answers]
    assert told == [
        (409, "id_conflict", pointer)
        for pointer in ("/document", "/kind", "/valid_from", "{version}", "{product}", "{version}")
    ]


# Bad input


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("", {"document": {}}, "/id"),
        ("", {"id": "x", "document": {}}, "/document/name"),
        ("", {"id": str(uuid4())}, "/document"),
        ("/nano/versions/1/approvals", {}, "/id"),
        ("/nano/versions/1/approvals", {"id": str(uuid4()), "valid_from": "tomorrow"}, "/valid_from"),
        ("/nano/versions/1/approvals", {"id": str(uuid4()), "valid_from": "2026-12-01T00:00:00"}, "/valid_from"),
        ("/nano/versions/1/approvals", {"id": str(uuid4()), "valid_from": "2199-12-01T00:00:00Z"}, "/valid_from"),
        ("/nano/versions/1/approvals", {"id": str(uuid4()), "valid_from": "9999-12-31T23:59:59Z"}, "/valid_from"),
        ("/nano/versions/1/approvals", {"id": str(uuid4()), "by": "me"}, "/by"),
        ("/nano/versions/0/approvals", {"id": str(uuid4())}, "{version}"),
        ("/nano/versions/2147483648/approvals", {"id": str(uuid4())}, "{version}"),
        ("/nano/versions/1/withdrawals", {"id": 7}, "/id"),
        ("/nano/rollbacks", {"id": str(uuid4()), "hash": "abc"}, "/hash"),
        ("/nano/rollbacks", {"id": str(uuid4()), "hash": "0" * 64 + "\n"}, "/hash"),
    ],
    ids=str,
)
async def test_what_is_wrong_is_named_and_nothing_is_done(
    lender: Lender, path: str, body: dict[str, object], pointer: str
) -> None:
    await draft(lender)
    status, problem = await lender.send("POST", f"/v1/policies{path}", body, lender.second_key)
    assert status == 400, problem
    assert pointer in [error["pointer"] for error in problem["errors"]]
    assert await states(lender) == ["validated", "live"]


@pytest.mark.parametrize("path", ["nano/versions/9", "mortgage/versions/1", "nano/versions/x"])
@pytest.mark.parametrize("step", ["approvals", "withdrawals"])
async def test_a_step_on_no_version_is_not_found(lender: Lender, path: str, step: str) -> None:
    await draft(lender)
    status, problem = await lender.send("POST", f"/v1/policies/{path}/{step}", {"id": uuid4()})
    assert (status, problem["code"]) == (404, "not_found")


async def test_versions_of_no_product_are_not_found(lender: Lender) -> None:
    status, problem = await lender.send("GET", "/v1/policies/mortgage/versions")
    assert (status, problem["code"]) == (404, "product_not_found")


async def test_another_lenders_version_is_not_found(
    lender: Lender, new_lender: Callable[[], Awaitable[Lender]]
) -> None:
    other = await new_lender()
    made = await draft(lender, lending=False)
    status, problem = await other.approve(made)
    assert (status, problem["code"]) == (404, "not_found")
    status, problem = await other.send("POST", "/v1/policies/nano/rollbacks", {"id": uuid4(), "hash": made["hash"]})
    assert (status, problem["code"]) == (404, "not_found")
    assert await states(lender) == ["validated", "live"]


# Races


async def test_drafts_that_race_have_versions_without_gaps(lender: Lender) -> None:
    made = await asyncio.gather(*(draft(lender, offer_ttl_s=ttl) for ttl in range(100, 106)))
    assert sorted(answer["version"] for answer in made) == [1, 2, 3, 4, 5, 6]


async def test_approvals_that_race_start_one_after_the_other(lender: Lender, database: Any) -> None:
    made = [await draft(lender, offer_ttl_s=ttl) for ttl in range(100, 106)]
    answers = await asyncio.gather(*(lender.approve(one) for one in made))
    assert [status for status, _ in answers] == [200] * 6
    in_order = sorted((answer for _, answer in answers), key=lambda answer: answer["valid_from"])
    assert len({answer["valid_from"] for answer in in_order}) == 6
    chain = [answer["version"] for answer in in_order]
    assert starts(await events(database, lender.tenant)) == [*zip([None, *chain], chain, strict=False)]
    assert (await lender.send("GET", "/v1/policies/nano"))[1]["version"] == chain[-1]


async def test_two_keys_that_approve_one_version_at_once_approve_it_once(lender: Lender, settings: Settings) -> None:
    made = await draft(lender)
    keys = [await create_key(settings.owner_database_url, lender.tenant, ["policies:approve"]) for _ in range(4)]
    answers = await asyncio.gather(*(lender.approve(made, key=key) for key in keys))
    assert sorted(status for status, _ in answers) == [200, 409, 409, 409]
    assert {answer["code"] for status, answer in answers if status == 409} == {"policy_approved"}


async def test_of_an_approval_and_a_withdrawal_at_once_one_wins(lender: Lender, database: Any) -> None:
    for _ in range(8):
        made = await draft(lender)
        (approved, a), (withdrawn, w) = await asyncio.gather(lender.approve(made), withdraw(lender, made["version"]))
        assert sorted([approved, withdrawn]) == [200, 409]
        assert (a if approved == 409 else w)["code"] == ("policy_withdrawn" if approved == 409 else "policy_started")
        state = (await versions(lender))[made["version"] - 1]["state"]
        assert state == ("live" if approved == 200 else "withdrawn")


async def test_a_step_that_waits_for_another_is_done_once_or_may_be_sent_again(lender: Lender, database: Any) -> None:
    made, id_ = await draft(lender), uuid4()
    async with database.transaction():
        await database.execute("SELECT FROM policy_products WHERE tenant = $1 FOR UPDATE", lender.tenant)
        waiting = asyncio.create_task(lender.approve(made, id=id_))
        await asyncio.sleep(2.5)  # longer than the service's transaction may last
    status, answer = await waiting
    assert (status, answer["state"]) == (200, "live")
    assert starts(await events(database, lender.tenant)) == [(None, 1)]


async def test_while_policies_start_at_once_and_by_schedule_exactly_one_decides_at_any_time(
    lender: Lender, database: Any, settings: Settings
) -> None:
    await lender.publish(nano())
    drafts = [await draft(lender, offer_ttl_s=100 + n) for n in range(12)]
    seen: list[int] = []
    pool = await open_pool(settings.eligibility_database_url, "eligibility", connections=2)
    try:
        watching = asyncio.create_task(_watch(pool, lender.tenant, seen))
        for scheduled, at_once in zip(drafts[::2], drafts[1::2], strict=True):
            await asyncio.gather(lender.approve(scheduled, valid_from=in_(SOON / 5)), lender.approve(at_once))
            await asyncio.sleep(0.15)
            await lender.approve(scheduled)  # refused: it only gets in the way of the start
        await asyncio.sleep(0.3)
        watching.cancel()
        await asyncio.wait([watching])
        await tell_starts(pool)
    finally:
        await pool.close()
    told = starts(await events(database, lender.tenant))
    chain = [version for _, version in told]
    assert told == [*zip([None, *chain], chain, strict=False)]
    assert sorted(chain) == [*range(1, 14)]
    changes = [version for at, version in enumerate(seen) if at == 0 or seen[at - 1] != version]
    assert changes == [version for version in chain if version in changes]
    assert changes[-1] == chain[-1]


async def _watch(pool: Any, tenant: int, seen: list[int]) -> None:
    """Which version decides, asked again and again. That none does is an error."""
    key = tenant, "nano"
    async with reading(pool) as connection:
        while True:
            seen.append((await store.find_live_versions(connection, [key]))[key])


async def test_a_batch_decides_by_one_version_while_others_are_published(lender: Lender, good: str) -> None:
    await lender.publish(nano())
    checks = [asyncio.create_task(lender.check(good, id=uuid4())) for _ in range(60)]
    for ttl in range(100, 104):
        await lender.publish(nano(offer_ttl_s=ttl))
    hashes = {version["version"]: version["hash"] for version in await versions(lender)}
    for answer in await asyncio.gather(*checks):
        told = (await lender.send("GET", f"/v1/decisions/{answer['decision_id']}"))[1]["policy"]
        assert told == answer["policy"]
        assert told["hash"] == hashes[told["version"]]


async def test_a_process_that_did_not_publish_takes_a_version_up_within_a_second(
    lender: Lender, settings: Settings
) -> None:
    clock = [0.0]
    pool = await open_pool(settings.eligibility_database_url, "eligibility", connections=2)
    try:
        elsewhere = Policies(pool, clock_s=lambda: clock[0])
        await lender.publish(nano())
        assert await _version(elsewhere, lender) == 1
        await lender.publish(nano(offer_ttl_s=60))
        clock[0] = 0.999
        assert await _version(elsewhere, lender) == 1
        clock[0] = 1.0
        assert await _version(elsewhere, lender) == 2
    finally:
        await pool.close()


async def _version(policies: Policies, lender: Lender) -> int:
    found = await policies.recent(lender.tenant, "nano")
    assert found is not None
    return found.version
