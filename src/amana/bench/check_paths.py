"""What `amana bench eligibility` measures in a round, and how the service is set up for answers that are kept."""

from typing import NamedTuple

from amana.bench.checks import Source
from amana.bench.customers import LEDGER
from amana.bench.owed_checks import CACHE, DOWN, FIRST, KEPT, MEMORY, MISS, OPEN, PROXIED, STATIC, UNVALIDATED
from amana.infra.settings import Settings

HOT_MAX = 20_000
"""Customers who are asked about where answers are kept; few enough to be asked once within seconds, before the run."""
CPU = ("service", LEDGER, "postgres", "valkey", "nginx")
"""Whose CPU is looked at; all but nginx's are in the total."""
CPU_TOLD = {
    MEMORY: CPU[:1],
    UNVALIDATED: CPU[:1],
    PROXIED: ("service", "nginx"),
    CACHE: ("service", "valkey"),
    MISS: CPU,
    FIRST: CPU,
}
"""Whose CPU is a figure."""
PATHS = (MEMORY, UNVALIDATED, PROXIED, STATIC, DOWN, CACHE, MISS, FIRST, OPEN, KEPT)
"""Everything that is measured in a round, in its order."""


class Kept(NamedTuple):
    """A path whose answers are kept: where they come from, on how many connections, how many fit in memory, and how
    many each process of the service works out again each second."""

    source: Source
    connections: int
    in_memory: int
    validated_per_s: int = Settings().assessments_validated_per_s


KEPT_PATHS = {
    MEMORY: Kept("memory", 64, HOT_MAX),
    UNVALIDATED: Kept("memory", 64, HOT_MAX, validated_per_s=0),
    PROXIED: Kept("memory", 64, HOT_MAX),
    CACHE: Kept("cache", 256, 1),
}
