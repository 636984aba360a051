"""Rests follow what the work before them took, within their bounds."""

import pytest

from amana.infra.kafka import GATHER_MAX_S
from amana.infra.pace import REST_FOR_WORK, Pace
from amana.infra.relay import PUBLISH_REST_MAX_S, SEQUENCE_REST_MAX_S

FORGOTTEN_WITHIN_S = 1.0


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def rest_after(worked_s: float) -> float:
    clock = Clock()
    pace = Pace(0.02, 0.1, clock)
    pace.begin()
    clock.now_s += worked_s
    return pace.rest_s()


def test_quick_work_is_followed_by_the_least_rest() -> None:
    assert rest_after(0.001) == 0.02


def test_slower_work_is_followed_by_a_longer_rest() -> None:
    assert rest_after(0.01) == pytest.approx(REST_FOR_WORK * 0.01)


def test_no_rest_is_longer_than_the_most() -> None:
    assert rest_after(60.0) == 0.1


def test_a_clock_that_went_back_shortens_no_rest() -> None:
    assert rest_after(-5.0) == 0.02


def test_without_work_the_rest_is_the_least() -> None:
    clock = Clock()
    pace = Pace(0.02, 0.1, clock)
    assert pace.rest_s() == 0.02
    pace.begin()
    clock.now_s += 0.02
    assert pace.rest_s() == pytest.approx(0.08)
    clock.now_s += 60.0
    assert pace.rest_s() == 0.02, "the work before the last rest counts once"


@pytest.mark.parametrize("bounds", [(-0.1, 0.1), (0.2, 0.1)])
def test_bounds_that_make_no_sense_are_a_bug(bounds: tuple[float, float]) -> None:
    with pytest.raises(AssertionError):
        Pace(*bounds)


def test_the_longest_rests_leave_half_of_the_second_in_which_a_cached_answer_is_forgotten() -> None:
    assert SEQUENCE_REST_MAX_S + PUBLISH_REST_MAX_S + GATHER_MAX_S <= FORGOTTEN_WITHIN_S / 2
