"""The fixed shape of a decision's event: the bytes of RFC 8785, those of plain data, and nothing unfit in them."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from amana.domain.decision import RuleState
from amana.domain.decision_event import DecisionData, PolicyData, PriceData, SaidData, TermsData
from amana.domain.events import MAX_INTEGER, Aggregate, Event, event_bytes
from amana.domain.policy import Outcome

names = st.text(st.characters(max_codepoint=127), max_size=12)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numbers = st.integers(-MAX_INTEGER, MAX_INTEGER)
some = st.none() | numbers
values = st.none() | st.booleans() | numbers | texts
facts = st.builds(SaidData, texts, st.dictionaries(names, values, max_size=4))
decisions = st.builds(
    DecisionData,
    amount=numbers,
    as_of=texts,
    as_of_past=st.booleans(),
    band=texts,
    caps=st.dictionaries(names, some, max_size=4),
    currency=st.sampled_from(["NGN", "USD"]),
    customer=st.uuids(),
    exposure=numbers,
    exposure_cap=numbers,
    facts=st.dictionaries(names, facts, max_size=4),
    facts_version=numbers,
    headroom=numbers,
    ledger_through=st.just(msgspec.UNSET) | texts,
    limit=numbers,
    network=st.just(msgspec.UNSET) | texts,
    offer_id=st.none() | st.uuids(),
    outcome=st.sampled_from(Outcome),
    points=st.dictionaries(names, numbers, max_size=4),
    policy=st.builds(PolicyData, texts, texts, numbers),
    price=st.none() | st.builds(PriceData, numbers, numbers, numbers, numbers, numbers),
    product=texts,
    reasons=st.lists(texts, max_size=3).map(tuple),
    request_to_borrow=st.booleans(),
    rules=st.dictionaries(names, st.sampled_from(RuleState), max_size=4),
    score=numbers,
    term_days=some,
    terms=st.none() | st.builds(TermsData, numbers, numbers),
)


def event(data: Any) -> Event:
    about = Aggregate("decision", UUID("01890000-0000-7000-8000-000000000002"), 1)
    moment = datetime(2026, 3, 2, 12, tzinfo=UTC)
    return Event(UUID("01890000-0000-7000-8000-000000000001"), 1, "DecisionMade", 1, moment, about, "key", "", data)


@given(decisions)
def test_a_decisions_fixed_shape_has_the_bytes_of_rfc_8785_and_of_plain_data(decision: DecisionData) -> None:
    body = event_bytes(event(decision))
    data = json.loads(body)["data"]
    assert body == rfc8785.dumps(json.loads(body))
    assert body == event_bytes(event(data))
    assert ("network" in data, "ledger_through" in data) == (
        decision.network is not msgspec.UNSET,
        decision.ledger_through is not msgspec.UNSET,
    )


PLAIN = DecisionData(
    amount=1,
    as_of="",
    as_of_past=False,
    band="a",
    caps={"product": 1},
    currency="NGN",
    customer=UUID("01890000-0000-7000-8000-000000000003"),
    exposure=0,
    exposure_cap=1,
    facts={"customer": SaidData("", {"kyc_tier": 1})},
    facts_version=1,
    headroom=1,
    limit=1,
    offer_id=None,
    outcome=Outcome.APPROVE,
    points={"identity": 1},
    policy=PolicyData("0", "nano", 1),
    price=PriceData(1, 1, 1, 1, 1),
    product="nano",
    reasons=(),
    request_to_borrow=False,
    rules={"adult": RuleState.PASSED},
    score=1,
    term_days=None,
    terms=TermsData(1, 1),
)
UNFIT: Any = [1.0, float("nan"), MAX_INTEGER + 1, -MAX_INTEGER - 1, 2**64, b"bytes", [1]]
COUNTS = ("amount", "exposure", "exposure_cap", "facts_version", "headroom", "limit", "score", "term_days")


@pytest.mark.parametrize("bad", UNFIT)
def test_no_value_that_is_unfit_gets_into_a_decisions_event(bad: Any) -> None:
    assert event_bytes(event(PLAIN))
    spoilt: list[dict[str, Any]] = [{name: bad} for name in COUNTS]
    spoilt += [{"caps": {"a": bad}}, {"points": {"a": 0, "b": bad}}, {"facts": {"a": SaidData("", {"b": bad})}}]
    spoilt += [{"policy": PolicyData("", "", bad)}, {"price": PriceData(1, 1, bad, 1, 1)}, {"terms": TermsData(bad, 1)}]
    for change in spoilt:
        with pytest.raises(AssertionError):
            event_bytes(event(msgspec.structs.replace(PLAIN, **change)))


@pytest.mark.parametrize("name", ["caps", "points", "facts", "rules"])
def test_every_name_in_a_decisions_event_is_ascii(name: str) -> None:
    (value,) = getattr(PLAIN, name).values()
    with pytest.raises(AssertionError, match="not ASCII"):
        event_bytes(event(msgspec.structs.replace(PLAIN, **{name: {"naïve": value}})))


def test_every_name_of_a_fact_is_ascii() -> None:
    with pytest.raises(AssertionError, match="not ASCII"):
        event_bytes(event(msgspec.structs.replace(PLAIN, facts={"customer": SaidData("", {"naïve": 1})})))
