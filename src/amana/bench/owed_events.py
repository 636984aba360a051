"""What P8 owes, and the figures that say whether it does, with the bare client beside them."""

from collections.abc import Mapping

from amana.bench.report import Figure, Peer, figure

BACKLOG, LIVE, BARE = "P8", "P8.live", "bare"
FLOOR, AIM = 10_000.0, 25_000.0
BARE_NAME = "confluent-kafka alone, the same keys and bytes, no database"
LATENCIES = (".p50", ".p99", ".max")

Values = Mapping[str, list[float]]


def figures_of(values: Values) -> list[Figure]:
    """A figure for each path in `values`, which holds what each round gave."""
    peers = [Peer(BARE_NAME, figure(BARE, values[BARE], "").value)] if BARE in values else []
    return [_figure(path, values[path], peers) for path in values if path != BARE]


def _figure(path: str, values: list[float], peers: list[Peer]) -> Figure:
    if path == BACKLOG:
        return figure(path, values, "events/s", floor=FLOOR, aim=AIM, peers=peers)
    if path == LIVE:
        return figure(path, values, "events/s")
    return figure(path, values, "ms" if path.endswith(LATENCIES) else "µs/event", better="lower")
