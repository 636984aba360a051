"""What P1, P2, P3 and P11 owe, the figures that say whether they do, and the cores that a mix of them needs."""

from collections.abc import Mapping

from amana.bench.report import Figure, Peer, figure

MEMORY, PROXIED, DOWN, CACHE, MISS = "P1.memory", "P1.memory.nginx", "P1.redis_down", "P2.cache", "P3.miss"
OPEN, KEPT, STATIC = "P3.open", "P11", "nginx.static"
FIRST = f"{MISS}.first"
"""Misses of customers who are asked about for the first time: of whom the ledger is asked."""
UNVALIDATED = f"{MEMORY}.validator_off"
"""The same as `MEMORY` without the validator of cached answers, which always runs else."""
STATIC_NAME = "nginx, one worker, a static body"
MISS_FLOOR, MISS_AIM = 4_000.0, 8_000.0
THROUGHPUT = {
    MEMORY: (40_000.0, 50_000.0),
    CACHE: (15_000.0, 28_000.0),
    MISS: (MISS_FLOOR, MISS_AIM),
    FIRST: (MISS_FLOOR, MISS_AIM),
}
"""Requests a second: the floor and the aim."""
LESS: dict[str, tuple[float, float | None]] = {
    f"{MEMORY}.cpu.service": (25.0, 21.0),
    f"{OPEN}.p99": (80.0, None),
    f"{KEPT}.rss": (250.0, 150.0),
}
"""Where less is better: the floor and the aim."""
KEPT_FLOOR_CUSTOMERS = 100_000
"""How many answers are in memory where P11 is owed; with fewer it is a figure of something else."""
UNITS = {".rss": "MB", ".rss.empty": "MB", ".share": "share", ".valkey": "bytes/customer"}
LATENCIES = (".p50", ".p99", ".p999", ".max")
CORES_FOR = 50_000.0
HITS = (50, 90, 99)
"""Percent of the checks that are answered from where the mix says; all others are misses."""

Values = Mapping[str, list[float]]


def figures_of(values: Values, customers: int) -> list[Figure]:
    """A figure for each path in `values`, which holds what each round gave, and the cores for a mix of hits and misses.

    `customers` is how many answers P11 kept.
    """
    peers = [Peer(STATIC_NAME, figure(STATIC, values[STATIC], "").value)] if STATIC in values else []
    made = [_figure(path, values[path], peers, customers) for path in values if path != STATIC]
    return made + [one for hit in (MEMORY, CACHE) for one in cores(values, hit)]


def cores(values: Values, hit: str) -> list[Figure]:
    """Cores that 50,000 checks a second take when so many percent are hits of the path `hit` and the rest are misses.

    Of the CPU of all servers for each check; what the load generator, a balancer and the network take is not in it.
    """
    hits, misses = values.get(f"{hit}.cpu.total", []), values.get(f"{MISS}.cpu.total", [])
    if len(hits) != len(misses):
        return []
    made = []
    for percent in HITS if hits else ():
        mixed = [one * percent / 100 + other * (100 - percent) / 100 for one, other in zip(hits, misses, strict=True)]
        needed = [cpu_us * CORES_FOR / 1e6 for cpu_us in mixed]
        made.append(figure(f"{hit}.cores.hits_{percent}", needed, "cores", better="lower"))
    return made


def _figure(path: str, values: list[float], peers: list[Peer], customers: int) -> Figure:
    if path in THROUGHPUT:
        floor, aim = THROUGHPUT[path]
        return figure(path, values, "requests/s", floor=floor, aim=aim, peers=peers if path == MEMORY else [])
    if path in (PROXIED, DOWN, UNVALIDATED):
        return figure(path, values, "requests/s", peers=peers)
    less = LESS.get(path, (None, None))
    if path.startswith(KEPT) and customers < KEPT_FLOOR_CUSTOMERS:
        less = (None, None)
    return figure(
        path, values, _unit(path), better="higher" if path.endswith(".share") else "lower", floor=less[0], aim=less[1]
    )


def _unit(path: str) -> str:
    if ".cpu." in path:
        return "µs/request"
    if path.endswith(LATENCIES):
        return "ms"
    return next(unit for end, unit in UNITS.items() if path.endswith(end))
