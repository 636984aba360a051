"""The ledger over HTTP as a lender's engineer meets it: holds, linked groups, states of accounts, statements, replays,
and what another lender sees of it.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import msgspec
from tests.batches import batches_held_open
from tests.e2e.lenders import ORDINARY, new_lender
from tests.e2e.tills import LEDGER, NOBODY, ROUTES_OF_A_TRANSFER, ROUTES_OF_AN_ACCOUNT, Item, Till, about
from tests.ids import near

from amana.domain.lending import business_date
from amana.infra.http import HttpClient
from amana.operate.stack import Stack


class TestHolds:
    async def test_a_hold_is_captured_in_parts_and_its_rest_released(self, till: Till) -> None:
        hold = till.hold(ttl_s=3_600)
        (placed,) = await till.send(hold)
        assert placed["status"] == "held" and placed["expires_at"].endswith("Z")
        assert await till.outcomes(about("capture", hold, amount=30)) == [("posted", 30)]
        assert await till.outcomes(about("capture", hold, amount=71)) == ["exceeds_hold"]
        status, final = await till.about("captures", hold["id"], amount=20, final=True)
        assert (status, final["amount"]) == (201, 20)
        after = await till.account()
        assert (after["balance"], after["debits_pending"], after["version"]) == (50, 0, 3)
        seen = await till.lender.must("GET", LEDGER, f"/v1/transfers/{hold['id']}")
        assert (seen["hold_state"], seen["captured"], seen["amount"]) == ("captured", 50, 100)
        for late in ("captures", "voids"):
            status, problem = await till.about(late, hold["id"])
            assert (status, problem["code"], problem["figures"]["captured"]) == (409, "hold_captured", 50)

    async def test_what_is_held_is_not_available_until_it_is_voided_or_expires(self, till: Till) -> None:
        saver = await till.lender.account(normal_side="credit", floor=0)
        voided, expiring = till.hold(debit_account=saver), till.hold(debit_account=saver, ttl_s=1)
        await till.send(till.item(credit_account=saver, amount=250), voided, expiring)
        assert (await till.account(saver))["available"] == 50
        (poor,) = await till.send(till.item(debit_account=saver, amount=51))
        assert (poor["reason"], poor["figures"]["available"], poor["retryable"]) == ("insufficient_funds", 50, False)
        assert await till.outcomes(about("void", voided), about("void", voided)) == [("voided", 100), "hold_voided"]
        await asyncio.sleep(1.05)
        assert await till.outcomes(till.item(debit_account=saver, amount=250)) == [("posted", 250)]
        status, problem = await till.about("captures", expiring["id"])
        assert (status, problem["code"]) == (409, "hold_expired")
        forced = {"id": near(expiring["id"]), "reason": "late_presentment", "amount": 60}
        path = f"/v1/transfers/{expiring['id']}/forced-captures"
        first, again = [await till.lender.post(LEDGER, path, forced) for _ in range(2)]
        assert (first[0], first[1]["amount"], first[1] | {"replayed": True}) == (201, 60, again[1])
        status, problem = await till.lender.post(LEDGER, path, forced | {"reason": "another"})
        assert (status, problem["code"], problem["figures"]) == (409, "id_conflict", {"field": "reason"})
        assert (await till.account(saver))["balance"] == -60

    async def test_forcing_needs_its_own_scope_and_a_reason(
        self, platform: Stack, http: HttpClient, till: Till
    ) -> None:
        hold = till.hold()
        await till.send(hold)
        assert (await till.about("forced-captures", hold["id"]))[1]["errors"][0]["pointer"] == "/reason"
        weak = await new_lender(platform, http, tuple(one for one in ORDINARY if one != "transfers:force"))
        path = f"/v1/transfers/{uuid4()}/forced-captures"
        status, problem = await weak.post(LEDGER, path, {"id": uuid4(), "reason": "late"})
        assert (status, problem["code"]) == (403, "scope_missing")

    async def test_a_hold_and_its_capture_may_come_in_one_list_or_fall_together(self, till: Till) -> None:
        hold = till.hold(linked=True)
        capture = about("capture", hold, amount=40)
        broken = [hold, capture | {"linked": True}, till.item(debit_account=NOBODY)]
        assert await till.outcomes(*broken) == ["linked_failed", "linked_failed", "account_not_found"]
        assert (await till.account())["version"] == 0
        hold = till.hold(linked=True)
        assert await till.outcomes(hold, about("capture", hold, amount=40)) == [("held", 100), ("posted", 40)]
        assert (await till.account())["debits_pending"] == 60


async def test_a_transfer_is_reversed_in_parts_up_to_what_is_left(till: Till) -> None:
    item = till.item()
    back = about("reverse", item, amount=30)
    assert await till.outcomes(item, back, about("reverse", item)) == [("posted", 100), ("posted", 30), ("posted", 70)]
    (over,) = await till.send(about("reverse", item, amount=1))
    assert (over["reason"], over["figures"]) == ("exceeds_original", {"remaining": 0, "requested": 1})
    hold = till.hold()
    assert await till.outcomes(about("reverse", back), hold, about("reverse", hold)) == [
        "original_is_reversal",
        ("held", 100),
        "original_not_posted",
    ]
    assert (await till.account())["balance"] == 0


async def test_a_balancing_transfer_moves_what_there_is(till: Till) -> None:
    limited = await till.lender.account(credit_limit=70)
    item = till.item(debit_account=limited, amount=1_000, balancing="debit")
    assert await till.outcomes(item, item) == [("posted", 70), ("posted", 70)]
    (nothing,) = await till.send(till.item(debit_account=limited, balancing="debit"))
    assert (nothing["reason"], nothing["figures"]) == ("nothing_available", {"available": 0, "requested": 100})
    debt = till.item(credit_account=limited, amount=1_000, balancing="credit")
    assert await till.outcomes(debt) == [("posted", 70)]
    assert await till.outcomes(item | {"balancing": None}) == ["id_conflict"]


class TestAccounts:
    async def test_a_frozen_account_stops_what_it_says_and_opens_again(self, till: Till) -> None:
        hold, other = till.hold(), till.item(debit_account=till.credit, credit_account=till.debit, amount=1)
        await till.send(hold)
        change = {"id": near(till.debit), "frozen_for": "debits"}
        status, frozen = await till.about("freezes", till.debit, **change)
        assert (status, frozen["status"], frozen["frozen_for"]) == (201, "frozen", "debits")
        assert await till.outcomes(till.item(), other) == ["account_frozen", ("posted", 1)]
        await till.about("freezes", till.debit)
        assert await till.outcomes(other | {"id": near(till.credit)}, about("void", hold)) == [
            "account_frozen",
            ("voided", 100),
        ]
        assert (await till.about("unfreezes", till.debit))[1]["status"] == "open"
        assert await till.outcomes(till.item()) == [("posted", 100)]
        assert (await till.about("freezes", till.debit, **change))[1] == frozen | {"replayed": True}
        assert (await till.account())["status"] == "open"

    async def test_only_what_is_settled_closes_and_then_for_ever(self, till: Till) -> None:
        item = till.item()
        await till.send(item)
        status, problem = await till.about("closures", till.debit)
        assert (status, problem["code"], problem["figures"]["balance"]) == (422, "balance_not_zero", 100)
        await till.send(about("reverse", item))
        assert (await till.about("closures", till.debit))[1]["status"] == "closed"
        assert await till.outcomes(till.item()) == ["account_closed"]
        for what in ROUTES_OF_AN_ACCOUNT:
            status, problem = await till.about(what, till.debit, **({"floor": 0} if what == "limits" else {}))
            assert (status, problem["code"]) == (422, "account_closed"), what

    async def test_a_limit_may_be_cut_below_what_is_drawn_and_is_lifted_by_null(self, till: Till) -> None:
        drawer = await till.lender.account(credit_limit=100)
        await till.send(till.item(debit_account=drawer, amount=80))
        status, cut = await till.about("limits", drawer, credit_limit=50)
        assert (status, cut["credit_limit"], cut["drawn"]) == (201, 50, 80)
        (over,) = await till.send(till.item(debit_account=drawer, amount=1))
        assert (over["reason"], over["figures"]) == ("limit_exceeded", {"headroom": 0, "requested": 1})
        assert (await till.about("limits", drawer, credit_limit=None))[1]["credit_limit"] is None
        assert await till.outcomes(till.item(debit_account=drawer, amount=1)) == [("posted", 1)]
        assert (await till.about("limits", drawer))[0] == 400

    async def test_the_accounts_of_a_credit_line_change_only_with_it(self, till: Till) -> None:
        owned = await till.lender.must("GET", LEDGER, f"/v1/accounts?owner={await till.lender.customer()}")
        (exposure,) = [one["id"] for one in owned["accounts"] if one["code"] == "exposure"]
        for what, body in (("limits", {"credit_limit": 1}), ("closures", {})):
            status, problem = await till.about(what, exposure, **body)
            assert (status, problem["code"]) == (422, "account_reserved")
        assert await till.outcomes(till.item(debit_account=exposure)) == ["account_reserved"]


class TestHistory:
    async def test_entries_come_in_pages_and_say_what_stood_after_each(self, till: Till) -> None:
        hold = till.hold()
        await till.send(hold, about("capture", hold, amount=60, final=True), till.item(amount=5))
        first = await till.lender.must("GET", LEDGER, f"/v1/accounts/{till.debit}/entries?limit=2")
        assert [(one["kind"], one["posted"], one["pending"]) for one in first["entries"]] == [
            ("hold", 0, 100),
            ("capture", 60, -100),
        ]
        rest = await till.lender.must("GET", LEDGER, f"/v1/accounts/{till.debit}/entries?after={first['next']}")
        assert [(one["version"], one["debits_posted"], one["debits_pending"]) for one in rest["entries"]] == [
            (3, 65, 0)
        ]
        assert rest["next"] is None

    async def test_a_statement_and_past_balances_agree_with_the_entries(self, till: Till) -> None:
        await till.send(till.item(), till.item(amount=7))
        await asyncio.sleep(0.01)
        before = datetime.now(UTC)
        await asyncio.sleep(0.01)
        await till.send(till.item(amount=50))
        path = f"/v1/accounts/{till.debit}"
        then = await till.lender.must("GET", LEDGER, f"{path}/balance?at={quote(before.isoformat())}")
        assert (then["balance"], then["version"]) == (107, 2)
        ancient = await till.lender.must("GET", LEDGER, f"{path}/balance?at=1999-12-31T23:59:59%2B01:00")
        assert (ancient["balance"], ancient["version"]) == (0, 0)
        today = business_date(datetime.now(UTC))
        dates = f"first_on={today - timedelta(days=1)}&last_on={today}"
        pages = [await till.lender.must("GET", LEDGER, f"{path}/statement?{dates}&limit=2")]
        pages.append(await till.lender.must("GET", LEDGER, f"{path}/statement?{dates}&after={pages[0]['next']}"))
        for page in pages:
            assert (page["opening_balance"], page["closing_balance"], page["posted_debits"]) == (0, 157, 157)
            assert page["complete"] is False
        assert [one["version"] for page in pages for one in page["entries"]] == [1, 2, 3]
        assert pages[1]["next"] is None
        earlier = today - timedelta(days=1)
        empty = await till.lender.must("GET", LEDGER, f"{path}/statement?first_on={earlier}&last_on={earlier}")
        assert (empty["closing_balance"], empty["entries"], empty["next"]) == (0, [], None)
        assert empty["complete"] is True

    async def test_a_balance_that_was_told_counts_what_was_being_committed(self, till: Till) -> None:
        async with batches_held_open(till.lender.stack.settings):
            post = asyncio.create_task(till.send(till.item(amount=7)))
            await asyncio.sleep(0.3)
            at = quote(datetime.now(UTC).isoformat())
            asked = asyncio.create_task(till.lender.must("GET", LEDGER, f"/v1/accounts/{till.debit}/balance?at={at}"))
            await asyncio.sleep(0.1)
        told = await asked
        await post
        assert (told["balance"], told["version"]) == (7, 1)

    async def test_a_reference_finds_what_was_sent_with_it_and_metadata_comes_back(self, till: Till) -> None:
        notes: Item = {"reference": "INV 1/é&?", "metadata": {"Batch-1": "", "note": "₦ 😀"}}
        hold = till.hold(**notes)
        items = [till.item(**notes), hold, about("capture", hold, **notes)]
        await till.send(*items, till.item(reference="INV 2"))
        path, found, after = f"/v1/transfers?reference={quote(notes['reference'])}&limit=2", [], ""
        for _ in range(2):
            page = await till.lender.must("GET", LEDGER, path + after)
            found += page["transfers"]
            after = f"&after={page['next']}"
        assert [one["id"] for one in found] == sorted(str(item["id"]) for item in items)
        assert page["next"] is None
        assert [one["metadata"] for one in found] == [notes["metadata"]] * len(items)


class TestReplays:
    async def test_the_same_bytes_again_give_the_same_answer(self, till: Till) -> None:
        hold, item = till.hold(ttl_s=60), till.item(reference="r", metadata={"b": "2", "a": "1"})
        items = [hold, about("capture", hold, amount=1), item, about("reverse", item), till.item(amount=5, linked=True)]
        items += [till.item(debit_account=NOBODY), till.hold(debit_account=till.credit, credit_account=till.credit)]
        items.append(about("void", hold))
        first = await till.send(*items)
        second, third = await till.send(*items), await till.send(*items)
        assert second == third == [one | {"replayed": True} for one in first]
        reordered = item | {"metadata": {"a": "1", "b": "2"}}
        assert [one["replayed"] for one in await till.send(reordered)] == [True]

    async def test_a_changed_field_is_refused_by_the_name_that_the_client_gave_it(self, till: Till) -> None:
        customer_s = await till.lender.account()
        post = till.item(reference="r", metadata={"k": "v"}, code="fee")
        hold, hopeless = till.hold(ttl_s=60), till.item(debit_account=NOBODY, reference="r")
        capture, item = about("capture", hold, amount=9, reference="r"), till.item()
        reversal = about("reverse", item, amount=9)
        balancing = till.item(balancing="credit", credit_account=customer_s, amount=1)
        await till.send(post, hold, hopeless, capture, item, reversal, till.item(debit_account=customer_s), balancing)
        changes: list[tuple[Item, Item]] = [
            (post, {"amount": 99}),
            (post, {"code": "other"}),
            (post, {"debit_account": customer_s}),
            (post, {"credit_account": customer_s}),
            (post, {"currency": "USD"}),
            (post, {"effective_on": str(business_date(datetime.now(UTC)) - timedelta(days=9))}),
            (post, {"reference": "s"}),
            (post, {"reference": None}),
            (post, {"metadata": {"k": "w"}}),
            (post, {"metadata": {}}),
            (post, {"kind": "hold"}),
            (post, {"balancing": "both"}),
            (item, {"metadata": {"k": "v"}}),
            (item, {"reference": "r"}),
            (hold, {"ttl_s": 61}),
            (hold, {"ttl_s": None}),
            (hold, {"kind": "post", "ttl_s": None}),
            (hopeless, {"amount": 5}),
            (hopeless, {"reference": "s"}),
            (capture, {"hold": NOBODY}),
            (capture, {"amount": 8}),
            (capture, {"final": True}),
            (capture, {"reference": None}),
            (capture, {"kind": "void", "amount": None}),
            (reversal, {"reverses": NOBODY}),
            (reversal, {"amount": None}),
            (balancing, {"balancing": "both"}),
        ]
        results = await till.send(*(first | change for first, change in changes))
        named = ["kind" if "kind" in change else next(iter(change)) for _, change in changes]
        assert [one["figures"].get("field") for one in results] == named
        assert {(one["reason"], one["retryable"], one["replayed"]) for one in results} == {
            ("id_conflict", False, False)
        }

    async def test_an_id_is_used_once_whatever_for(self, till: Till) -> None:
        used = till.item()
        await till.send(used)
        limits = {"id": near(till.debit), "credit_limit": 5}
        await till.about("limits", till.debit, **limits)
        taken = [till.debit, limits["id"]]
        results = await till.send(*(till.hold(id=id_) for id_ in taken), till.item(id=till.credit))
        assert [(one["reason"], one["figures"]) for one in results] == [("id_conflict", {"field": "kind"})] * 3
        account = {"id": used["id"], "owner": uuid4(), "currency": "NGN", "normal_side": "debit"}
        opened = await till.lender.must("POST", LEDGER, "/v1/accounts", {"accounts": [account]})
        assert opened["results"][0]["figures"] == {"field": "kind"}
        for what in (*ROUTES_OF_AN_ACCOUNT[1:], *ROUTES_OF_A_TRANSFER):
            place = till.debit if what in ROUTES_OF_AN_ACCOUNT else used["id"]
            reason = {"reason": "late"} if what == "forced-captures" else {}
            status, problem = await till.about(what, place, id=limits["id"], **reason)
            assert (status, problem["code"], problem["figures"]) == (409, "id_conflict", {"field": "kind"}), what
        status, problem = await till.about("limits", till.credit, **limits)
        assert (status, problem["figures"]) == (409, {"field": "account"})


async def test_another_lender_s_things_are_as_if_they_were_not(till: Till, platform: Stack, http: HttpClient) -> None:
    hold = till.hold(reference="mine")
    await till.send(hold)
    other = Till(await new_lender(platform, http), till.debit, till.credit)
    own = await other.lender.account()
    today = business_date(datetime.now(UTC))

    async def seen(account: UUID, transfer: UUID) -> list[Any]:
        """Everything that can be asked and done about the two."""
        queries = ("", "/entries", "/balance?at=2026-01-01T00:00:00Z", f"/statement?first_on={today}&last_on={today}")
        got = [await other.lender.get(LEDGER, f"/v1/accounts/{account}{query}") for query in queries]
        got.append(await other.lender.get(LEDGER, f"/v1/transfers/{transfer}"))
        for what in (*ROUTES_OF_AN_ACCOUNT, *ROUTES_OF_A_TRANSFER):
            body: Item = {"reason": "late"} if what == "forced-captures" else {}
            body |= {"floor": 1} if what == "limits" else {}
            place = account if what in ROUTES_OF_AN_ACCOUNT else transfer
            got.append(await other.about(what, place, **body))
        items = [
            other.item(debit_account=account, credit_account=own),
            other.hold(debit_account=own, credit_account=account),
            about("capture", {"id": transfer}),
            about("reverse", {"id": transfer}),
        ]
        texts = msgspec.json.encode([*got, [one | {"id": ""} for one in await other.send(*items)]]).decode()
        hidden = texts.replace(str(account), "ACCOUNT").replace(str(transfer), "TRANSFER")
        *single, listed = msgspec.json.decode(hidden, type=list[Any])
        return [*([one[0], one[1] | {"request_id": ""}] for one in single), *listed]

    mine, nothing = await seen(till.debit, hold["id"]), await seen(uuid4(), uuid4())
    assert mine == nothing and {one[0] for one in mine[:5]} == {404}
    assert (await other.lender.must("GET", LEDGER, "/v1/transfers?reference=mine"))["transfers"] == []
    assert (await till.account())["debits_pending"] == 100
