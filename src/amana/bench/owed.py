"""What P4 and P5 owe, and the figures that say whether they do, with the peers beside them."""

from collections.abc import Mapping

from amana.bench.peers import NAIVE, NAIVE_HOT, NAMES, PGBENCH, PGLEDGER, PGLEDGER_HOT, PGLEDGER_NAME
from amana.bench.report import Figure, Peer, figure

SINGLE_FLOOR, SINGLE_AIM = 5_000.0, 10_000.0
BATCH_FLOOR, BATCH_AIM = 10_000.0, 20_000.0
OPEN_P99_FLOOR_MS = 150.0
HOT_TO_UNIFORM = {"P5.hot": ("P5.uniform", 1.0), "P4.single.hot": ("P4.single.64", None)}
"""What a hot account is held against, and the least ratio: in lists it is owed to be no slower."""

Values = Mapping[str, list[float]]


def figures_of(values: Values) -> list[Figure]:
    """A figure for each path in `values`, which holds what each round gave, and the hot account's ratios."""
    made = [_figure(path, values) for path in values if path not in NAMES]
    for hot, (uniform, floor) in HOT_TO_UNIFORM.items():
        if hot in values and uniform in values:
            ratios = [one / max(even, 1.0) for one, even in zip(values[hot], values[uniform], strict=True)]
            made.append(figure(f"{hot}.to_uniform", ratios, "ratio", floor=floor))
    return made


def _figure(path: str, values: Values) -> Figure:
    if ".cpu." in path:
        return figure(path, values[path], "µs/transfer", better="lower")
    if path.endswith((".p50", ".p99", ".p999", ".max")):
        floor = OPEN_P99_FLOOR_MS if path == "P4.open.p99" else None
        return figure(path, values[path], "ms", better="lower", floor=floor)
    floor, aim = (SINGLE_FLOOR, SINGLE_AIM) if path.startswith("P4") else (BATCH_FLOOR, BATCH_AIM)
    return figure(path, values[path], "transfers/s", floor=floor, aim=aim, peers=_peers(path, values))


def _peers(path: str, values: Values) -> list[Peer]:
    """Those measured in the same run, and the one that is quoted."""
    hot = path in HOT_TO_UNIFORM
    measured = [name for name in (PGBENCH, NAIVE_HOT if hot else NAIVE) if name in values]
    quoted = Peer(PGLEDGER_NAME, PGLEDGER_HOT if hot else PGLEDGER)
    return [*(Peer(NAMES[name], figure(name, values[name], "").value) for name in measured), quoted]
