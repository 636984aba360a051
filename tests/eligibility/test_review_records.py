"""What is kept of reviews: one for each id, told in order to every reader, in events without a word of anybody."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.eligibility.conftest import Lender
from tests.eligibility.reviewing import NOBODY, REVIEWER, WHY, Bench, Database, done, events_of, listed, refused
from tests.eligibility.standings_server import StandingsServer

from amana.eligibility.sealed import open_words
from amana.gateway.provision import create_key
from amana.infra.settings import Settings
from amana.vault.vault import Vault


@pytest.fixture
def bench(lender: Lender, ledger: StandingsServer, judge: str) -> Bench:
    return Bench(lender, ledger, judge)


class TestAnId:
    async def test_used_again_gives_the_first_answer(self, bench: Bench) -> None:
        decision = await bench.declined()
        appeal = str(uuid4())
        done(await bench.appeal(decision, id=appeal))
        override, resolution, reversal = (str(uuid4()) for _ in range(3))
        sent: list[Callable[[], Awaitable[tuple[int, Any]]]] = [
            lambda: bench.override(decision, id=override),
            lambda: bench.resolve(appeal, "changed", id=resolution, changed_by=override),
            lambda: bench.reverse(decision, id=reversal),
        ]
        first = [done(await send()) for send in sent]
        again = [done(await send()) for send in sent]
        assert again == [answer | {"replayed": True} for answer in first]
        assert done(await bench.appeal(decision, id=appeal))["standing"] == "active"

    @pytest.mark.parametrize(
        ("field", "change"),
        [
            ("amount", {"amount": 1_100_000}),
            ("exposure_cap", {"exposure_cap": 1_900_000}),
            ("term_days", {"term_days": 15}),
            ("ttl_s", {"ttl_s": 60}),
            ("supersedes", {"supersedes": NOBODY}),
            ("reason", {"reason": "Another reason."}),
            ("reviewer", {"reviewer": "Somebody else"}),
        ],
    )
    async def test_used_again_with_another_field_is_refused_by_its_name(
        self, bench: Bench, field: str, change: dict[str, Any]
    ) -> None:
        decision, id_ = await bench.declined(), str(uuid4())
        done(await bench.override(decision, id=id_))
        status, problem = await bench.override(decision, id=id_, **change)
        assert (status, problem["code"], problem["figures"]) == (409, "id_conflict", {"field": field})
        assert problem["errors"][0]["pointer"] == f"/{field}"

    async def test_is_used_for_one_thing_and_one_decision(self, bench: Bench) -> None:
        decision, other, id_ = await bench.declined(), await bench.declined(), str(uuid4())
        done(await bench.override(decision, id=id_))
        assert refused(await bench.override(other, id=id_))[1:] == ("id_conflict", {"field": "decision"})
        assert refused(await bench.reverse(decision, id=id_))[1:] == ("id_conflict", {"field": "kind"})
        assert refused(await bench.override(other, id=decision))[1:] == ("id_conflict", {"field": "kind"})

    async def test_of_an_override_that_a_check_takes_too_is_then_the_checks(self, bench: Bench, good: str) -> None:
        override = done(await bench.override(await bench.declined()))["review"]["id"]
        await bench.lender.check(good, id=override)
        assert (await bench.explain(override))["customer"] == good
        assert (await bench.confirm(override))[1]["customer"] == good

    async def test_stays_free_after_a_refusal(self, bench: Bench) -> None:
        decision, id_ = await bench.declined(), str(uuid4())
        assert refused(await bench.override(decision, id=id_, term_days=31))[1] == "terms_not_offered"
        assert done(await bench.override(decision, id=id_))["replayed"] is False


class TestADecisionExplained:
    async def test_has_its_reviews_in_order_and_its_standing(self, bench: Bench) -> None:
        decision = await bench.declined()
        plain = await bench.explain(decision)
        assert (plain["standing"], plain["review_count"], plain["reviews"]) == ("active", 0, [])
        appeal = done(await bench.appeal(decision))["review"]["id"]
        override = done(await bench.override(decision))["review"]["id"]
        resolution = done(await bench.resolve(appeal, "changed", changed_by=override))["review"]["id"]
        reversal = done(await bench.reverse(decision))["review"]["id"]
        told = await bench.explain(decision)
        assert [(one["id"], one["version"], one["standing"]) for one in told["reviews"]] == [
            (appeal, 2, "active"),
            (override, 3, "overridden"),
            (resolution, 4, "overridden"),
            (reversal, 5, "reversing"),
        ]
        assert (told["standing"], told["review_count"], told["outcome"]) == ("reversing", 4, "decline")
        assert await bench.explain(override) == told, "a loan names the override's id as its decision"

    async def test_shows_what_people_wrote_only_to_those_who_judge(self, bench: Bench, settings: Settings) -> None:
        decision = await bench.declined()
        done(await bench.appeal(decision))
        done(await bench.override(decision))
        mere = await create_key(
            settings.owner_database_url, bench.lender.tenant, ["eligibility:check", "decisions:appeal"]
        )
        seen = (await bench.explain(decision, mere))["reviews"]
        assert [(one["reviewer"], one["reason"]) for one in seen] == [(None, None)] * 2
        seen = (await bench.explain(decision, bench.judge))["reviews"]
        assert [(one["reviewer"], one["reason"]) for one in seen] == [(None, WHY), (REVIEWER, WHY)]
        assert [one["reason"] for one in await listed(bench, "open", mere)] == [None]

    async def test_shows_the_newest_hundred_reviews(self, bench: Bench, database: Database) -> None:
        decision = await bench.declined()
        for _ in range(51):
            appeal = done(await bench.appeal(decision))["review"]["id"]
            done(await bench.resolve(appeal, "upheld"))
        told = await bench.explain(decision)
        assert told["review_count"] == 102
        assert [one["version"] for one in told["reviews"]] == list(range(4, 104))


class TestTheRecord:
    async def test_of_a_review_is_one_event_at_the_decision_without_a_word_of_anybody(
        self, bench: Bench, database: Database
    ) -> None:
        decision = await bench.declined()
        appeal = done(await bench.appeal(decision))["review"]["id"]
        override = done(await bench.override(decision))["review"]
        done(await bench.resolve(appeal, "changed", changed_by=override["id"]))
        done(await bench.reverse(decision))
        events = await events_of(database, decision)
        assert [(event["type"], event["aggregate"]["version"]) for event in events] == [
            ("DecisionMade", 1),
            ("DecisionAppealed", 2),
            ("DecisionOverridden", 3),
            ("AppealResolved", 4),
            ("DecisionReversalStarted", 5),
        ]
        told = events[2]
        assert (told["data"]["review"], told["data"]["words"]) == (override["id"], override["words_digest"])
        assert told["data"]["terms"]["price"]["total_due"] == 1_300_000
        assert told["actor"] == bench.judge.split("_")[1]
        assert events[4]["data"]["withdrawn"] == [override["id"]]
        everything = json.dumps(events)
        assert not [said for said in (WHY, REVIEWER, "bank's letter") if said in everything]

    async def test_commits_to_the_words_that_are_kept_apart_and_sealed(
        self, bench: Bench, database: Database, vault: Vault
    ) -> None:
        review = done(await bench.override(await bench.declined()))["review"]
        kept = await database.fetchrow("SELECT * FROM review_words WHERE review_id = $1", UUID(review["id"]))
        assert kept is not None
        assert not [value for value in kept.values() if WHY in str(value) or REVIEWER in str(value)]
        where = kept["tenant"], kept["customer"]
        words = open_words((await vault.keys([where]))[where], where, UUID(review["id"]), kept["sealed"])
        assert words is not None
        assert (words.reason, words.reviewer, words.digest()) == (WHY, REVIEWER, review["words_digest"])
        row = await database.fetchrow("SELECT * FROM reviews WHERE review_id = $1", UUID(review["id"]))
        assert row is not None
        assert not [value for value in row.values() if WHY in str(value) or REVIEWER in str(value)]

    async def test_stands_without_words_that_were_erased(self, bench: Bench, database: Database) -> None:
        decision, id_ = await bench.declined(), str(uuid4())
        done(await bench.override(decision, id=id_))
        await database.execute("DELETE FROM review_words WHERE review_id = $1", UUID(id_))
        told = (await bench.explain(decision, bench.judge))["reviews"][0]
        assert (told["reviewer"], told["reason"]) == (None, None)
        assert done(await bench.override(decision, id=id_))["replayed"]

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE reviews SET actor = 'nobody' WHERE review_id = $1",
            "DELETE FROM reviews WHERE review_id = $1",
        ],
    )
    async def test_is_never_changed_not_even_by_its_owner(
        self, bench: Bench, database: Database, statement: str
    ) -> None:
        review = done(await bench.override(await bench.declined()))["review"]
        with pytest.raises(asyncpg.RestrictViolationError):
            await database.execute(statement, UUID(review["id"]))
