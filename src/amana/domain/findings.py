"""What of an assessment is stored: what the policy found. What it was found from, and by whom, stands in the inputs."""

import msgspec

from amana.domain.decision import Assessment, DecisionInputs, RuleState
from amana.domain.policy import Outcome


class Findings(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What of an assessment is stored beside its inputs, which say the rest. Members in the order of their bytes."""

    band: str
    caps: dict[str, int | None]
    exposure_cap: int
    factors: tuple[str, ...]
    headroom: int
    knockouts: tuple[str, ...]
    outcome: Outcome
    points: dict[str, int]
    policy: str
    rules: dict[str, RuleState]
    score: int


_findings = msgspec.json.Decoder(Findings)
_in_order = msgspec.json.Encoder(order="deterministic")


def findings_bytes(assessment: Assessment) -> bytes:
    """The one spelling of what is stored of an assessment."""
    one = assessment
    return _in_order.encode(
        Findings(
            band=one.band,
            caps=one.caps,
            exposure_cap=one.exposure_cap,
            factors=one.factors,
            headroom=one.headroom,
            knockouts=one.knockouts,
            outcome=one.outcome,
            points=one.points,
            policy=one.policy,
            rules=one.rules,
            score=one.score,
        )
    )


def read_findings(stored: bytes) -> Findings:
    """What is stored of an assessment; before decisions of today it was the whole."""
    return _findings.decode(stored)


def assessment_of(inputs: DecisionInputs, found: Findings) -> Assessment:
    """The whole assessment again."""
    return Assessment(
        assessed_at=inputs.now,
        exposure=inputs.facts.exposure,
        facts=inputs.facts,
        policy_hash=inputs.policy_hash,
        policy_version=inputs.policy_version,
        **msgspec.structs.asdict(found),
    )
