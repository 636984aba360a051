"""What happened to one thing, event by event, and what each event changed of it."""

from tests.operate.replay.conftest import QUIET, ReadingFrom
from tests.operate.replay.town import Town

from amana.infra.settings import Settings
from amana.operate.replay.options import Options
from amana.operate.replay.run import tell_story
from amana.operate.stack import Stack


async def test_a_loan_is_told_from_its_booking_to_its_end(site: Stack, town: Town) -> None:
    lines = await tell_story(site.settings, Options(), town.loan, QUIET)
    types = [line.type for line in lines if line.type != "TransferPosted"]
    assert types == ["AccountOpened"] * 2 + [
        "LoanBooked",
        "RepaymentReceived",
        "RepaymentReceived",
        "LoanClosed",
        "RepaymentReversed",
    ]
    told = {line.type: line.told() for line in reversed(lines)}
    assert "fee_paid 0 -> 300000" in told["RepaymentReceived"]
    assert "principal_paid 0 -> 50000" in told["RepaymentReceived"]
    assert "closed_at - -> " in told["LoanClosed"]
    assert "principal_paid 1000000 -> 950000" in told["RepaymentReversed"]
    assert "reversed_by - -> " in told["RepaymentReversed"]


async def test_an_account_is_told_with_its_counters_after_each_movement(site: Stack, town: Town) -> None:
    lines = await tell_story(site.settings, Options(), town.till, QUIET)
    assert lines[0].type == "AccountOpened"
    assert "debits_posted 0 -> 1000" in lines[1].told()
    frozen = next(line for line in lines if line.type == "AccountFrozen")
    assert "status open -> frozen, frozen_for - -> debits, revision 2 -> 3" in frozen.told()
    assert {str(town.purse)} & {word for line in lines for word in line.told().split()} == set()


async def test_a_customer_is_told_across_both_streams_in_order_of_time(site: Stack, town: Town) -> None:
    lines = await tell_story(site.settings, Options(), town.customer, QUIET)
    assert {line.stream for line in lines} == {"eligibility", "transactions"}
    assert [line.occurred_at for line in lines] == sorted(line.occurred_at for line in lines)
    assert [line.type for line in lines][:2] == ["CustomerFactsRecorded", "AccountOpened"]
    assert any("exposures" in line.told() and "owed 0 -> 1300000" in line.told() for line in lines)


async def test_a_decision_is_told_with_its_reviews(site: Stack, town: Town) -> None:
    lines = await tell_story(site.settings, Options(), town.contested, QUIET)
    assert [line.type for line in lines][:4] == [
        "DecisionMade",
        "DecisionAppealed",
        "DecisionOverridden",
        "AppealResolved",
    ]
    assert "standing active -> overridden" in lines[2].told()


async def test_of_what_never_was_nothing_is_told(site: Stack, town: Town) -> None:
    assert await tell_story(site.settings, Options(), town.nothing, QUIET) == []


async def test_an_export_alone_tells_the_same_without_any_database(
    site: Stack, reading_from: ReadingFrom, town: Town
) -> None:
    options = Options(**await reading_from("export"))
    told = await tell_story(Settings(ledger_shards=site.settings.ledger_shards), options, town.loan, QUIET)
    assert told == await tell_story(site.settings, Options(), town.loan, QUIET)


async def test_a_withdrawn_offer_is_told_with_what_closed_it(site: Stack, town: Town) -> None:
    lines = await tell_story(site.settings, Options(), town.withdrawn, QUIET)
    types = [line.type for line in lines]
    assert types.index("DecisionReversalStarted") < types.index("OfferWithdrawn") < types.index("DecisionReversed")
    assert "state running -> over" in lines[-1].told()
    assert "state - -> unbooked" in lines[-1].told()
