"""What is known of a customer: one change at a time, a version each, and never back to an older word."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amana.domain.customer import ABSENT, Change, Known, changed
from amana.domain.reasons import Reason
from amana.domain.record import CustomerRecord
from amana.domain.sources import BureauSummary, Consent, Consents, TopUps
from amana.domain.transfer import Refused

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)
RECORD = CustomerRecord(kyc_tier=2, bvn="22212345678")


def report(days_ago: int, score: int = 640) -> BureauSummary:
    return BureauSummary(as_of=NOW - days_ago * DAY, bureau_count=2, score=score)


def agreed(days_ago: int, *, given: bool = True) -> Consent:
    return Consent(given, NOW - days_ago * DAY)


def known(*changes: Change) -> Known:
    """What is known after the first record and these changes, none of which is refused."""
    found = Known(version=1, record=RECORD)
    for change in changes:
        after = changed(found, change)
        assert isinstance(after, Known)
        found = after
    return found


def test_the_first_record_is_version_one() -> None:
    assert changed(None, Change(record=RECORD)) == Known(version=1, record=RECORD)


@pytest.mark.parametrize(
    "change",
    [Change(bureau=report(1)), Change(topups=TopUps(as_of=NOW, monthly=5)), Change(consents=Consents(terms=agreed(1)))],
)
def test_other_sources_speak_of_a_customer_who_has_a_record(change: Change) -> None:
    assert changed(None, change) == Refused(Reason.CUSTOMER_NOT_FOUND)
    assert known(change).version == 2


def test_one_sources_word_leaves_the_others_alone() -> None:
    made = known(Change(bureau=report(3)), Change(topups=TopUps(as_of=NOW, monthly=5)))
    assert (made.version, made.record, made.said.bureau) == (3, RECORD, report(3))
    again = changed(made, Change(record=CustomerRecord(kyc_tier=1)))
    assert isinstance(again, Known)
    assert (again.version, again.record.bvn, again.said) == (4, None, made.said)


def test_several_words_at_once_are_one_version() -> None:
    change = Change(record=RECORD, bureau=report(1), consents=Consents(bureau=agreed(2)))
    made = changed(None, change)
    assert isinstance(made, Known)
    assert (made.version, made.said.bureau, made.said.consents.bureau) == (1, report(1), agreed(2))


def test_the_same_again_is_no_new_version_whatever_version_is_expected() -> None:
    made = known(Change(bureau=report(3)))
    for expected in (None, ABSENT, 1, 2, 9):
        assert changed(made, Change(record=RECORD, bureau=report(3), if_version=expected)) is made


@pytest.mark.parametrize(("expected", "version"), [(ABSENT, 1), (1, 1), (3, 1)])
def test_another_version_than_expected_is_a_conflict(expected: int, version: int) -> None:
    made = changed(known(), Change(record=CustomerRecord(kyc_tier=1), if_version=expected))
    if expected == version:
        assert isinstance(made, Known)
    else:
        assert made == Refused(Reason.VERSION_CONFLICT, {"facts_version": version})


def test_who_expects_nobody_makes_the_first_record() -> None:
    assert isinstance(changed(None, Change(record=RECORD, if_version=ABSENT)), Known)
    assert changed(None, Change(record=RECORD, if_version=1)) == Refused(Reason.VERSION_CONFLICT, {"facts_version": 0})


@pytest.mark.parametrize(
    ("older", "field"),
    [
        (Change(bureau=report(4)), "bureau/as_of"),
        (Change(topups=TopUps(as_of=NOW - 4 * DAY, monthly=5)), "topups/as_of"),
        (Change(consents=Consents(terms=agreed(4))), "consents/terms/at"),
        (Change(consents=Consents(recovery=agreed(1), terms=agreed(4, given=False))), "consents/terms/at"),
    ],
)
def test_an_older_word_never_replaces_a_newer_one(older: Change, field: str) -> None:
    made = known(
        Change(
            bureau=report(3),
            topups=TopUps(as_of=NOW - 3 * DAY, monthly=9),
            consents=Consents(terms=agreed(3)),
        )
    )
    refused = changed(made, older)
    assert refused == Refused(Reason.FACTS_OLDER, {"field": field, "known_as_of": "2026-02-27T09:30:00.000000Z"})


def test_a_word_of_the_same_instant_is_put_right() -> None:
    made = changed(known(Change(bureau=report(3, score=640))), Change(bureau=report(3, score=604)))
    assert isinstance(made, Known)
    assert made.said.bureau == report(3, score=604)


def test_a_consent_is_withdrawn_and_the_others_stay() -> None:
    given_ = Change(consents=Consents(terms=agreed(5), bureau=agreed(5)))
    made = known(given_, Change(consents=Consents(bureau=agreed(1, given=False))))
    assert made.said.consents == Consents(terms=agreed(5), bureau=agreed(1, given=False))


def any_change() -> st.SearchStrategy[Change]:
    days = st.integers(0, 3)
    parts: dict[str, st.SearchStrategy[Any]] = {
        "record": st.none() | st.builds(CustomerRecord, kyc_tier=st.integers(1, 3)),
        "bureau": st.none() | st.builds(report, days, st.integers(600, 601)),
        "topups": st.none() | days.map(lambda ago: TopUps(as_of=NOW - ago * DAY, monthly=ago)),
        "consents": st.builds(Consents, terms=st.none() | days.map(agreed)),
        "if_version": st.none() | st.integers(0, 3),
    }
    return st.builds(Change, **parts)


@given(st.lists(any_change(), max_size=12))
def test_versions_have_no_gap_and_no_source_goes_back(changes: list[Change]) -> None:
    found: Known | None = None
    for change in changes:
        after = changed(found, change)
        if isinstance(after, Refused):
            continue
        if after is not found:
            assert after.version == (1 if found is None else found.version + 1)
        if found is not None and found.said.bureau is not None:
            assert after.said.bureau is not None
            assert after.said.bureau.as_of >= found.said.bureau.as_of
        assert changed(after, change) is after
        found = after
