"""Reading a stream from any source: no gap is passed over, and no root that was signed."""

from collections.abc import Sequence

import pytest
from tests.audit.exports import leaf, root

from amana.operate.replay.log import Stream
from amana.operate.replay.options import CannotReplay
from amana.operate.replay.sources import Event, Signed

PAGE = 7


class Listed:
    """Events from a list, a few at a time, of which some sizes were signed."""

    stream, place, advice = "transactions", "list", "add to it"

    def __init__(self, events: Sequence[Event], *sizes: int) -> None:
        self.events = list(events)
        hashes = [leaf(event.body) for event in events]
        self.sizes = [Signed(size, root(hashes[:size])) for size in sizes]

    async def last(self) -> int:
        return len(self.events) - 1

    async def page(self, start: int, limit: int) -> list[Event]:
        return self.events[start : start + min(PAGE, limit)]

    async def signed(self, _size: int) -> list[Signed]:
        return self.sizes

    async def tree_at(self, _size: int) -> None:
        return

    async def oldest(self) -> int:
        return 0


def events(count: int) -> list[Event]:
    return [Event(at, "Something", b"event %d" % at) for at in range(count)]


async def walk(source: Listed, last: int) -> Stream:
    """The stream, read up to a position as far as it goes, and confirmed."""
    stream = Stream(source)
    await stream.expect_signed(last)
    async for _ in stream.pages(last):
        pass
    await stream.confirm()
    return stream


async def test_every_size_that_was_signed_is_met_on_the_way() -> None:
    stream = await walk(Listed(events(40), 5, 7, 20, 40), 39)
    assert (stream.tree.size, stream.differs) == (40, "")
    assert stream.tree.root() == root([leaf(event.body) for event in events(40)])


@pytest.mark.parametrize("altered", [0, 4, 5, 19, 20, 30, 39])
async def test_an_altered_event_is_seen_at_the_next_signed_size(altered: int) -> None:
    source = Listed(events(40), 5, 20, 40)
    source.events[altered] = Event(altered, "Something", b"something else")
    stream = await walk(source, 39)
    assert f"at size {next(size for size in (5, 20, 40) if size > altered)}, signed" in stream.differs


@pytest.mark.parametrize("altered", [21, 29])
async def test_what_was_read_last_is_vouched_for_by_what_was_signed_after_it(altered: int) -> None:
    source = Listed(events(40), 20, 37)
    assert (await walk(source, 29)).differs == ""
    source.events[altered] = Event(altered, "Something", b"something else")
    stream = await walk(source, 29)
    assert stream.tree.size == 30, "what was read on is not what was asked for"
    assert "at size 37, signed" in stream.differs


@pytest.mark.parametrize(
    ("given", "at"),
    [
        ([*events(5), *events(9)[6:]], 5),  # missing
        ([*events(5), *events(9)[4:]], 5),  # doubled
        ([*events(9)[:3], events(9)[4], events(9)[3], *events(9)[5:]], 3),  # reordered
        (events(6), 6),  # cut off
        ([], 0),
    ],
)
async def test_a_gap_is_named_and_never_passed_over(given: list[Event], at: int) -> None:
    with pytest.raises(CannotReplay, match=f"the list of transactions has no event at position {at}"):
        await walk(Listed(given), 8)


async def test_what_is_not_there_in_time_is_said_with_what_to_do() -> None:
    with pytest.raises(CannotReplay, match="list of transactions ends at position 3, and 4 was given: add to it"):
        await Stream(Listed(events(4))).wait_for(4, settle_s=0)
