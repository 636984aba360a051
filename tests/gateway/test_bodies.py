"""Bodies that are kept decoded: as many as have a place, and others when these have had theirs for long."""

from amana.gateway.bodies import BODIES_MAX, BODY_MAX_BYTES, LIFE_S, Bodies


def test_a_body_that_was_kept_is_found_and_another_is_not() -> None:
    bodies = Bodies()
    bodies.keep(b'{"a":1}', "one")
    assert bodies.get(b'{"a":1}') == "one"
    assert bodies.get(b'{"a":2}') is None


def test_a_large_body_is_not_kept() -> None:
    bodies = Bodies()
    for size in (BODY_MAX_BYTES, BODY_MAX_BYTES + 1):
        bodies.keep(b"x" * size, size)
    assert list(bodies.values()) == [BODY_MAX_BYTES]


def test_those_that_came_first_stay_for_a_while_and_then_make_place_for_others() -> None:
    now_s = 1_000.0
    bodies = Bodies(lambda: now_s)
    for number in range(2 * BODIES_MAX):
        bodies.keep(b"%d" % number, number)
    assert list(bodies.values()) == list(range(BODIES_MAX))
    now_s += LIFE_S
    bodies.keep(b"other", "other")
    assert list(bodies) == [b"other"]
