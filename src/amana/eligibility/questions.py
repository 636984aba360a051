"""Plain questions: looked up in the cache and, where nothing is there, computed once for all who ask meanwhile.

    the live policy, as this process knows it  →  the cache, for all who ask now  →  a check, computed and recorded

No question has a task of its own: each step is called back when the batch that it rode in is over. What is found out
for several belongs to none of them: whoever leaves, or has no more time, leaves the others what they wait for.
"""

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import TypeAlias

from amana.domain.decision import Assessment, CompiledPolicy, verdict_of
from amana.domain.money import Currency
from amana.domain.reasons import Reason
from amana.domain.transfer import Refused
from amana.eligibility.answers import Answer, Quotable, Result, told_again
from amana.eligibility.cache import AssessmentCache, Seen
from amana.eligibility.memory import Kept, Place, Slot
from amana.eligibility.policies import Policies
from amana.eligibility.projection import may_be_cached
from amana.eligibility.records import Check
from amana.infra import clock, deadline
from amana.infra.following import following

Told: TypeAlias = Quotable | Refused


def refuse_policy(check: Check, policy: CompiledPolicy | None) -> Refused | None:
    """Why the policy, None where there is none, decides nothing about this check."""
    if policy is None:
        return Refused(Reason.PRODUCT_NOT_FOUND)
    if policy.document.currency != check.currency:
        return Refused(Reason.CURRENCY_MISMATCH, {"currency": str(policy.document.currency)})
    return None


def slot_of(check: Check, policy: CompiledPolicy) -> Slot:
    """Where the answer to a plain question is kept."""
    return Slot(check.tenant, check.customer, check.product, policy.hash)


class _Question:
    """One question and the future of what is told of it."""

    __slots__ = ("check", "future", "is_recent", "key", "policy", "seen", "slot")
    policy: CompiledPolicy
    is_recent: bool
    slot: Slot
    seen: Seen

    def __init__(self, check: Check, key: tuple[Place, Currency], future: "asyncio.Future[Told]") -> None:
        self.check = check
        self.key = key
        self.future = future


class Questions:
    """The plain questions of one process. `compute` queues a check."""

    def __init__(
        self, cache: AssessmentCache, policies: Policies, compute: "Callable[[Check], asyncio.Future[Result]]"
    ) -> None:
        self._cache = cache
        self._policies = policies
        self._compute = compute
        self._under_way: dict[tuple[Place, Currency], asyncio.Future[Told]] = {}
        self._asking: set[asyncio.Task[None]] = set()

    def ask(self, check: Check) -> "asyncio.Future[Told]":
        """What is told; to cancel it stops nothing that somebody else waits for. Raises `DeadlineExceeded`."""
        key = (check.tenant, check.product, check.customer.int), check.currency
        first = self._under_way.get(key)
        if first is not None:
            return following(first, told_again)
        loop = asyncio.get_running_loop()
        question = _Question(check, key, loop.create_future())
        told = following(question.future)
        self._under_way[key] = question.future
        if deadline.current() is None:
            self._begin(question)
        else:  # whoever else waits for it has another
            copy_context().run(self._begin_unbounded, question)
        return told

    async def drain(self) -> None:
        """Waits for all that is under way."""
        if self._under_way:
            await asyncio.wait(list(self._under_way.values()))

    def _begin_unbounded(self, question: _Question) -> None:
        deadline.enter(None)
        self._begin(question)

    def _begin(self, question: _Question) -> None:
        check = question.check
        known = self._policies.known(check.tenant, check.product)
        if known is not None:
            self._look_up(question, *known)
            return
        task = asyncio.create_task(self._ask_for_policy(question))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _ask_for_policy(self, question: _Question) -> None:
        check = question.check
        try:
            policy = await self._policies.recent(check.tenant, check.product)
        except (Exception, asyncio.CancelledError) as error:
            self._fail(question, error)
        else:
            self._look_up(question, policy, is_recent=True)

    def _look_up(self, question: _Question, policy: CompiledPolicy | None, is_recent: bool) -> None:
        refused = refuse_policy(question.check, policy)
        if policy is None or refused is not None:
            self._tell(question, refused or Refused(Reason.PRODUCT_NOT_FOUND))
            return
        question.policy, question.is_recent = policy, is_recent
        try:
            question.slot = slot_of(question.check, policy)
            found = self._cache.find(question.slot, clock.now())
        except Exception as error:  # else the question would stay under way, and whoever asks it wait in vain
            self._fail(question, error)
        else:
            found.add_done_callback(partial(self._looked_up, question))

    def _looked_up(self, question: _Question, found: "asyncio.Future[tuple[Kept | None, Seen]]") -> None:
        try:
            kept, question.seen = found.result()
            if kept is not None:
                self._tell(question, Quotable(question.policy, kept, not question.is_recent))
                return
            self._compute(question.check).add_done_callback(partial(self._computed, question))
        except (Exception, asyncio.CancelledError) as error:
            self._fail(question, error)

    def _computed(self, question: _Question, computed: "asyncio.Future[Result]") -> None:
        try:
            answer = computed.result()
            told = answer if isinstance(answer, Refused) else self._kept(question, answer)
        except (Exception, asyncio.CancelledError) as error:
            self._fail(question, error)
        else:
            self._tell(question, told)

    def _kept(self, question: _Question, answer: Answer) -> Quotable:
        """Keeps a computed answer, unless it says too little for long, or the policy changed meanwhile."""
        assessment = answer.assessment
        assert isinstance(assessment, Assessment), "what is computed is no verdict"
        verdict, policy = verdict_of(assessment, answer.decision_id), answer.policy
        if policy is question.policy and may_be_cached(assessment):
            kept = self._cache.put(question.slot, question.seen, verdict, clock.now())
        else:
            kept = self._cache.memory.described(verdict, policy.hash)
        return Quotable(policy, kept, answer.degraded, answer)

    def _tell(self, question: _Question, told: Told) -> None:
        del self._under_way[question.key]
        question.future.set_result(told)

    def _fail(self, question: _Question, error: BaseException) -> None:
        del self._under_way[question.key]
        question.future.set_exception(error)
        question.future.exception()  # whoever waited has it; nobody need have
