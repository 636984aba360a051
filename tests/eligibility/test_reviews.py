"""Reviews over HTTP: overriding, contesting and withdrawing a decision, and what every reader sees of it."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from tests.domain.policy_model import shipped
from tests.eligibility.conftest import Lender
from tests.eligibility.reviewing import NOBODY, REVIEWER, TTL_S, Bench, Database, done, events_of, listed, refused
from tests.eligibility.standings_server import StandingsServer

from amana.domain.policy import policy_bytes
from amana.gateway.provision import create_key
from amana.infra.settings import Settings


@pytest.fixture
def bench(lender: Lender, ledger: StandingsServer, judge: str) -> Bench:
    return Bench(lender, ledger, judge)


async def end(database: Database, override: str) -> None:
    """Moves the end of an override's offer into the past, as its own table never would."""
    await database.execute("ALTER TABLE reviews DISABLE TRIGGER reviews_append_only")
    await database.execute(
        "UPDATE reviews SET expires_at = expires_at - make_interval(secs => $2) WHERE review_id = $1",
        UUID(override),
        float(TTL_S),
    )
    await database.execute("ALTER TABLE reviews ENABLE TRIGGER reviews_append_only")


class TestAnOverride:
    async def test_of_a_decline_is_an_offer_that_a_person_made(self, bench: Bench) -> None:
        decision, id_ = await bench.declined(), str(uuid4())
        answer = done(await bench.override(decision, id=id_))
        review = answer["review"]
        assert (answer["standing"], answer["replayed"], answer["booked"]) == ("overridden", False, None)
        assert (review["id"], review["decision_id"], review["kind"]) == (id_, decision, "override")
        assert review["price"] == {
            "principal": 1_000_000, "fee": 300_000, "total_due": 1_300_000, "rate_bps": 3_000, "term_days": 30,
        }  # fmt: skip
        assert (review["offer"]["id"], review["overruled"]) == (id_, ["loan_overdue"])
        status, terms = await bench.confirm(id_)
        assert (status, terms["offer_id"], terms["principal"], terms["fee"]) == (200, id_, 1_000_000, 300_000)
        assert (terms["exposure_cap"], terms["expires_at"]) == (2_000_000, review["offer"]["expires_at"])

    async def test_is_confirmed_by_a_decision_that_knows_its_offer(self, bench: Bench) -> None:
        decision = await bench.declined()
        id_ = done(await bench.override(decision))["review"]["id"]
        first, second = (await bench.confirm(id_))[1], (await bench.confirm(id_))[1]
        assert first["decision_id"] == second["decision_id"], "a decision at most 5 s old is made again"
        told = await bench.explain(first["decision_id"])
        assert (told["confirms_offer"], told["outcome"], told["standing"]) == (id_, "decline", "overridden")
        assert [review["id"] for review in told["reviews"]] == [id_]

    async def test_ends_with_a_knockout_that_nobody_overruled(self, bench: Bench) -> None:
        decision = await bench.declined()
        id_ = done(await bench.override(decision))["review"]["id"]
        customer = await bench.customer_of(decision)
        await bench.lender.send("PUT", f"/v1/customers/{customer}", {"kyc_tier": 3, "blocked": True})
        status, code, figures = refused(await bench.confirm(id_))
        assert (status, code) == (409, "decision_changed")
        told = await bench.explain(figures["decision_id"])
        assert "customer_blocked" in [reason["code"] for reason in told["reasons"]]

    async def test_leaves_no_room_above_its_own_cap(self, bench: Bench, ledger: StandingsServer) -> None:
        decision = await bench.declined(exposure=700_000)
        id_ = done(await bench.override(decision))["review"]["id"]
        assert (await bench.confirm(id_))[0] == 200
        again = await bench.declined(exposure=700_001)
        other = done(await bench.override(again))["review"]["id"]
        assert refused(await bench.confirm(other))[:2] == (409, "decision_changed")

    async def test_ends_by_the_databases_clock(self, bench: Bench, database: Database) -> None:
        id_ = done(await bench.override(await bench.declined()))["review"]["id"]
        await end(database, id_)
        assert refused(await bench.confirm(id_))[:2] == (409, "offer_expired")

    async def test_whose_time_is_over_is_followed_by_one_that_names_it(self, bench: Bench, database: Database) -> None:
        decision = await bench.declined()
        old = done(await bench.override(decision))["review"]["id"]
        await end(database, old)
        assert refused(await bench.override(decision))[2] == {"override": old}
        new = done(await bench.override(decision, supersedes=old))["review"]["id"]
        assert (await bench.confirm(new))[0] == 200

    async def test_that_declines_withdraws_the_offer(self, bench: Bench) -> None:
        decision = await bench.approved()
        answer = done(await bench.decline(decision))
        assert (answer["standing"], answer["review"]["offer"], answer["review"]["price"]) == ("overridden", None, None)
        assert refused(await bench.confirm(decision)) == (
            409, "decision_overridden", {"override": answer["review"]["id"]},
        )  # fmt: skip

    async def test_that_approves_replaces_the_offer_of_an_approval(self, bench: Bench) -> None:
        decision = await bench.approved()
        id_ = done(await bench.override(decision, amount=2_000_000, exposure_cap=2_450_000))["review"]["id"]
        assert refused(await bench.confirm(decision))[:2] == (409, "decision_overridden")
        assert (await bench.confirm(id_))[1]["principal"] == 2_000_000

    async def test_is_superseded_by_the_one_that_names_it(self, bench: Bench) -> None:
        decision = await bench.declined()
        first = done(await bench.override(decision))["review"]["id"]
        assert refused(await bench.override(decision)) == (409, "decision_overridden", {"override": first})
        second = done(await bench.decline(decision, supersedes=first))["review"]
        assert second["supersedes"] == first
        assert refused(await bench.confirm(first))[:2] == (409, "decision_overridden")
        assert refused(await bench.override(decision, supersedes=first))[2] == {"override": second["id"]}

    async def test_is_not_for_the_key_that_asked(self, bench: Bench) -> None:
        decision = await bench.declined()
        assert refused(await bench.override(decision, bench.lender.key))[:2] == (403, "four_eyes_needed")
        done(await bench.override(decision))

    async def test_needs_its_scope(self, bench: Bench, settings: Settings) -> None:
        key = await create_key(settings.owner_database_url, bench.lender.tenant, ["decisions:appeal"])
        assert refused(await bench.override(NOBODY, key))[:2] == (403, "scope_missing")

    async def test_of_what_looked_at_an_offer_again_names_the_offer(self, bench: Bench) -> None:
        id_ = done(await bench.override(await bench.declined()))["review"]["id"]
        again = (await bench.confirm(id_))[1]["decision_id"]
        assert refused(await bench.override(again)) == (422, "decision_confirms_offer", {"offer": id_})
        assert refused(await bench.reverse(again))[:2] == (422, "decision_confirms_offer")

    async def test_is_for_the_network_of_its_decision_while_that_lends(self, bench: Bench) -> None:
        document = json.loads(policy_bytes(shipped("nano")))
        document["networks"] = [{"id": "mtn", "lending": True}]
        document["reasons"]["network_not_served"] = "We do not lend over this network."
        await bench.lender.publish(document)
        customer = await bench.lender.customer(blocked=True)
        decision = (await bench.lender.check(customer, id=str(uuid4()), network="mtn"))["decision_id"]
        override = done(await bench.override(decision))["review"]["id"]
        assert (await bench.confirm(override))[0] == 200
        document["networks"][0]["lending"] = False
        await bench.lender.publish(document)
        answer = await bench.override(decision, supersedes=override)
        assert refused(answer) == (422, "not_overridable", {"reason": "lending_off"})

    async def test_does_not_change_later_answers(self, bench: Bench) -> None:
        decision = await bench.declined()
        done(await bench.override(decision))
        customer = await bench.customer_of(decision)
        assert (await bench.lender.check(customer, id=str(uuid4())))["outcome"] == "decline"


