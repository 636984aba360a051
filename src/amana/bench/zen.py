"""A peer of `amana bench policy`: zen-engine, on the same rules, bins, bands and caps as decision tables.

It is asked for what a decision table gives: which rules fail, the score, the band, the cap, the headroom. It is not
asked for prices, limits, factors or reasons. Without the package there is no such peer.
"""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import msgspec

from amana.domain.decision import Assessment, RuleState
from amana.domain.facts import FactValue
from amana.domain.policy import Affordability, OnMissing, Op, Policy, Rule
from amana.domain.policy_ranges import Range

KEY = "policy"
_SIGNS = {Op.LT: "<", Op.LE: "<=", Op.GT: ">", Op.GE: ">=", Op.EQ: "=="}
Row = tuple[Sequence[str], Sequence[str]]
"""The cells of a decision table: conditions, what is given."""


class Zen:
    """The engine with one policy in it. Raises `ImportError` where the package is not installed."""

    def __init__(self, document: Policy) -> None:
        engine = import_module("zen").ZenEngine
        self._engine: Any = engine({"loader": {"type": "static", "content": {KEY: graph_of(document)}}})

    def evaluate(self, values: Mapping[str, FactValue]) -> Any:
        """What it says of these facts."""
        return self._engine.evaluate(KEY, values)["result"]

    def evaluate_all(self, customers: Sequence[Mapping[str, FactValue]]) -> list[Any]:
        """The same of many, in one call."""
        answers = self._engine.evaluate_batch([{"key": KEY, "context": one} for one in customers])
        return [answer["data"]["result"] for answer in answers]


def said_by_zen(result: Mapping[str, Any]) -> dict[str, Any]:
    """Its answer, to be compared."""
    told = {name: int(result[name]) for name in ("score", "cap", "headroom")}
    return told | {"rules": [row["rule"] for row in result["failed"]], "band": result["band"]}


def said_by_us(made: Assessment) -> dict[str, Any]:
    """The same of ours."""
    failed = [id_ for id_, state in made.rules.items() if state in (RuleState.FAILED, RuleState.MISSING)]
    return {
        "rules": failed,
        "score": made.score,
        "band": made.band,
        "cap": made.exposure_cap,
        "headroom": made.headroom,
    }


def graph_of(document: Policy) -> dict[str, Any]:
    """The policy as a JSON decision graph."""
    attributes, caps, bands = document.scorecard.attributes, document.caps, document.scorecard.bands
    points = [
        _table(f"p{at}", "first", [item.fact], [f"p{at}"], [(["null"], [str(item.missing)]), *_bins(item.bins)])
        for at, item in enumerate(attributes)
    ]
    score = " + ".join([str(document.scorecard.base), *(f"p{at}" for at in range(len(attributes)))])
    rows = [([cell], [_text(band.id), str(band.cap)]) for band, cell in zip(bands, _cells(bands), strict=True)]
    tiers: list[Row] = [([str(item.tier)], [str(item.cap)]) for item in caps.kyc]
    steps: list[Row] = [([cell], [str(step.cap)]) for step, cell in zip(caps.repeat, _cells(caps.repeat), strict=True)]
    least = f"min([{caps.product}, band_cap, tier_cap, repeat_cap, {_share(caps.affordability)}])"
    nodes = [
        {"id": "in", "type": "inputNode", "name": "in", "content": {}},
        _rules(document),
        *points,
        _expressions("sum", score=score),
        _table("bands", "first", ["score"], ["band", "band_cap"], rows),
        _table("tiers", "first", ["kyc_tier"], ["tier_cap"], tiers),
        _table("steps", "first", ["largest_principal_repaid"], ["repeat_cap"], steps or [([""], [str(caps.product)])]),
        _expressions("caps", cap=least, headroom="max([0, $.cap - max([exposure, 0])])"),
        {"id": "out", "type": "outputNode", "name": "out", "content": {}},
    ]
    before = [node["id"] for node in points]
    edges = [("in", "rules"), ("rules", "out"), *(("in", id_) for id_ in before), *((id_, "sum") for id_ in before)]
    edges += [("sum", "bands"), ("in", "tiers"), ("in", "steps"), ("in", "caps")]
    edges += [(id_, "caps") for id_ in ("bands", "tiers", "steps")] + [
        ("caps", "out"),
        ("bands", "out"),
        ("sum", "out"),
    ]
    return {"nodes": nodes, "edges": [_edge(*pair) for pair in edges]}


def _rules(document: Policy) -> dict[str, Any]:
    """One table with a row for each rule, and one for its fact when unknown; every row that holds is given."""
    rules = document.rules_in_order()
    facts = list(dict.fromkeys(rule.fact for rule in rules))
    rows: list[Row] = []
    for rule in rules:
        conditions = [_condition(rule)] + ["null"] * (rule.on_missing is not OnMissing.SKIP)
        rows += [([cell if fact == rule.fact else "" for fact in facts], [_text(rule.id)]) for cell in conditions]
    return _table("rules", "collect", facts, ["rule"], rows, outputPath="failed")


def _condition(rule: Rule) -> str:
    """A rule as a cell. An unknown fact meets none of these comparisons."""
    if isinstance(rule.value, tuple):
        assert rule.op is Op.IN, "the unknown is not in a list either"
        return ", ".join(_text(value) for value in rule.value)
    return f"{_SIGNS[rule.op]} {_text(rule.value)}"


def _bins(bins: Sequence[Any]) -> Iterator[Row]:
    ranged = _cells(bins)
    for bin_, cell in zip(bins, ranged, strict=True):
        yield [", ".join(_text(value) for value in bin_.values) or cell], [str(bin_.points)]


def _cells(ranges: Sequence[Range]) -> list[str]:
    """Each range as a cell of a table in which the first row that holds is taken."""
    return ["" if item.to is None else f"< {item.to}" for item in ranges]


def _share(affordability: Affordability | None) -> str:
    if affordability is None:
        return str(2**53)
    share = f"floor(monthly_income * {affordability.income_bps} / 10000)"
    return f"monthly_income == null ? {affordability.missing_cap} : {share}"


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _table(
    id_: str, hit: str, inputs: Sequence[str], outputs: Sequence[str], rows: Sequence[Row], **more: str
) -> dict[str, Any]:
    rules = []
    for at, (conditions, given) in enumerate(rows):
        cells = {f"i{place}": cell for place, cell in enumerate(conditions)}
        rules.append({"_id": f"{id_}{at}", **cells, **{f"o{place}": cell for place, cell in enumerate(given)}})
    columns = {
        "inputs": [{"id": f"i{place}", "field": name, "name": name} for place, name in enumerate(inputs)],
        "outputs": [{"id": f"o{place}", "field": name, "name": name} for place, name in enumerate(outputs)],
    }
    content = {"hitPolicy": hit, "rules": rules, "passThrough": False, **columns, **more}
    return {"id": id_, "type": "decisionTableNode", "name": id_, "content": content}


def _expressions(id_: str, **expressions: str) -> dict[str, Any]:
    made = [{"id": f"{id_}.{key}", "key": key, "value": value} for key, value in expressions.items()]
    content = {"expressions": made, "passThrough": False}
    return {"id": id_, "type": "expressionNode", "name": id_, "content": content}


def _edge(source: str, target: str) -> dict[str, str]:
    return {"id": f"{source}-{target}", "sourceId": source, "targetId": target, "type": "edge"}
