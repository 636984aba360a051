"""The table of refusals is whole, and every row of it can be answered over HTTP."""

import re
from http import HTTPStatus

import pytest

from amana.domain.reasons import REFUSALS, Reason, Refusal

MAY_BE_RETRIED = {408, 429, 503, 504}
EACH = pytest.mark.parametrize("row", REFUSALS.values(), ids=lambda row: row.reason.value)


def test_every_reason_has_a_row_and_every_row_a_reason() -> None:
    assert list(REFUSALS) == list(Reason)


@EACH
def test_a_code_is_one_lower_case_name(row: Refusal) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", row.reason.value)
    assert row.reason.value == row.reason.name.lower()


@EACH
def test_a_status_says_whose_turn_it_is(row: Refusal) -> None:
    assert 400 <= HTTPStatus(row.status) <= 599


@EACH
def test_what_may_be_retried_says_so_in_its_status_too(row: Refusal) -> None:
    # Not sealed yet is the one conflict that time alone resolves.
    if row.reason is not Reason.NOT_SEALED:
        assert row.retryable == (row.status in MAY_BE_RETRIED)


@EACH
def test_a_meaning_is_a_sentence(row: Refusal) -> None:
    assert re.fullmatch(r"[A-Z].*\.", row.meaning)
    assert len(row.meaning) <= 120
