"""The walk along one stream: the events that a question asks for, in the order of the log, a run of segments at a time.

A question is a conjunction of groups of subjects; of each group one is enough. The walk goes along the group that is in
the fewest segments: its places, cut with those of the other groups, are the candidates, whose leaves are read by their
positions. What a leaf says decides: a row of the index that is wrong can hide an event, never invent one.

A round costs a round trip, one more for other groups, one or two for a time, and one for each page of leaves; before
the first come two at most. There are `ROUNDS_MAX`; then the walk stops short of its end and can be gone on with.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from amana.audit.index_store import Extent, IndexRows, bounds
from amana.audit.postings import SEGMENT_LEAVES, Posting, first_position, positions_in, segment_of, segment_of_block
from amana.audit.store import StoredEvent
from amana.audit.subjects import Kind, Subject, key_of, read_indexed, read_type

ROUNDS_MAX = 8
ROUND_SEGMENTS_FIRST = 16
ROUND_SEGMENTS_MAX = 1_024
ROUND_PLACES_MAX = 8_192
"""Places cut with those of other groups in one round, but for those of its last segment: about a millisecond."""
COUNTED_MAX = 256
"""Segments counted to choose what to walk along: what is in more is in many."""

BEGINNING_OF_TIME = datetime(1, 1, 1, tzinfo=UTC)
END_OF_TIME = datetime(9999, 12, 31, tzinfo=UTC)

Group = frozenset[Subject]

WHOLE_TENANT: Group = frozenset({Subject(Kind.TENANT, "")})


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked for: an event that names one of each group, at `since` or later, before `until`."""

    tenant: int
    streams: tuple[str, ...]
    groups: tuple[Group, ...] = ()
    since: datetime = BEGINNING_OF_TIME
    until: datetime = END_OF_TIME
    newest_first: bool = False
    aggregate: str | None = None
    """The id of what must have changed; a group has to name it too."""
    hidden: Group = frozenset()
    """What is not shown, whatever else it names."""

    @property
    def timed(self) -> bool:
        """Whether an event's time matters."""
        return (self.since, self.until) != (BEGINNING_OF_TIME, END_OF_TIME)


@dataclass(slots=True)
class Walked:
    """What a walk found, in the order asked for. `mark` is how far it looked; `ended`: there is no more."""

    mark: int
    ended: bool = False
    events: list[StoredEvent] = field(default_factory=list)


