"""The life of a policy version: which states there are, and which step is refused in which of them."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.domain.policy_model import NOW

from amana.domain.policy_life import (
    TICK,
    WITHDRAWAL_NOTICE,
    PolicyLife,
    PolicyState,
    refuse_approval,
    refuse_withdrawal,
    start_of,
    state_of,
)
from amana.domain.reasons import Reason

HOUR = timedelta(hours=1)
APPROVED = {"approved_by": "second", "approved_at": NOW - HOUR, "valid_from": NOW - HOUR}
WITHDRAWN = {"withdrawn_by": "author", "withdrawn_at": NOW}


def life(**steps: Any) -> PolicyLife:
    drafted: dict[str, Any] = {"drafted_by": "author", "drafted_at": NOW - 2 * HOUR, "restores": None}
    return PolicyLife(product="nano", version=2, hash="0" * 64, **drafted, **steps)


def scheduled(start: datetime) -> PolicyLife:
    return life(**APPROVED | {"valid_from": start})


@pytest.mark.parametrize(
    ("version", "live", "state"),
    [
        (life(), 1, PolicyState.VALIDATED),
        (life(**WITHDRAWN), 1, PolicyState.WITHDRAWN),
        (scheduled(NOW + HOUR), 1, PolicyState.SCHEDULED),
        (life(**APPROVED | WITHDRAWN), 1, PolicyState.WITHDRAWN),
        (life(**APPROVED), 2, PolicyState.LIVE),
        (life(**APPROVED), 3, PolicyState.RETIRED),
        (life(**APPROVED), 1, PolicyState.RETIRED),
    ],
)
def test_the_state_follows_from_the_steps_and_what_decides(version: PolicyLife, live: int, state: PolicyState) -> None:
    assert state_of(version, live, NOW) is state


@pytest.mark.parametrize(
    ("version", "approver", "reason"),
    [
        (life(), "second", None),
        (life(), "author", Reason.APPROVER_IS_AUTHOR),
        (life(**APPROVED), "author", Reason.POLICY_APPROVED),
        (life(**APPROVED), "third", Reason.POLICY_APPROVED),
        (life(**WITHDRAWN), "second", Reason.POLICY_WITHDRAWN),
        (life(**APPROVED | WITHDRAWN), "author", Reason.POLICY_WITHDRAWN),
    ],
)
def test_a_draft_is_approved_once_by_another_key(version: PolicyLife, approver: str, reason: Reason | None) -> None:
    assert refuse_approval(version, approver) is reason


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        (life(), None),
        (scheduled(NOW + HOUR), None),
        (scheduled(NOW + WITHDRAWAL_NOTICE + TICK), None),
        (scheduled(NOW + WITHDRAWAL_NOTICE), Reason.POLICY_STARTED),
        (life(**APPROVED), Reason.POLICY_STARTED),
        (life(**APPROVED | WITHDRAWN), Reason.POLICY_WITHDRAWN),
    ],
)
def test_only_what_starts_no_sooner_than_a_withdrawal_takes_is_withdrawn(
    version: PolicyLife, reason: Reason | None
) -> None:
    assert refuse_withdrawal(version, NOW) is reason


@pytest.mark.parametrize(
    ("asked", "last", "start"),
    [
        (None, None, NOW),
        (None, NOW - HOUR, NOW),
        (NOW - HOUR, None, NOW),
        (NOW + HOUR, NOW - HOUR, NOW + HOUR),
        # The clock went back since the last start.
        (None, NOW, NOW + TICK),
        (None, NOW + HOUR, NOW + HOUR + TICK),
        (NOW + HOUR, NOW + 2 * HOUR, NOW + 2 * HOUR + TICK),
    ],
)
def test_a_start_is_never_in_the_past_nor_before_the_last_one(
    asked: datetime | None, last: datetime | None, start: datetime
) -> None:
    assert start_of(asked, NOW, last) == start