class TestAnAppeal:
    async def test_waits_for_a_person_and_is_upheld(self, bench: Bench) -> None:
        decision = await bench.declined()
        filed = done(await bench.appeal(decision, reason="I paid on Friday."))
        assert (filed["standing"], filed["review"]["kind"]) == ("active", "appeal")
        waiting = await listed(bench, "open")
        assert [(one["id"], one["decision_id"], one["reason"]) for one in waiting] == [
            (filed["review"]["id"], decision, "I paid on Friday.")
        ]
        answer = done(await bench.resolve(filed["review"]["id"], "upheld"))
        assert (answer["standing"], answer["review"]["outcome"]) == ("active", "upheld")
        assert await listed(bench, "open") == []
        resolved = (await listed(bench, "resolved"))[0]
        assert (resolved["state"], resolved["resolution"]) == ("resolved", "upheld")
        assert resolved["resolution_id"] == answer["review"]["id"]

    async def test_is_changed_by_the_override_that_was_made_for_it(self, bench: Bench) -> None:
        decision = await bench.declined()
        appeal = done(await bench.appeal(decision))["review"]["id"]
        override = done(await bench.override(decision))["review"]["id"]
        answer = done(await bench.resolve(appeal, "changed", changed_by=override))
        assert (answer["standing"], answer["review"]["changed_by"]) == ("overridden", override)

    async def test_is_not_changed_by_an_older_override_or_another_decisions(self, bench: Bench) -> None:
        decision, other = await bench.declined(), await bench.declined()
        older = done(await bench.override(decision))["review"]["id"]
        appeal = done(await bench.appeal(decision))["review"]["id"]
        elsewhere = done(await bench.override(other))["review"]["id"]
        for wrong in (older, elsewhere, appeal, NOBODY):
            answer = await bench.resolve(appeal, "changed", changed_by=wrong)
            assert refused(answer)[:2] == (422, "change_not_found")

    async def test_may_be_answered_by_a_reversal(self, bench: Bench) -> None:
        decision = await bench.approved()
        appeal = done(await bench.appeal(decision, reason="I never asked for this."))["review"]["id"]
        reversal = done(await bench.reverse(decision))["review"]["id"]
        assert done(await bench.resolve(appeal, "changed", changed_by=reversal))["standing"] == "reversing"

    async def test_is_one_at_a_time_and_may_follow_another(self, bench: Bench) -> None:
        decision = await bench.declined()
        first = done(await bench.appeal(decision))["review"]["id"]
        assert refused(await bench.appeal(decision)) == (409, "appeal_open", {"appeal": first})
        done(await bench.resolve(first, "upheld"))
        assert refused(await bench.resolve(first, "upheld"))[:2] == (409, "appeal_resolved")
        done(await bench.appeal(decision))

    async def test_is_not_resolved_by_the_key_that_asked_for_the_decision(self, bench: Bench) -> None:
        appeal = done(await bench.appeal(await bench.declined()))["review"]["id"]
        assert refused(await bench.resolve(appeal, "upheld", bench.lender.key))[:2] == (403, "four_eyes_needed")

    async def test_of_a_plain_question_has_the_same_path(self, bench: Bench) -> None:
        customer = await bench.lender.customer(blocked=True)
        decision = (await bench.lender.check(customer))["decision_id"]
        done(await bench.appeal(decision))

    async def test_is_listed_oldest_first_a_page_at_a_time(self, bench: Bench) -> None:
        filed = [done(await bench.appeal(await bench.declined()))["review"]["id"] for _ in range(5)]
        seen, after = [], ""
        while True:
            page = (await bench.lender.send("GET", f"/v1/appeals?state=open&limit=2{after}", key=bench.judge))[1]
            assert len(page["appeals"]) <= 2
            seen += [one["id"] for one in page["appeals"]]
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
        assert seen == filed

    @pytest.mark.parametrize("query", ["state=closed", "limit=0", "limit=1001", "after=7", "sate=open"])
    async def test_lists_refuse_what_they_do_not_know(self, bench: Bench, query: str) -> None:
        status, problem = await bench.lender.send("GET", f"/v1/appeals?{query}", key=bench.judge)
        assert (status, problem["code"]) == (400, "validation")
        assert problem["errors"][0]["pointer"] == f"?{query.partition('=')[0]}"


