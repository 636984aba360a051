"""Replies from memory say, byte for byte, what the long way says."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.policy_model import NOW, any_facts, compiled, facts, shipped

from amana.domain.decision import Verdict, assess, compile_policy, decide, verdict_of
from amana.domain.facts import Facts
from amana.domain.money import Currency
from amana.eligibility import memory as memory_module
from amana.eligibility.answers import Answer, Quotable, quoted
from amana.eligibility.cache import AssessmentCache
from amana.eligibility.flow import Flow
from amana.eligibility.memory import Memory, Slot
from amana.eligibility.policies import POINTER_FRESH_S, Policies
from amana.eligibility.quotes import Quotes
from amana.eligibility.records import Check
from amana.eligibility.views import check_view
from amana.infra.cache import Cache
from amana.vault.vault import Vault
from amana.wire.eligibility import CheckRequest, GivenTerms

POLICY = compiled(shipped("nano"))
TENANT = 1
LATER = NOW + timedelta(milliseconds=1_234, microseconds=567)
LATER_US = (LATER - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


class Desk:
    """Quotes over a memory, and a policy that this process knows."""

    def __init__(self, parts_max: int = 100) -> None:
        self.now_s = 0.0
        self.policies = policies = Policies(None, clock_s=lambda: self.now_s)  # type: ignore[arg-type] # no database is asked
        policies._compiled[TENANT, "nano", POLICY.version] = POLICY
        policies._pointers[TENANT, "nano"] = (POLICY.version, 0.0)
        policies.away = True
        self.memory = Memory(1_000, 1e6, 1e6)
        self.memory.clear(hears=True)
        cache = AssessmentCache(Cache(""), self.memory, 60_000)
        flow = Flow(None, None, cache, policies, Vault("", ""))  # type: ignore[arg-type]  # no database, no ledger
        self.quotes = Quotes(flow, parts_max)

    def keep(self, verdict: Verdict) -> UUID:
        customer = uuid4()
        self.memory.put(Slot(TENANT, customer, "nano", POLICY.hash), verdict, self.memory.tick, 1e6)
        return customer

    def reply(self, customer: UUID, amount: int = 1_000_000, **asked: Any) -> bytes | None:
        request = CheckRequest(customer=customer, product="nano", amount=amount, **{"currency": Currency.NGN} | asked)
        return self.quotes.reply(TENANT, request, LATER_US)

    def recalled(
        self,
        customer: UUID,
        verdict: Verdict,
        asked: tuple[int, int | None, str | None],
        *,
        degraded: bool,
        computed: Answer | None = None,
    ) -> bytes:
        amount, term_days, network = asked
        check = Check(
            tenant=TENANT,
            actor="tests",
            trace="",
            id=None,
            customer=customer,
            product="nano",
            amount=amount,
            currency=Currency.NGN,
            term_days=term_days,
            network=network,
        )
        kept = self.memory.described(verdict, POLICY.hash)
        return self.quotes.told(check, Quotable(POLICY, kept, degraded, computed), LATER_US)


def verdict(given: Facts | None = None) -> Verdict:
    return verdict_of(assess(POLICY, given or facts(), NOW), uuid4())


def the_long_way(kept: Verdict, amount: int, term_days: int | None, network: str | None, *, degraded: bool) -> bytes:
    answer = quoted(POLICY, kept, (amount, term_days, network), "memory", degraded=degraded)
    return msgspec.json.encode(check_view(answer, LATER))


AMOUNTS = st.integers(1, 2**53 - 1) | st.integers(1, 120).map(lambda n: n * 100_000)
TERMS = st.sampled_from([None, 7, 15, 30, 60])
NETWORKS = st.sampled_from([None, "mtn", "none-such"])


@given(st.lists(st.tuples(any_facts(), AMOUNTS, TERMS, NETWORKS), min_size=1, max_size=6), st.booleans())
def test_a_reply_is_that_of_the_long_way_whoever_asked_before(asked: list[Any], degraded: bool) -> None:
    desk = Desk()
    desk.now_s = POINTER_FRESH_S if degraded else 0.0
    kept = [(found := verdict(given), desk.keep(found)) for given, *_ in asked]
    for _ in range(2):
        for (one, customer), (_, amount, term_days, network) in zip(kept, asked, strict=True):
            expected = the_long_way(one, amount, term_days, network, degraded=degraded)
            assert desk.reply(customer, amount, term_days=term_days, network=network) == expected


@given(any_facts(), AMOUNTS, TERMS, NETWORKS, st.booleans())
def test_a_reply_from_the_cache_is_that_of_the_long_way_whatever_is_kept_here(
    given_facts: Facts, amount: int, term_days: int | None, network: str | None, degraded: bool
) -> None:
    desk, one, asked = Desk(), verdict(given_facts), (amount, term_days, network)
    answer = quoted(POLICY, one, asked, "cache", degraded=degraded)
    for customer in (uuid4(), desk.keep(one), desk.keep(verdict())):  # the last one has another verdict here
        assert desk.recalled(customer, one, asked, degraded=degraded) == msgspec.json.encode(check_view(answer, LATER))


@given(any_facts(), AMOUNTS, TERMS, NETWORKS)
def test_a_reply_that_was_computed_is_that_of_the_long_way(
    given_facts: Facts, amount: int, term_days: int | None, network: str | None
) -> None:
    desk, id_, assessment = Desk(), uuid4(), assess(POLICY, given_facts, NOW)
    decision = decide(POLICY, assessment, amount, term_days, None, network)
    answer = Answer(id_, POLICY, assessment, decision, NOW, NOW)
    expected = msgspec.json.encode(check_view(answer, LATER))
    asked = amount, term_days, network
    assert desk.recalled(uuid4(), verdict_of(assessment, id_), asked, degraded=False, computed=answer) == expected


def test_what_is_no_plain_question_is_left_to_the_flow() -> None:
    desk = Desk()
    ada = desk.keep(verdict())
    assert desk.reply(ada) is not None
    assert desk.reply(ada, id=uuid4()) is None
    assert desk.reply(ada, as_of=NOW) is None
    assert desk.reply(ada, terms=GivenTerms(fee=1, term_days=30)) is None
    assert desk.reply(ada, currency=Currency.USD) is None
    assert desk.reply(uuid4()) is None


def test_a_lender_is_told_its_own_version_of_a_document_that_others_have_too() -> None:
    desk = Desk()
    again = compile_policy(shipped("nano"), POLICY.version + 1, POLICY.hash)
    desk.policies._compiled[2, "nano", again.version] = again
    desk.policies._pointers[2, "nano"] = (again.version, 0.0)
    ada, one = uuid4(), verdict()
    for tenant in (TENANT, 2):
        desk.memory.put(Slot(tenant, ada, "nano", POLICY.hash), one, desk.memory.tick, 1e6)
    asked = CheckRequest(customer=ada, product="nano", amount=1_000_000, currency=Currency.NGN)
    for tenant, policy in ((TENANT, POLICY), (2, again)) * 2:
        answer = quoted(policy, one, (1_000_000, None, None), "memory", degraded=False)
        assert desk.quotes.reply(tenant, asked, LATER_US) == msgspec.json.encode(check_view(answer, LATER))


def test_what_is_rendered_is_bounded_and_goes_on_being_true() -> None:
    desk = Desk(parts_max=3)
    one = verdict()
    ada = desk.keep(one)
    for amount in [*range(100_000, 1_000_000, 100_000)] * 2:
        assert desk.reply(ada, amount) == the_long_way(one, amount, None, None, degraded=False)
        assert len(desk.quotes._parts) <= 3


def test_standings_that_were_forgotten_give_nobody_the_reply_of_another(monkeypatch: Any) -> None:
    monkeypatch.setattr(memory_module, "STANDINGS_MAX", 2)
    desk = Desk()
    for exposure in [0, 100_000, 200_000, 300_000] * 2:
        one = msgspec.structs.replace(verdict(), exposure=exposure, headroom=7_500_000 - exposure)
        assert desk.reply(desk.keep(one)) == the_long_way(one, 1_000_000, None, None, degraded=False)
