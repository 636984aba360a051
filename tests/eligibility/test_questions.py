"""Plain questions: computed once for all who ask meanwhile, whoever of them leaves, has no more time, or fails."""

import asyncio
import time
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from tests.domain.policy_model import NOW, compiled, facts, shipped

from amana.domain.decision import assess, decide
from amana.domain.money import Currency
from amana.domain.reasons import Reason
from amana.domain.transfer import Refused
from amana.eligibility.answers import Answer, Quotable, Result
from amana.eligibility.cache import AssessmentCache
from amana.eligibility.memory import Memory
from amana.eligibility.policies import Policies
from amana.eligibility.questions import Questions
from amana.eligibility.records import Check
from amana.infra import deadline
from amana.infra.cache import Cache
from amana.infra.collector import Overloaded
from amana.infra.deadline import DeadlineExceeded

POLICY = compiled(shipped("nano"))
ADA = uuid4()


def check(amount: int = 1_000_000, customer: UUID = ADA, **more: object) -> Check:
    asked: dict[str, object] = {"product": "nano", "currency": Currency.NGN} | more
    return Check(tenant=1, actor="tests", trace="", id=None, customer=customer, amount=amount, **asked)  # type: ignore[arg-type]  # as given


def computed(asked: Check) -> Answer:
    assessment = assess(POLICY, facts(), NOW)
    return Answer(uuid4(), POLICY, assessment, decide(POLICY, assessment, asked.amount), NOW, NOW)


class Desk:
    """Questions without a database or a server; `queued` are the checks that are to be computed, each until when."""

    def __init__(self, *, knows: bool = True) -> None:
        self.policies = Policies(None, clock_s=lambda: 0.0)  # type: ignore[arg-type] # no database is asked
        if knows:
            self.policies._compiled[1, "nano", POLICY.version] = POLICY
            self.policies._pointers[1, "nano"] = (POLICY.version, 0.0)
        self.queued: list[tuple[Check, float | None, asyncio.Future[Result]]] = []
        self.sheds = False
        self.questions = Questions(AssessmentCache(Cache(""), Memory(10, 5.0, 5.0), 5_000), self.policies, self._queue)
        self.ask = self.questions.ask

    def _queue(self, asked: Check) -> "asyncio.Future[Result]":
        if self.sheds:
            raise Overloaded
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self.queued.append((asked, deadline.current(), future))
        return future

    async def compute(self, answer: Callable[[Check], Result] = computed) -> None:
        """Answers what is queued."""
        await turns()
        queued, self.queued = self.queued, []
        for asked, _, future in queued:
            future.set_result(answer(asked))
        await turns()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_asks_meanwhile_waits_for_the_first_and_is_told_what_follows_for_them() -> None:
    desk = Desk()
    first, second, other = desk.ask(check()), desk.ask(check(2_000_000)), desk.ask(check(customer=uuid4()))
    await turns()
    assert [asked.customer == ADA for asked, _, _ in desk.queued] == [True, False]
    await desk.compute()
    one, two = first.result(), second.result()
    assert isinstance(one, Quotable) and isinstance(two, Quotable) and isinstance(other.result(), Quotable)
    mine, theirs = one.quoted((1_000_000, None, None)), two.quoted((2_000_000, None, None))
    assert (mine.source, theirs.source) == ("fresh", "cache")
    assert (mine.decision.amount, theirs.decision.amount) == (1_000_000, 2_000_000)
    assert mine.decision_id == theirs.decision_id


async def test_who_leaves_takes_the_answer_from_nobody() -> None:
    desk = Desk()
    first, second = desk.ask(check()), desk.ask(check())
    first.cancel()
    await desk.compute()
    assert isinstance(second.result(), Quotable)


async def test_no_deadline_of_one_is_anothers() -> None:
    desk = Desk()
    deadline.enter(time.monotonic() + 0.5)
    hurried = desk.ask(check())
    deadline.enter(None)
    patient = desk.ask(check())
    with pytest.raises(DeadlineExceeded):
        await hurried
    await turns()
    assert [until_s for _, until_s, _ in desk.queued] == [None]
    await desk.compute()
    assert isinstance(patient.result(), Quotable)


async def test_who_has_no_time_left_begins_nothing() -> None:
    desk = Desk()
    deadline.enter(time.monotonic() - 1)
    with pytest.raises(DeadlineExceeded):
        desk.ask(check())
    deadline.enter(None)
    await turns()
    assert desk.queued == []
    again = desk.ask(check())
    await desk.compute()
    assert isinstance(again.result(), Quotable)


async def test_what_can_not_be_queued_fails_for_all_who_ask_and_is_asked_anew() -> None:
    desk = Desk()
    desk.sheds = True
    shed = [desk.ask(check()), desk.ask(check())]
    await turns()
    assert [type(one.exception()) for one in shed] == [Overloaded, Overloaded]
    desk.sheds = False
    again = desk.ask(check())
    await desk.compute()
    assert isinstance(again.result(), Quotable)


async def test_what_goes_wrong_is_told_to_all_who_ask_and_is_asked_anew() -> None:
    desk = Desk()
    asked = [desk.ask(check()), desk.ask(check())]
    await turns()
    desk.queued.pop()[2].set_exception(ValueError("a bug"))
    await turns()
    assert [str(one.exception()) for one in asked] == ["a bug", "a bug"]
    again = desk.ask(check())
    await desk.compute(lambda _: Refused(Reason.CUSTOMER_NOT_FOUND))
    assert again.result() == Refused(Reason.CUSTOMER_NOT_FOUND)


async def test_a_look_up_that_breaks_is_told_and_the_question_is_asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(AssessmentCache, "find", broken)
        with pytest.raises(RuntimeError, match="a bug"):
            await desk.ask(check())
    again = desk.ask(check())
    await desk.compute()
    assert isinstance(again.result(), Quotable)


async def test_a_batch_that_is_cancelled_leaves_nobody_waiting() -> None:
    desk = Desk()
    asked = desk.ask(check())
    await turns()
    desk.queued.pop()[2].cancel()
    await turns()
    assert asked.done()
    await asyncio.wait_for(desk.questions.drain(), 1)


async def test_another_currency_is_refused_without_a_computation() -> None:
    desk = Desk()
    refused = await desk.ask(check(currency=Currency.USD))
    assert isinstance(refused, Refused) and refused.reason is Reason.CURRENCY_MISMATCH
    assert desk.queued == []


async def test_where_no_policy_is_known_and_none_can_be_had_all_who_ask_are_told() -> None:
    desk = Desk(knows=False)  # and it has no database
    asked = [desk.ask(check()), desk.ask(check())]
    failed = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(one, Exception) for one in failed) and desk.queued == []


async def test_a_stop_waits_for_what_is_under_way() -> None:
    desk = Desk()
    asked = desk.ask(check())
    draining = asyncio.create_task(desk.questions.drain())
    await turns()
    assert not draining.done()
    await desk.compute()
    await asyncio.wait_for(draining, 1)
    assert asked.done()
