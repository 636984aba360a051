"""Verdicts in one process: bounded, aged, and never older than what was forgotten."""

from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.domain.policy_model import NOW, compiled, facts, shipped

from amana.domain.decision import assess, decide, verdict_of
from amana.eligibility import memory as module
from amana.eligibility.memory import Memory, Slot

POLICY = compiled(shipped("nano"))
ASSESSMENT = assess(POLICY, facts(), NOW)
VERDICT = verdict_of(ASSESSMENT, UUID(int=7))
TTL_S = 5.0


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def slot(customer: UUID, product: str = "nano", tenant: int = 1) -> Slot:
    return Slot(tenant, customer, product, POLICY.hash)


def memory(entries_max: int = 100, *, hears: bool = True) -> tuple[Memory, Clock]:
    clock = Clock()
    made = Memory(entries_max, TTL_S, 1.0, clock)
    made.clear(hears=hears)
    return made, clock


@given(st.integers(1, 2**53 - 1), st.sampled_from([None, 15, 30, 60, 90, 7]))
def test_a_verdict_answers_as_its_assessment_does(amount: int, term_days: int | None) -> None:
    assert decide(POLICY, VERDICT, amount, term_days) == decide(POLICY, ASSESSMENT, amount, term_days)


def test_an_entry_ends_at_its_time_or_a_fifth_earlier() -> None:
    kept, clock = memory(entries_max=200)
    for _ in range(200):
        kept.put(slot(uuid4()), VERDICT, kept.tick, TTL_S)
    places = [where for where, _ in kept.sample(200)]
    clock.now_s = TTL_S * (1 - module.JITTER) - 0.01
    assert all(kept.get(where) for where in places)
    clock.now_s = TTL_S * (1 - module.JITTER / 2)
    assert 50 < sum(kept.get(where) is not None for where in places) < 150
    clock.now_s = TTL_S
    assert not any(kept.get(where) for where in places)


def test_who_can_not_hear_what_others_forget_keeps_it_for_a_second() -> None:
    kept, clock = memory(hears=False)
    ada = slot(uuid4())
    kept.put(ada, VERDICT, kept.tick, TTL_S)
    assert kept.get(ada)
    clock.now_s = 1.0
    assert kept.get(ada) is None


def test_what_was_kept_is_gone_when_the_channel_was_lost_and_when_it_is_back() -> None:
    kept, _ = memory()
    for hears in (False, True):
        ada, begun = slot(uuid4()), kept.tick
        kept.put(ada, VERDICT, begun, TTL_S)
        kept.clear(hears=hears)
        kept.put(ada, VERDICT, begun, TTL_S)  # begun before
        assert (kept.get(ada), len(kept)) == (None, 0)


def test_forgetting_drops_every_product_of_a_customer_and_of_nobody_else() -> None:
    kept, _ = memory()
    ada, bola = uuid4(), uuid4()
    mine, others = [slot(ada), slot(ada, "airtime")], [slot(bola), slot(ada, tenant=2)]
    for where in (*mine, *others):
        kept.put(where, VERDICT, kept.tick, TTL_S)
    kept.forget(1, ada)
    assert [kept.get(where) is None for where in (*mine, *others)] == [True, True, False, False]


def test_what_was_begun_before_it_was_forgotten_is_not_kept_however_many_were_forgotten_since(monkeypatch) -> None:
    monkeypatch.setattr(module, "FLOORS_MAX", 3)
    kept, _ = memory()
    ada, begun = uuid4(), kept.tick
    kept.forget(1, ada)
    for _ in range(10):
        kept.forget(1, uuid4())
    kept.put(slot(ada), VERDICT, begun, TTL_S)
    assert kept.get(slot(ada)) is None
    kept.put(slot(ada), VERDICT, kept.tick, TTL_S)
    assert kept.get(slot(ada)) == VERDICT


def test_there_are_never_more_entries_than_may_be_and_the_oldest_goes_first() -> None:
    kept, _ = memory(entries_max=3)
    slots = [slot(uuid4()) for _ in range(5)]
    for where in slots:
        kept.put(where, VERDICT, kept.tick, TTL_S)
    assert [kept.get(where) is not None for where in slots] == [False, False, True, True, True]
    kept.put(slots[2], replace(VERDICT, headroom=1), kept.tick, TTL_S)
    assert len(kept) == 3


def test_texts_are_kept_once() -> None:
    kept, _ = memory()
    other = replace(VERDICT, factors=tuple(str(factor) for factor in VERDICT.factors))
    one, two = slot(uuid4()), slot(uuid4())
    kept.put(one, VERDICT, kept.tick, TTL_S)
    kept.put(two, other, kept.tick, TTL_S)
    first, second = kept.get(one), kept.get(two)
    assert first and second and first.factors is second.factors


def test_what_ended_is_dropped_when_a_sample_is_taken() -> None:
    kept, clock = memory()
    old, again, new = slot(uuid4()), slot(uuid4()), slot(uuid4())
    for where in (old, again):
        kept.put(where, VERDICT, kept.tick, TTL_S)
    clock.now_s = TTL_S
    for where in (again, new):
        kept.put(where, VERDICT, kept.tick, TTL_S)
    assert {where for where, _ in kept.sample(10)} == {again, new}
    assert len(kept) == 2


def test_a_sample_reaches_every_entry_and_none_twice() -> None:
    kept, _ = memory()
    slots = [slot(uuid4()) for _ in range(10)]
    for where in slots:
        kept.put(where, VERDICT, kept.tick, TTL_S)
    drawn = [[where for where, _ in kept.sample(4)] for _ in range(400)]
    assert all(len(set(sample)) == len(sample) == 4 for sample in drawn)
    counts = [sum(where in sample for sample in drawn) for where in slots]
    assert min(counts) > 80  # 160 are expected of each
    assert {where for where, _ in kept.sample(100)} == set(slots)
