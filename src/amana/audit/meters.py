"""What audit measures, per stream.

`amana_audit_conflicts_total` above zero and `amana_audit_refusing` of 1 are alarms.
"""

import time
from functools import partial

from prometheus_client import Counter, Gauge

from amana.audit.flow import Received

EVENTS = Counter("amana_audit_events_total", "Events received, by what became of them.", ("stream", "result"))
CONFLICTS = Counter(
    "amana_audit_conflicts_total", "Events that came again with other bytes; what was stored first stays.", ("stream",)
)
IRREGULARITIES = Counter(
    "amana_audit_irregularities_total", "What was wrong in what came from a source, by kind.", ("stream", "kind")
)
MISSING = Gauge("amana_audit_missing_events", "Positions that the source gave and that have not come.", ("stream",))
UNSEALED = Gauge("amana_audit_unsealed_leaves", "Positions given by the source and not yet sealed.", ("stream",))
CHECKPOINT_AGE = Gauge(
    "amana_audit_checkpoint_age_seconds",
    "Time since the newest checkpoint was known to cover all that can be sealed.",
    ("stream",),
)
UNINDEXED = Gauge("amana_audit_unindexed_leaves", "Leaves received and not yet found by a search.", ("stream",))
REFUSING = Gauge("amana_audit_refusing", "1 while the sealer refuses to sign what is stored.", ("stream",))

COSIGNED = Gauge("amana_audit_cosigned_leaves", "Leaves that a witness vouches for.", ("stream", "witness"))
PLACE_AWAY = Gauge(
    "amana_audit_place_away", "1 while a place for checkpoints can't be written or read.", ("stream", "place")
)


def count_received(stream: str, received: Received) -> None:
    """Counts what became of a batch."""
    EVENTS.labels(stream, "stored").inc(received.stored)
    EVENTS.labels(stream, "duplicate").inc(received.duplicates)
    EVENTS.labels(stream, "malformed").inc(len(received.malformed))
    CONFLICTS.labels(stream).inc(len(received.conflicts))


def all_sealed(stream: str) -> None:
    """The newest checkpoint covers all that could be sealed just now: its age counts from here."""
    CHECKPOINT_AGE.labels(stream).set_function(partial(_age_s, time.monotonic()))


def _age_s(since_s: float) -> float:
    return time.monotonic() - since_s
