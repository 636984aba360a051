"""The player on the real services: a small book of three products, played twice."""

from amana.gateway import provision
from amana.operate.stack import Stack
from amana.tape.client import Urls
from amana.tape.generate import generate_book
from amana.tape.replay import replay

BORROWERS = 60


async def test_a_book_is_played_on_the_real_services_and_again_without_effect(platform: Stack) -> None:
    dsn = platform.settings.owner_database_url
    tenant = await provision.create_tenant(dsn, "tape-test", "A lender of the tape's tests")
    key = await provision.create_key(dsn, tenant, provision.ALL_SCOPES)
    urls = Urls(platform.urls["eligibility"], platform.urls["transactions"])
    book = generate_book(99, BORROWERS)

    first = await replay(book, urls=urls, key=key)
    assert first.errors == []
    assert (first.loans, first.repayments, first.skipped) == (len(book.loans), len(book.repayments), 0)
    assert first.outstanding_closed == 0
    assert sum(first.decisions.values()) == len(book.loans)
    assert first.decisions["approve"] and first.booked_from_offer and first.imported

    again = await replay(book, urls=urls, key=key)
    assert again.errors == []
    for count in ("loans", "booked_from_offer", "imported", "decisions", "reasons", "offers_not_booked", "repayments"):
        assert getattr(again, count) == getattr(first, count), count
