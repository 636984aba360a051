"""The Python that a policy becomes: integers and generated names, whatever the document says."""

import ast
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.domain.policy_model import NOW, SHIPPED, any_facts, compiled, facts, shipped

from amana.domain.decision import RuleState, assess, compile_policy, decide
from amana.domain.facts import Facts
from amana.domain.policy import SystemReason
from amana.domain.policy_code import OUTCOMES, WEIGHTS, policy_code

GENERATED = re.compile(r"[cpv]\d+|quote\d+")
WORDS = {
    "affordable", "all_passed", "amount", "append", "assess", "Assessment", "astimezone", "band", "band_cap", "cap",
    "copy", "facts", "failed", "fee", "get", "headroom", "in_order", "limit", "lost", "missing", "now", "outcomes",
    "passed", "policy", "policy_hash", "policy_version", "Price", "rate", "reason", "repeat", "rest", "score",
    "skipped", "states", "tier_cap", "told", "told_factors", "tzinfo", "utc", "values", "weight", "worst",
}  # fmt: skip
"""The generator's own words."""
HOSTILE = "'\"\\\n\t{states}); __import__('os').abort()  # \u2028\0"

Texts = Callable[[str], str]


def with_texts(part: Any, turn: Texts) -> Any:
    """A policy with each of its texts but the names of facts turned by `turn`; no check is asked."""
    if isinstance(part, msgspec.Struct):
        fields = [name for name in part.__struct_fields__ if name != "fact"]
        return msgspec.structs.replace(part, **{name: with_texts(getattr(part, name), turn) for name in fields})
    if isinstance(part, tuple):
        return tuple(with_texts(item, turn) for item in part)
    return turn(part) if type(part) is str else part


def hostile(text: str) -> str:
    return text + HOSTILE


def texts_of(value: Any) -> Iterator[str]:
    """Every text in plain values."""
    if isinstance(value, str):
        yield value
    for item in value.items() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        yield from texts_of(item)


@pytest.mark.parametrize("turn", [str, hostile], ids=["plain", "hostile"])
@pytest.mark.parametrize("name", SHIPPED)
def test_generated_code_holds_integers_and_generated_names_alone(name: str, turn: Texts) -> None:
    code = policy_code(with_texts(shipped(name), turn))
    for node in ast.walk(ast.parse(code.source)):
        if isinstance(node, ast.Constant):
            assert node.value is None or type(node.value) is int, node.value
        for text in _identifiers(node):
            assert text in WORDS or GENERATED.fullmatch(text), text


def _identifiers(node: ast.AST) -> Iterator[str]:
    """Every text that a node holds: names, attributes, arguments, keywords, functions."""
    for field, value in ast.iter_fields(node):
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str) and not (isinstance(node, ast.Constant) and field == "value"):
                yield item


@pytest.mark.parametrize("name", SHIPPED)
def test_no_text_of_the_document_has_a_part_in_its_code(name: str) -> None:
    plain, turned = policy_code(shipped(name)), policy_code(with_texts(shipped(name), hostile))
    assert plain.source == turned.source
    given_texts = set(texts_of(msgspec.to_builtins(with_texts(shipped(name), hostile))))
    assert len([text for text in given_texts if HOSTILE in text]) > 20
    assert not any(text in turned.source for text in given_texts if HOSTILE in text)


PLAIN = {name: compiled(shipped(name)) for name in SHIPPED}
TURNED = {name: compile_policy(with_texts(shipped(name), hostile), 1, PLAIN[name].hash) for name in SHIPPED}


@given(st.sampled_from(SHIPPED), any_facts())
def test_a_policy_of_hostile_texts_decides_as_with_plain_ones(name: str, given_facts: Facts) -> None:
    values = {key: hostile(value) if isinstance(value, str) else value for key, value in given_facts.values.items()}
    plain, turned = assess(PLAIN[name], given_facts, NOW), assess(TURNED[name], facts(values), NOW)
    assert turned.rules == {hostile(rule): state for rule, state in plain.rules.items()}
    assert turned.points == {hostile(id_): points for id_, points in plain.points.items()}
    assert turned.band == hostile(plain.band)
    told, told_hostile = (decide(p, made, 900_000) for p, made in ((PLAIN[name], plain), (TURNED[name], turned)))
    system = {str(reason) for reason in SystemReason} - {"missing_information"}
    assert told_hostile.reasons == tuple(text if text in system else hostile(text) for text in told.reasons)
    assert told_hostile.outcome is told.outcome


def test_a_rule_may_be_called_like_a_word_of_the_generator() -> None:
    plain = shipped("nano")
    words = sorted(WORDS)
    renamed = msgspec.structs.replace(
        plain,
        rules=tuple(msgspec.structs.replace(rule, id=words[at]) for at, rule in enumerate(plain.rules_in_order())),
    )
    assert policy_code(renamed).source == policy_code(plain).source
    made = assess(compiled(renamed), facts({"loans_open": 1}), NOW)
    assert [rule for rule, state in made.rules.items() if state is RuleState.FAILED] == [words[5]]


def test_generated_code_can_reach_nothing_but_what_it_is_given() -> None:
    assert set(compiled(shipped("nano")).assess.__globals__["__builtins__"]) == set()


def test_what_weighs_most_decides_the_outcome() -> None:
    assert [OUTCOMES[a | b] for a in WEIGHTS.values() for b in WEIGHTS.values()] == [
        "approve", "refer", "decline", "refer", "refer", "decline", "decline", "decline", "decline",
    ]  # fmt: skip