class TestAReversal:
    async def test_ends_every_offer_of_the_decision(self, bench: Bench) -> None:
        decision = await bench.approved()
        override = done(await bench.override(decision))["review"]["id"]
        answer = done(await bench.reverse(decision))
        assert (answer["standing"], answer["booked"]) == ("reversing", "unknown")
        assert answer["review"]["withdrawn"] == [decision, override]
        for offer in (decision, override):
            assert refused(await bench.confirm(offer))[:2] == (409, "decision_reversed")

    async def test_of_what_never_was_an_offer_says_that_nothing_was_booked(self, bench: Bench) -> None:
        answer = done(await bench.reverse(await bench.declined()))
        assert (answer["booked"], answer["review"]["withdrawn"]) == ("no", [])

    async def test_is_final(self, bench: Bench) -> None:
        decision = await bench.declined()
        done(await bench.reverse(decision))
        for again in (bench.reverse(decision), bench.override(decision), bench.appeal(decision)):
            assert refused(await again)[:2] == (409, "decision_reversed")

    async def test_is_open_to_the_key_that_asked(self, bench: Bench) -> None:
        done(await bench.say(f"/v1/decisions/{await bench.approved()}/reversals", bench.lender.key, reviewer=REVIEWER))


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"amount": None}, "/amount", "missing"),
        ({"exposure_cap": None}, "/exposure_cap", "missing"),
        ({"ttl_s": None}, "/ttl_s", "missing"),
        ({"ttl_s": 59}, "/ttl_s", "out_of_range"),
        ({"ttl_s": 30 * 86_400 + 1}, "/ttl_s", "out_of_range"),
        ({"amount": 0}, "/amount", "out_of_range"),
        ({"reviewer": "  "}, "/reviewer", "blank"),
        ({"reason": "\n"}, "/reason", "blank"),
        ({"reason": "x" * 2_001}, "/reason", "out_of_range"),
        ({"outcome": "refer"}, "/outcome", "invalid"),
        ({"outcome": "decline"}, "/amount", "unknown_field"),
        ({"expires_at": "2030-01-01T00:00:00Z"}, "/expires_at", "unknown_field"),
        ({"id": "7"}, "/id", "invalid"),
    ],
    ids=str,
)
async def test_a_field_that_is_wrong_is_named(bench: Bench, change: dict[str, Any], pointer: str, code: str) -> None:
    status, problem = await bench.override(await bench.declined(), **change)
    assert (status, problem["code"]) == (400, "validation"), problem
    assert (problem["errors"][0]["pointer"], problem["errors"][0]["code"]) == (pointer, code)


