"""Networks: each with its own kill switch, as data of a policy. And consent: a rule like any other."""

import json
from typing import Any

import msgspec
import pytest
from tests.domain.policy_model import NOW, compiled, facts, shipped

from amana.domain.decision import CompiledPolicy, Decision, DecisionInputs, assess, canonical, decide, replay
from amana.domain.facts import FactValue
from amana.domain.policy import Outcome, Policy, policy_bytes, policy_from, policy_hash
from amana.domain.policy_checks import check_policy
from amana.domain.pricing import Terms

WORDS = {"network_not_served": "We do not lend over your network."}
LISTED = [{"id": "mtn", "lending": True}, {"id": "9mobile", "lending": False}]


def document(networks: list[dict[str, Any]], **reasons: str) -> Policy:
    """The airtime policy over these networks, with more reasons worded."""
    plain = json.loads(policy_bytes(shipped("airtime")))
    plain["networks"] = networks
    plain["reasons"] |= reasons
    return policy_from(json.dumps(plain).encode())


NETWORKED = compiled(document(LISTED, **WORDS))
PLAIN = compiled(shipped("airtime"))


BEST: dict[str, FactValue] = {"loans_closed": 100, "loans_total": 100}
"""Who loses no points is told no factor."""


def decided(policy: CompiledPolicy, network: str | None, changes: dict[str, FactValue] | None = None) -> Decision:
    return decide(policy, assess(policy, facts(BEST | (changes or {})), NOW), 10_000, network=network)


@pytest.mark.parametrize(
    ("network", "reasons"),
    [
        ("mtn", ()),
        ("9mobile", ("lending_off",)),
        ("glo", ("network_not_served",)),
        ("", ("network_not_served",)),
        ("MTN", ("network_not_served",)),
        (None, ("network_not_served",)),
    ],
)
def test_where_networks_are_listed_only_one_that_lends_is_lent_over(network: str | None, reasons: Any) -> None:
    made = decided(NETWORKED, network)
    assert made.reasons == reasons
    assert made.outcome is (Outcome.DECLINE if reasons else Outcome.APPROVE)
    assert (made.limit == 0, made.price is None) == (bool(reasons), bool(reasons))


@pytest.mark.parametrize("network", [None, "mtn", "no such network"])
def test_where_none_is_listed_a_network_means_nothing(network: str | None) -> None:
    assert canonical(decided(PLAIN, network)) == canonical(decided(PLAIN, None))
    assert decided(PLAIN, network).outcome is Outcome.APPROVE


def test_the_network_is_told_first_and_each_reason_once() -> None:
    assert decided(NETWORKED, "glo", {"blocked": True}).reasons[:2] == ("network_not_served", "customer_blocked")
    off = compiled(msgspec.structs.replace(NETWORKED.document, lending=False))
    assert decided(off, "9mobile").reasons == ("lending_off",)
    assert decided(off, "glo").reasons == ("network_not_served", "lending_off")
    assert decided(off, "mtn").reasons == ("lending_off",)


def test_given_terms_are_held_to_the_network_too() -> None:
    made = assess(NETWORKED, facts(BEST), NOW)
    answer = decide(NETWORKED, made, 10_000, terms=Terms(fee=100, term_days=14), network="9mobile")
    assert (answer.outcome, answer.reasons) == (Outcome.DECLINE, ("lending_off",))


def test_a_decision_over_a_network_is_made_again_from_its_inputs() -> None:
    def inputs(network: str | None) -> DecisionInputs:
        return DecisionInputs(
            facts=facts(BEST), now=NOW, amount=10_000, term_days=None, terms=None, policy_hash=NETWORKED.hash,
            policy_version=1, network=network,
        )  # fmt: skip

    stored = canonical(inputs("9mobile"))
    assert replay(NETWORKED, msgspec.json.decode(stored, type=DecisionInputs))[1] == decided(NETWORKED, "9mobile")
    assert b"network" not in canonical(inputs(None))
    assert replay(NETWORKED, inputs("mtn"))[1].outcome is Outcome.APPROVE


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("airtime", "d1fdfff12e777a37294cbb9e8d41cdc5f1edcdf253f1e87d8ad4fda8f648bcff"),
        ("bnpl", "0998f71328671d6767d7415187396f2bad06e72c53f00a41a0fc2c7a91607874"),
        ("nano", "650ddd5b0f74d4f4f50dcb4d8585ac0f00fe3b1e4eb4ec0f45df51eccf9a08bf"),
    ],
)
def test_a_document_without_networks_keeps_the_hash_that_it_had_before_there_were_any(name: str, digest: str) -> None:
    assert policy_hash(policy_bytes(shipped(name))) == digest


def test_an_empty_list_of_networks_is_none_and_a_listed_one_is_part_of_the_hash() -> None:
    assert policy_bytes(document([])) == policy_bytes(shipped("airtime"))
    listed = policy_bytes(document(LISTED, **WORDS))
    assert json.loads(listed)["networks"] == LISTED
    assert policy_from(listed) == NETWORKED.document


def test_the_reason_of_a_network_is_worded_exactly_where_it_can_be_given() -> None:
    assert check_policy(NETWORKED.document) == []
    assert [(f.pointer, f.code) for f in check_policy(document(LISTED))] == [("/reasons", "unworded")]
    unreachable = check_policy(document([], **WORDS))
    assert [(f.pointer, f.code) for f in unreachable] == [("/reasons/network_not_served", "unreachable")]


def test_a_network_is_listed_once() -> None:
    faults = check_policy(document([*LISTED, LISTED[0]], **WORDS))
    assert [(f.pointer, f.code) for f in faults] == [("/networks/2/id", "duplicate")]


@pytest.mark.parametrize(
    "networks",
    [
        [{"id": "MTN", "lending": True}],
        [{"id": "mtn\n", "lending": True}],
        [{"id": "mtn"}],
        [{"id": "mtn", "lending": 1}],
        [{"id": "mtn", "lending": True, "cap": 1}],
        [{"id": f"n{at}", "lending": True} for at in range(51)],
    ],
)
def test_networks_of_another_shape_are_no_policy(networks: list[dict[str, Any]]) -> None:
    with pytest.raises(msgspec.ValidationError):
        document(networks)


@pytest.mark.parametrize(("given_consent", "reason"), [(True, None), (False, "no_consent"), (None, "consent_unknown")])
def test_a_consent_that_is_needed_is_a_rule_over_a_boolean_fact(given_consent: FactValue, reason: str | None) -> None:
    plain = json.loads(policy_bytes(shipped("airtime")))
    plain["rules"].append(
        {"id": "consented", "fact": "consent_terms", "op": "eq", "value": False, "precedence": 5,
         "reason": "no_consent", "on_missing": "decline", "missing_reason": "consent_unknown"}
    )  # fmt: skip
    plain["reasons"] |= {"no_consent": "We need your consent.", "consent_unknown": "We need your consent."}
    policy = policy_from(json.dumps(plain).encode())
    assert check_policy(policy) == []
    made = decided(compiled(policy), None, {"consent_terms": given_consent})
    assert (made.reasons[0] if made.reasons else None) == reason
    assert made.outcome is (Outcome.APPROVE if reason is None else Outcome.DECLINE)
