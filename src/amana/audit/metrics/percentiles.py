"""Percentiles of merged histograms. Pure, in integers."""

from collections.abc import Sequence

from amana.infra.latencies import NO_BOUND_US

PER_MILLE = (500, 900, 950, 990, 999)
"""Those that are told: p50, p90, p95, p99, p99.9."""


def percentiles(bounds_us: Sequence[int], requests: Sequence[int]) -> list[int | None]:
    """The upper bound of the bucket that each of `PER_MILLE` falls in; None in the bucket without bound.

    `bounds_us` rise; `requests` fell into each and are at least one in all.
    """
    return [_percentile(bounds_us, requests, per_mille) for per_mille in PER_MILLE]


def _percentile(bounds_us: Sequence[int], requests: Sequence[int], per_mille: int) -> int | None:
    wanted = -(-sum(requests) * per_mille // 1_000)  # the place of the request, from 1, rounded up
    seen = 0
    for bound, count in zip(bounds_us, requests, strict=True):
        seen += count
        if seen >= wanted:
            return None if bound == NO_BOUND_US else bound
    raise AssertionError("the places are among the requests")
