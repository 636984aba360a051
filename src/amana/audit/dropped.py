"""What retention has dropped of a stream, as the log itself says it. Pure.

Before the first body goes, an event of the stream `accesses` says below which position those of each stream go, and a
checkpoint signs it. Whoever verifies believes that event and nothing else: where a body is absent and no such event is
there, the leaf is missing.
"""

from dataclasses import dataclass
from datetime import datetime

import msgspec

TYPE = "BodiesDropped"
BUNDLE_LEAVES = 256
"""Leaves in one bundle of entries: only whole ones go."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """Bodies before position `below` may be gone, since `at`; `by` is who did it; `kept_from` is what was kept."""

    below: int
    at: datetime
    by: str
    kept_from: str

    def told(self) -> str:
        """In words."""
        return f"bodies below {self.below:,} were dropped by retention on {self.at:%Y-%m-%d} by {self.by}"


class _Data(msgspec.Struct):
    below: dict[str, int]
    kept_from: str


class _Event(msgspec.Struct):
    type: str
    occurred_at: datetime
    actor: str
    data: _Data


_decoder = msgspec.json.Decoder(_Event)


def read_dropped(body: bytes, stream: str) -> Dropped | None:
    """What the event in `body` says of a stream; None where it says nothing of it, or is another event."""
    try:
        event = _decoder.decode(body)
    except msgspec.DecodeError:
        return None
    below = event.data.below.get(stream, 0)
    if event.type != TYPE or below <= 0 or below % BUNDLE_LEAVES:
        return None
    return Dropped(below, event.occurred_at, event.actor, event.data.kept_from)
