"""What was asked for, and what can't be done about it."""

from pathlib import Path
from typing import NamedTuple

from amana.domain.decision import CompiledPolicy
from amana.domain.money import MAX_AMOUNT


class CannotPrequalify(Exception):
    """What was asked for can't be done; the message is for the person at the keyboard."""


class Options(NamedTuple):
    """What was asked for. `warm_per_second` is 0 where nothing is to be warmed."""

    tenant: str
    product: str
    out: Path
    network: str | None = None
    limit: int | None = None
    warm_per_second: int = 0


def require_network(policy: CompiledPolicy, network: str | None) -> None:
    """Raises `CannotPrequalify` unless a network is named exactly where the policy lists it."""
    listed, product = sorted(str(name) for name in policy.networks), policy.document.product
    if network is None and listed:
        raise CannotPrequalify(f"{product} is lent over networks: say which with --network: {' or '.join(listed)}")
    if network is not None and network not in policy.networks:
        over = " or ".join(listed) or "no network in particular"
        raise CannotPrequalify(f"the network {network} is not served: {product} is lent over {over}")


def largest_on_offer(policy: CompiledPolicy) -> int:
    """The most that anybody could borrow at the default term. Raises `CannotPrequalify` where that is nothing."""
    largest, _ = policy.quotes[None](policy.document.amounts.minimum, MAX_AMOUNT)
    if not largest:
        raise CannotPrequalify(f"{policy.document.product} has no amount on offer at its default term")
    return largest
