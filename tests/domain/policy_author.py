"""Writes policies at random: all valid, most of them strange. The same seed writes the same policy."""

from collections.abc import Iterable, Sequence
from random import Random
from typing import Any, TypeVar

import msgspec

from amana.domain.facts import FACTS, FactValue, Kind
from amana.domain.money import MAX_AMOUNT
from amana.domain.policy import Policy, SystemReason
from amana.domain.policy_checks import check_policy

T = TypeVar("T")

NETWORKS = ("mtn", "airtel", "glo", "9mobile")
EDGES = (0, 1, 2, 3, 14, 18, 30, 90, 365, 10_000, 1_000_000, 3_000_001, 7_500_000, 2**40, MAX_AMOUNT - 1, MAX_AMOUNT)
"""Numbers that bins, rules and facts share, so that facts fall on bounds."""
REASONS = tuple(f"reason_{at}" for at in range(8))
"""Few, so that rules, bands and factors share some."""
FACTORS = tuple(f"factor_{at}" for at in range(50))
OFFERS_MAX = 60
"""More amounts than this are not on offer, unless they are so many that a model can't try them."""


class Author:
    """Draws policies, facts and questions from one seed. A policy has at most so many rules and attributes."""

    def __init__(self, seed: int, rules_max: int = 6, attributes_max: int = 6) -> None:
        self._random = Random(seed)
        self._rules_max = rules_max
        self._attributes_max = attributes_max

    def policy(self) -> Policy:
        """A policy that may be published: rules at fault are struck out, else another is drawn."""
        plain = self._policy()
        while faults := check_policy(policy := msgspec.convert(plain, Policy, strict=True)):
            struck = {int(fault.pointer.split("/")[2]) for fault in faults if fault.pointer.startswith("/rules/")}
            if struck:
                plain["rules"] = [rule for at, rule in enumerate(plain["rules"]) if at not in struck]
                plain["reasons"] = dict.fromkeys(_codes(plain), "Text.")
            else:
                plain = self._policy()
        return policy

    def facts(self) -> dict[str, FactValue]:
        """Facts that could be: some unknown, some on the bounds of the policies, some huge."""
        values: dict[str, FactValue] = {}
        for name, spec in FACTS.items():
            if spec.nullable and self._one_in(4):
                values[name] = None
            elif spec.kind is Kind.INTEGER:
                values[name] = max(0, min(MAX_AMOUNT, self._number() + self._random.choice((-1, 0, 0, 1))))
            else:
                values[name] = self._value(name)
        values["kyc_tier"] = self._random.randint(1, 3)
        values["exposure"] = self._random.choice(
            (0, 0, self._random.randint(0, 3_000), self._number(), -self._number())
        )
        return values

    def question(self, policy: Policy) -> dict[str, Any]:
        """An amount, a term and a network: mostly on offer."""
        amounts = policy.amounts
        many = (amounts.maximum - amounts.minimum) // amounts.denomination
        offered = amounts.minimum + self._random.randint(0, many) * amounts.denomination
        listed = self._random.choice(amounts.listed) if amounts.listed else offered
        odd = (offered, offered + 1, max(1, amounts.minimum - 1), MAX_AMOUNT)
        amount = self._random.choice(odd) if self._one_in(3) else listed
        days = [term.term_days for term in policy.price.terms]
        network = self._random.choice((None, "a network", *(item.id for item in policy.networks * 4)))
        return {
            "amount": amount,
            "term_days": self._random.choice((None, None, None, 9, *days, *days)),
            "network": network,
        }

    def _policy(self) -> dict[str, Any]:
        random = self._random
        networks = random.sample(NETWORKS, random.randint(1, 3)) if self._one_in(3) else []
        amounts = self._amounts()
        parts: dict[str, Any] = {
            "name": "made_up",
            "product": "made_up",
            "currency": "NGN",
            "lending": not self._one_in(10),
            "amounts": amounts,
            "rules": self._rules(),
            "scorecard": self._scorecard(amounts["maximum"]),
            "caps": self._caps(amounts["maximum"]),
            "price": self._price(amounts),
            "offer_ttl_s": 900,
            "networks": [{"id": id_, "lending": not self._one_in(3)} for id_ in networks],
        }
        return parts | {"reasons": dict.fromkeys(_codes(parts), "Text.")}

    def _rules(self) -> list[dict[str, Any]]:
        return [
            {
                "id": f"rule_{at}",
                **self._comparison(),
                "precedence": self._random.randint(0, 3),
                "reason": self._random.choice(REASONS),
                "outcome": self._random.choice(("decline", "refer", "refer", "refer")),
                "on_missing": (on_missing := self._random.choice(("decline", "refer", "refer", "skip"))),
                "missing_reason": "missing_information" if on_missing == "skip" else self._random.choice(REASONS),
            }
            for at in range(self._random.randint(0, self._rules_max))
        ]

    def _comparison(self) -> dict[str, Any]:
        fact = self._random.choice(list(FACTS))
        integer = FACTS[fact].kind is Kind.INTEGER
        op = self._random.choice(("lt", "le", "gt", "ge", "eq", "ne", "in", "not_in")[0 if integer else 4 :])
        many = op in ("in", "not_in")
        if FACTS[fact].kind is Kind.BOOLEAN and many:
            op, many = "eq", False  # a list holds numbers and words
        drawn = [self._number() if integer else self._value(fact) for _ in range(self._random.randint(1, 3))]
        return {"fact": fact, "op": op, "value": drawn if many else drawn[0]}

    def _scorecard(self, maximum: int) -> dict[str, Any]:
        bands = self._ranges([self._random.randint(-60, 120) for _ in range(self._random.randint(0, 3))])
        outcomes = self._growing(("decline", "refer", "approve", "approve"), len(bands))
        caps = self._caps_growing(len(bands), maximum)
        for at, band in enumerate(bands):
            band.update(id=f"band_{at}", cap=caps[at], outcome=outcomes[at])
            if outcomes[at] != "approve":
                band["reason"] = self._random.choice(REASONS)
        codes = self._random.sample((*REASONS, *FACTORS), self._random.randint(1, self._attributes_max))
        ids = self._random.sample(range(100), len(codes))
        attributes = [self._attribute(f"attribute_{id_}", code) for id_, code in zip(ids, codes, strict=True)]
        return {"base": self._random.randint(-50, 50), "attributes": attributes, "bands": bands}

    def _attribute(self, id_: str, reason: str) -> dict[str, Any]:
        fact = self._random.choice(list(FACTS))
        if FACTS[fact].kind is Kind.INTEGER:
            bins = self._ranges([self._number() for _ in range(self._random.choice((0, 1, 2, 3, 20)))])
        else:
            values: list[Any] = [str(v) for v in FACTS[fact].values] or [True, False]
            cut = self._random.randint(1, len(values))
            bins = [{"values": part} for part in (values[:cut], values[cut:]) if part]
        points = [self._random.randint(-20, 20) for _ in range(len(bins) + 1)]
        bins = [bin_ | {"points": worth} for bin_, worth in zip(bins, points, strict=False)]
        return {"id": id_, "fact": fact, "reason": reason, "missing": points[-1], "bins": bins}

    def _caps(self, maximum: int) -> dict[str, Any]:
        tiers = [{"tier": at + 1, "cap": cap} for at, cap in enumerate(self._caps_growing(3, maximum))]
        caps: dict[str, Any] = {"product": min(MAX_AMOUNT, 3 * maximum), "kyc": tiers}
        if self._one_in(2):
            share = {"income_bps": self._random.choice((0, 1, 3_333, 100_000)), "missing_cap": maximum}
            caps["affordability"] = share
        if self._one_in(2):
            steps = self._ranges([self._number() for _ in range(self._random.randint(0, 3))])
            caps["repeat"] = [
                step | {"cap": cap} for step, cap in zip(steps, self._caps_growing(len(steps), maximum), strict=True)
            ]
        return caps

    def _amounts(self) -> dict[str, Any]:
        denomination = self._random.choice((1, 7, 100, 100_000, 10**13))
        least = self._random.randint(1, 40)
        most = least + self._random.randint(0, OFFERS_MAX)
        amounts: dict[str, Any] = {
            "minimum": least * denomination,
            "maximum": most * denomination,
            "denomination": denomination,
        }
        if self._one_in(3):
            drawn = {self._random.randint(amounts["minimum"], amounts["maximum"]) for _ in range(20)}
            amounts["listed"] = sorted(drawn)
        return amounts

    def _price(self, amounts: dict[str, Any]) -> dict[str, Any]:
        deducted = self._one_in(2)
        days = self._random.sample((7, 14, 30, 60, 90), self._random.randint(1, 3))
        terms = [
            {"term_days": one, "steps": self._steps(amounts, deducted, whole=at == 0)} for at, one in enumerate(days)
        ]
        return {"fee_mode": "deducted" if deducted else "added", "default_term_days": days[0], "terms": terms}

    def _steps(self, amounts: dict[str, Any], deducted: bool, *, whole: bool) -> list[dict[str, Any]]:
        low, high = amounts["minimum"], amounts["maximum"]
        steps = self._ranges([self._random.randint(low, high) for _ in range(self._random.randint(0, 4))])
        if not whole and self._one_in(2) and len(steps) > 1:
            steps = steps[1:]
        if not whole and self._one_in(2) and len(steps) > 1:
            steps = steps[:-1]
        rates = (
            (0, 1, 250, 1_500, 1_536, 5_000, 9_999)
            if deducted
            else (0, 1, 250, 1_500, 1_536, 5_000, 5_000, 15_000, 100_000)
        )
        for step in steps:
            step |= {"fee_bps": self._random.choice(rates), "rounding": self._random.choice(("floor", "half_even"))}
        return steps

    def _ranges(self, edges: Iterable[int]) -> list[dict[str, Any]]:
        """Ranges without gap or overlap that meet at these edges; the first has no start, the last no end."""
        inner = sorted(set(edges))
        starts, ends = [None, *inner], [*inner, None]
        return [
            ({} if start is None else {"from": start}) | ({} if end is None else {"to": end})
            for start, end in zip(starts, ends, strict=True)
        ]

    def _caps_growing(self, many: int, maximum: int) -> list[int]:
        """Caps, most of them such that something may be lent."""
        most = min(MAX_AMOUNT, 3 * maximum)
        return sorted(
            self._number()
            if self._one_in(20)
            else self._random.choice((self._random.randint(0, most), most, most, most, most))
            for _ in range(many)
        )

    def _growing(self, choices: Sequence[T], many: int) -> list[T]:
        return [choices[at] for at in sorted(self._random.randrange(len(choices)) for _ in range(many))]

    def _number(self) -> int:
        return self._random.choice(EDGES)

    def _value(self, fact: str) -> FactValue:
        values: list[FactValue] = [str(value) for value in FACTS[fact].values]
        return self._random.choice(values or [True, False])

    def _one_in(self, many: int) -> bool:
        return self._random.randrange(many) == 0


def _codes(parts: dict[str, Any]) -> set[str]:
    """Every reason that a policy of these parts can give."""
    codes = {str(code) for code in SystemReason if parts["networks"] or code is not SystemReason.NETWORK_NOT_SERVED}
    codes |= {rule[name] for rule in parts["rules"] for name in ("reason", "missing_reason")}
    codes |= {item["reason"] for item in parts["scorecard"]["attributes"]}
    return codes | {band["reason"] for band in parts["scorecard"]["bands"] if "reason" in band}