class Walk:
    """The walk along one stream."""

    def __init__(self, rows: IndexRows, question: Question, stream: str, extent: Extent) -> None:
        self._rows = rows
        self._question = question
        self._stream = stream
        self._extent = extent
        self._groups = [_keys(question.tenant, group) for group in question.groups or (WHOLE_TENANT,)]
        self._fits = _judge(question)

    async def run(self, mark: int, limit: int) -> Walked:
        """Up to `limit` events from `mark` on."""
        backwards = self._question.newest_first
        walked = Walked(mark)
        span = await self._span(mark)
        if span is None:
            return self._ended(walked)
        first, stop = span
        driver = await self._narrowest(first, stop)
        segments = ROUND_SEGMENTS_FIRST
        for _ in range(ROUNDS_MAX):
            postings, last = await self._run_of(driver, first, stop, segments, limit)
            candidates = await self._candidates(driver, postings, walked.mark)
            looked_at = await self._read(walked, candidates, limit)
            if last and looked_at == len(candidates):
                return self._ended(walked)
            if len(walked.events) == limit:
                return walked
            edge = (min if backwards else max)(posting.segment for posting in postings)
            first, stop = (first, edge) if backwards else (edge + 1, stop)
            walked.mark = first_position(edge) if backwards else first_position(edge) + SEGMENT_LEAVES
            segments = min(ROUND_SEGMENTS_MAX, segments * 4)
        return walked

    def _ended(self, walked: Walked) -> Walked:
        walked.ended = True
        walked.mark = self._extent.floor if self._question.newest_first else max(walked.mark, self._extent.size)
        return walked

    async def _span(self, mark: int) -> tuple[int, int] | None:
        """The segments to look at, from the first to before the last; None for none."""
        first, stop = bounds(self._stream, self._extent)
        if self._question.newest_first:
            stop = min(stop, segment_of(self._stream, mark - 1) + 1) if mark > 0 else first
        else:
            first = max(first, segment_of(self._stream, mark))
        if first >= stop:
            return None
        if self._question.timed:
            return await self._rows.segments_of_time(first, stop, self._question.since, self._question.until)
        return first, stop

    async def _narrowest(self, first: int, stop: int) -> int:
        """The number of the group that is in the fewest segments."""
        if len(self._groups) == 1:
            return 0
        keys = [key for group in self._groups for key in group]
        counts = await self._rows.count_postings(keys, first, stop, COUNTED_MAX)
        return min(range(len(self._groups)), key=lambda at: sum(counts[key] for key in self._groups[at]))

    async def _run_of(
        self, driver: int, first: int, stop: int, segments: int, limit: int
    ) -> tuple[list[Posting], bool]:
        """The next rows of the group walked along, of segments that are whole, and whether these are the last."""
        backwards = self._question.newest_first
        postings = await self._rows.postings_towards(self._groups[driver], first, stop, segments, backwards)
        pick = min if backwards else max
        cut = [found for found in _by_key(postings).values() if len(found) == segments]
        ends = [pick(posting.segment for posting in found) for found in cut]
        # Then every place is one that is asked for.
        plain = len(self._groups) == 1 and not self._question.timed and not self._question.hidden
        ends += _where_enough(postings, limit if plain else max(limit, ROUND_PLACES_MAX), backwards)
        if not ends:
            return postings, True
        if backwards:
            return [posting for posting in postings if posting.segment >= max(ends)], False
        return [posting for posting in postings if posting.segment <= min(ends)], False

    async def _candidates(self, driver: int, postings: Sequence[Posting], mark: int) -> list[int]:
        """The positions that every group has, beyond `mark`, in the order asked for."""
        within = await self._of_time({posting.segment for posting in postings}) if self._question.timed else None
        places = _united(postings, within)
        others = [group for at, group in enumerate(self._groups) if at != driver]
        if others and places:
            keys = [key for group in others for key in group]
            found = _by_key(await self._rows.postings_at(keys, list(places)))
            for group in others:
                of_group = _united([posting for key in group for posting in found.get(key, ())], within)
                places = {at: places[at] & of_group[at] for at in places.keys() & of_group.keys()}
        backwards = self._question.newest_first
        positions = sorted(set().union(*places.values()) if places else (), reverse=backwards)
        positions = [at for at in positions if (at < mark if backwards else at >= mark)]
        return [at for at in positions if self._extent.floor <= at < self._extent.size]

    async def _of_time(self, segments: set[int]) -> dict[int, list[int] | None]:
        """Of `segments` those that can hold the time asked for, each with its blocks that can; None where all can."""
        since, until = self._question.since, self._question.until
        many = len(segments) > ROUND_SEGMENTS_FIRST
        whole = await self._rows.segments_within(list(segments), since, until) if many else set()
        within: dict[int, list[int] | None] = dict.fromkeys(whole)
        ends: dict[int, list[int]] = defaultdict(list)
        if len(whole) < len(segments):
            for block in await self._rows.blocks_of_time(list(segments - whole), since, until):
                ends[segment_of_block(block)].append(block)
        return within | ends

    async def _read(self, walked: Walked, candidates: Sequence[int], limit: int) -> int:
        """Reads leaves, keeps up to `limit` of those that are asked for; how many candidates were looked at."""
        backwards = self._question.newest_first
        at = 0
        while at < len(candidates) and len(walked.events) < limit:
            wanted = candidates[at : at + limit - len(walked.events)]
            at += len(wanted)
            question = self._question
            events = await self._rows.events_at(question.tenant, self._stream, wanted, question.since, question.until)
            fit = [event for event in events if self._fits(event.body)]
            walked.events += reversed(fit) if backwards else fit
            walked.mark = wanted[-1] if backwards else wanted[-1] + 1
        return at


def _keys(tenant: int, group: Group) -> list[int]:
    return [key_of(tenant, subject) for subject in sorted(group)]


def _by_key(postings: Sequence[Posting]) -> dict[int, list[Posting]]:
    found: dict[int, list[Posting]] = defaultdict(list)
    for posting in postings:
        found[posting.key].append(posting)
    return found


def _united(postings: Sequence[Posting], within: Mapping[int, list[int] | None] | None) -> dict[int, set[int]]:
    """The positions of any of the keys, by segment; of the segments and blocks `within` alone, where given."""
    places: dict[int, set[int]] = defaultdict(set)
    for posting in postings:
        if within is None:
            places[posting.segment].update(positions_in(posting.segment, posting.places))
        elif posting.segment in within:
            places[posting.segment].update(positions_in(posting.segment, posting.places, within[posting.segment]))
    return dict(places)


def _where_enough(postings: Sequence[Posting], enough: int, backwards: bool) -> list[int]:
    """The segment with which a run holds enough places, if it holds more than that one."""
    ordered = sorted(postings, key=lambda posting: posting.segment, reverse=backwards)
    places = 0
    for posting in ordered:
        places += len(posting.places) // 2
        if places >= enough:
            return [posting.segment] if posting.segment != ordered[-1].segment else []
    return []


def _judge(question: Question) -> Callable[[bytes], bool]:
    """Whether the event in the bytes of a leaf is one that is asked for; of its tenant and time it is known to be."""
    named = [*question.groups, question.hidden]
    if question.aggregate is None and all(subject.kind is Kind.TYPE for group in named for subject in group):
        types: dict[str, bool] = {}

        def of_type(body: bytes) -> bool:
            type_ = read_type(body)
            if type_ not in types:
                types[type_] = _names(question, {(Kind.TYPE, type_)})
            return types[type_]

        return of_type

    def fits(body: bytes) -> bool:
        read = read_indexed(body)
        return question.aggregate in (None, read.aggregate) and _names(question, read.subjects)

    return fits


def _names(question: Question, subjects: set[tuple[Kind, str]]) -> bool:
    """One of each group, and nothing that is hidden."""
    hidden = not question.hidden.isdisjoint(subjects)
    return not hidden and all(not group.isdisjoint(subjects) for group in question.groups)
