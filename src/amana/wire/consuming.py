"""How consumers are told of and looked after: progress, dead letters, redriving. For operators, across tenants."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from amana.wire.common import Request, Response

Number = Annotated[int, Meta(ge=1, le=2**53 - 1)]


class StreamEnd(Response):
    """How far a stream is: `last` is the highest position given, `published` the highest that the broker has
    acknowledged with all before it; -1 for none. Events before position `oldest` were pruned: the audit log has them.

    Everything that was committed before `settled_at` has a position up to `last`, by the clock of the stream's
    database, which said `now` just before; null where too much waits for a position to say so.
    """

    stream: str
    last: int
    published: int
    now: datetime
    settled_at: datetime | None
    oldest: int = 0


class ConsumedStream(Response):
    """Everything below position `below` was taken, and `ahead` events above it."""

    stream: str
    below: int
    ahead: int
    advanced_at: datetime


class LetterCount(Response):
    """Open letters of a state, and the keys that they hold up."""

    state: str
    letters: int
    keys: int


class ConsumerStatus(Response):
    """One consumer: its streams and what it could not handle."""

    consumer: str
    streams: list[ConsumedStream]
    letters: list[LetterCount]


class LetterView(Response):
    """A message that was kept. `value` is its bytes in base64; `stream` and `position` are null for a message that the
    relay did not send; `offset` is -1 for what was fetched from the source."""

    letter: int
    state: str
    reason: str
    error: str
    attempts: int
    key: str
    stream: str | None
    position: int | None
    topic: str
    partition: int
    offset: int
    type: str | None
    kept_at: datetime
    settled_at: datetime | None
    value: bytes


class LetterPage(Response):
    """Letters by number. `next`, when there may be more, is the `after` of the next page."""

    letters: list[LetterView]
    next: int | None


class RedriveRequest(Request):
    """Exactly one of: a `letter` (the first of its key; those behind it follow), a `key`, or `all` (from letter
    `after` on). With `discard` the letter is given up instead, and those behind it are redriven."""

    letter: Number | None = None
    key: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    all: bool = False
    after: Annotated[int, Meta(ge=0, le=2**53 - 1)] = 0
    discard: bool = False


class FailedLetter(Response):
    """A letter that failed again."""

    letter: int
    reason: str
    error: str


class RedriveResult(Response):
    """What came of it: letters done, and those that failed again. `more`: ask again, with `after` for `all`.

    `replayed`: the letter was done or discarded before; nothing happened.
    """

    done: int
    failed: list[FailedLetter]
    more: bool
    after: int
    replayed: bool = False
