"""The player, against a small real HTTP server that remembers what it was sent."""

import json
from collections import Counter, defaultdict
from typing import Any

import pytest
from tests.tape.small_platform import Json, decline, serving

from amana.domain.ids import derived_id
from amana.tape import client
from amana.tape.book import Book
from amana.tape.generate import generate_book
from amana.tape.replay import replay
from amana.tape.result import percentiles

KEY = "amana_test"


@pytest.fixture(scope="module")
def book() -> Book:
    """A small book of all three products."""
    return generate_book(11, 60)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without the wait."""
    monkeypatch.setattr(client, "BACKOFF_FIRST_MS", 1)
    monkeypatch.setattr(client, "BACKOFF_MAX_MS", 2)


async def test_a_whole_book_is_played_once_and_in_order(book: Book) -> None:
    seen: list[tuple[int, int]] = []
    with serving() as (platform, urls):
        result = await replay(book, urls=urls, key=KEY, concurrency=8, progress=lambda *at: seen.append(at))
    assert not result.failed and result.errors == []
    assert (result.customers, result.loans, result.repayments) == (60, len(book.loans), len(book.repayments))
    assert result.reversals == sum(each.reversed_at is not None for each in book.repayments)
    assert result.decisions == {"approve": len(book.loans)}
    assert result.outstanding_closed == 0 and result.retries == 0
    assert platform.keys == {f"Bearer {KEY}"}
    assert not platform.overlapped and 1 < platform.busiest <= 8
    assert seen[-1] == (result.steps, result.steps) and len(seen) == result.steps
    assert {each["effective_at"] for each in platform.bodies("/v1/loans")} == {
        each.disbursed_at.isoformat().replace("+00:00", "Z") for each in book.loans
    }
    latency = result.latency_ms["check"]
    assert latency["samples"] == len(book.loans) and 0 < latency["p50"] <= latency["p99"]
    json.dumps(result.to_json({"zero_amount": 3}))


async def test_one_customers_times_never_go_back(book: Book) -> None:
    with serving() as (platform, urls):
        await replay(book, urls=urls, key=KEY, concurrency=16)
    last: dict[str, str] = defaultdict(str)
    for _, path, body in platform.log:
        at = body.get("effective_at") or body.get("as_of")
        if at is not None:
            customer = platform_bucket(path, body)
            assert at >= last[customer], (path, at, last[customer])
            last[customer] = at


def platform_bucket(path: str, body: Json) -> str:
    """What all ids of one customer share."""
    return str(path.split("/")[3] if path.startswith("/v1/loans/") else body["id"])[-3:]


async def test_playing_a_book_again_changes_nothing(book: Book) -> None:
    with serving() as (platform, urls):
        first = await replay(book, urls=urls, key=KEY, concurrency=16)
        effects = len(platform.log)
        again = await replay(book, urls=urls, key=KEY, concurrency=16)
    assert not again.failed and len(platform.log) == effects and platform.replayed == effects
    assert (again.loans, again.repayments, again.imported) == (first.loans, first.repayments, first.imported)


async def test_a_declined_loan_is_booked_as_imported_with_its_decision(book: Book) -> None:
    with serving(decline) as (platform, urls):
        result = await replay(book, urls=urls, key=KEY)
    assert not result.failed
    assert (result.imported, result.booked_from_offer) == (len(book.loans), 0)
    assert result.reasons == {"score_too_low": len(book.loans)}
    assert result.to_json()["decisions"] == {"decline": len(book.loans)}
    terms = {each.id: (each.principal, each.fee, each.term_days) for each in book.loans}
    booked = {each["id"]: each["imported"] for each in platform.bodies("/v1/loans")}
    for loan in book.loans:
        imported = booked[str(derived_id(loan.id, "imported"))]
        assert (imported["principal"], imported["fee"], imported["term_days"]) == terms[loan.id]
        assert imported["decision_id"] == str(derived_id(derived_id(loan.id, "check"), "decision"))


async def test_an_offer_at_another_price_than_the_books_is_not_used(book: Book) -> None:
    with serving() as (_, urls):
        result = await replay(book, urls=urls, key=KEY)
    airtime = sum(each.requested != each.principal for each in book.loans)
    assert airtime and result.offers_not_booked == {"terms_differ": airtime}
    assert (result.imported, result.booked_from_offer) == (airtime, len(book.loans) - airtime)


async def test_an_offer_that_can_no_longer_be_booked_is_imported_and_counted(book: Book) -> None:
    turn = iter(["limit_exceeded", "decision_changed", "offer_expired"] * len(book.loans))

    def trouble(method: str, path: str, body: Json) -> tuple[int, Json, dict[str, str]] | None:
        return (409, {"code": next(turn)}, {}) if path == "/v1/loans" and body.get("offer_id") else None

    with serving(trouble=trouble) as (platform, urls):
        result = await replay(book, urls=urls, key=KEY)
        again = await replay(book, urls=urls, key=KEY)
    assert not result.failed and result.imported == len(book.loans) == len(platform.loans)
    assert set(result.offers_not_booked) == {"limit_exceeded", "decision_changed", "offer_expired", "terms_differ"}
    assert again.offers_not_booked == result.offers_not_booked and not again.failed


async def test_trouble_that_passes_is_waited_out_with_the_same_id(book: Book) -> None:
    failed: Counter[str] = Counter()

    def trouble(method: str, path: str, body: Json) -> tuple[int, Json, dict[str, str]] | None:
        id_ = str(body.get("id", path))
        failed[id_] += 1
        return (503, {"code": "overloaded"}, {"Retry-After": "0"}) if failed[id_] <= 2 and id_ < "4" else None

    with serving(trouble=trouble) as (platform, urls):
        result = await replay(book, urls=urls, key=KEY)
    assert not result.failed and result.retries > 10
    assert len(platform.loans) == len(book.loans)


async def test_an_unexpected_answer_fails_the_replay_and_is_kept(book: Book) -> None:
    broken = book.loans[0]

    def trouble(method: str, path: str, body: Json) -> tuple[int, Json, dict[str, str]] | None:
        wrong = path.endswith("/checks") and body["id"] == str(derived_id(broken.id, "check"))
        return (500, {"code": "internal"}, {}) if wrong else None

    with serving(trouble=trouble) as (platform, urls):
        result = await replay(book, urls=urls, key=KEY)
    [error] = result.errors
    assert (error.step, error.ref, error.status, error.code) == ("apply", broken.ref, 500, "internal")
    assert result.failed and result.loans == len(book.loans) - 1
    assert result.skipped >= 1 and not any(str(broken.id) in path for _, path, _ in platform.log)


async def test_it_stops_when_too_much_goes_wrong(book: Book) -> None:
    def trouble(method: str, path: str, body: Json) -> tuple[int, Any, dict[str, str]]:
        return 400, ["not a problem"], {}

    large = generate_book(11, 600)
    with serving(trouble=trouble) as (_, urls):
        result = await replay(large, urls=urls, key=KEY, concurrency=4)
    assert result.failed and len(result.errors) == 100 and result.errors_total < 150
    assert result.steps_done < result.steps


async def test_nobody_there_is_an_error_after_a_bounded_number_of_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ATTEMPTS_MAX", 2)
    urls = client.Urls("http://127.0.0.1:9", "http://127.0.0.1:9")
    result = await replay(generate_book(1, 1), urls=urls, key=KEY)
    assert result.failed and result.errors[0].code == "unreachable" and result.errors[0].status == 0


@pytest.mark.parametrize(
    ("attempt", "headers", "pause"),
    [(0, {}, 100), (3, {}, 800), (7, {}, 5_000), (0, {"Retry-After": "2"}, 2_000), (0, {"Retry-After": "999"}, 30_000),
     (1, {"Retry-After": "soon"}, 200)],
)  # fmt: skip
def test_pauses_double_and_honour_retry_after_within_bounds(
    monkeypatch: pytest.MonkeyPatch, attempt: int, headers: dict[str, str], pause: int
) -> None:
    monkeypatch.undo()
    assert client.pause_ms(attempt, headers) == pause


def test_percentiles_are_by_nearest_rank() -> None:
    assert percentiles([]) == {"p50": 0.0, "p99": 0.0, "samples": 0}
    assert percentiles(list(range(1, 201))) == {"p50": 100, "p99": 198, "samples": 200}