@pytest.mark.parametrize(
    ("outcome", "more", "pointer"),
    [("changed", {}, "/changed_by"), ("upheld", {"changed_by": NOBODY}, "/changed_by"), ("lost", {}, "/outcome")],
)
async def test_a_resolution_names_a_change_exactly_when_there_is_one(
    bench: Bench, outcome: str, more: dict[str, Any], pointer: str
) -> None:
    status, problem = await bench.resolve(NOBODY, outcome, **more)
    assert (status, problem["errors"][0]["pointer"]) == (400, pointer)


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("appeals", {"reason": ""}, "/reason"),
        ("appeals", {"reviewer": REVIEWER}, "/reviewer"),
        ("reversals", {}, "/reviewer"),
        ("reversals", {"reviewer": REVIEWER, "outcome": "decline"}, "/outcome"),
        ("reversals", {"reviewer": REVIEWER, "id": None}, "/id"),
    ],
)
async def test_an_appeal_or_reversal_says_no_more_and_no_less_than_it_needs(
    bench: Bench, database: Database, path: str, body: dict[str, Any], pointer: str
) -> None:
    decision = await bench.declined()
    status, problem = await bench.say(f"/v1/decisions/{decision}/{path}", bench.lender.key, **body)
    assert (status, [error["pointer"] for error in problem["errors"]]) == (400, [pointer])
    assert [event["type"] for event in await events_of(database, decision)] == ["DecisionMade"]


async def test_what_is_not_there_or_anothers_is_not_found(
    bench: Bench, new_lender: Callable[[], Awaitable[Lender]], settings: Settings
) -> None:
    other = await new_lender()
    key = await create_key(settings.owner_database_url, other.tenant, ["decisions:override", "decisions:appeal"])
    stranger = Bench(other, bench.ledger, key)
    decision = await bench.declined()
    appeal = done(await bench.appeal(decision))["review"]["id"]
    override = done(await bench.override(decision))["review"]["id"]
    for missing in (NOBODY, decision):
        for answer in (stranger.override(missing), stranger.appeal(missing), stranger.reverse(missing)):
            assert refused(await answer)[:2] == (404, "not_found")
    for missing in (NOBODY, appeal):
        assert refused(await stranger.resolve(missing, "upheld"))[:2] == (404, "appeal_not_found")
    assert refused(await stranger.confirm(override))[:2] == (404, "offer_not_found")
    assert (await other.send("GET", f"/v1/decisions/{override}"))[0] == 404
    assert await listed(stranger, "open") == []
