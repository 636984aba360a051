"""The import itself: lists go out in the order of the file, and what came of them is taken down in that order.

With one list in flight every line is tried after the one before it, as if they were sent one at a time. With more,
lists may overtake one another; only what names the same id (a hold and its capture) still waits for its turn.

A list is sent again, under the same ids, for as long as the service can't be reached; what a killed run had in flight
is sent again by the next. So nothing has a second effect, and what was posted already comes back as replayed.
"""

import asyncio
import time
from collections import deque
from contextlib import AsyncExitStack
from typing import Any

from rich.console import Console

from amana.infra.http import HttpClient
from amana.operate.imports.journal import Journal, State
from amana.operate.imports.lines import CannotImport, Source
from amana.operate.imports.lists import TransferList
from amana.operate.imports.options import Options, begun, beside, import_id, open_lists, opened
from amana.operate.imports.sending import Landed, send
from amana.operate.imports.telling import Bar, Dates, tell
from amana.tape.client import NOBODY, Client, Refusal, Urls

ATTEMPTS_MAX = 40
"""Of one list: with the pauses in between, about three minutes."""
SAVE_EVERY_S = 0.5


async def run_import(console: Console, options: Options) -> tuple[dict[str, Any], bool]:
    """Imports a file, or goes on with it. The report, and whether every line was posted. Raises `CannotImport`."""
    state, state_file = begun(options)
    if state.is_done:
        console.print("This file was imported before; nothing was sent.")
    else:
        if options.strict and not check_file(console, options)[1]:
            raise CannotImport("nothing was sent: with --strict every line must be well-formed")
        with opened(options) as stream, Journal(state, state_file, beside(options, "refused.jsonl")) as journal:
            async with HttpClient(options.in_flight) as http:
                client = Client(http, Urls(options.url, options.url), options.key, ATTEMPTS_MAX)
                await _Importer(console, options, journal, Source(stream), client).run()
    return tell(console, state, beside(options, "refused.jsonl")), state.is_all_well


def check_file(console: Console, options: Options) -> tuple[dict[str, Any], bool]:
    """Reads and checks a whole file and sends nothing. The report, and whether every line is well-formed."""
    state = State(import_id=import_id(options), url="")
    found = beside(options, "checked.jsonl")
    with opened(options) as stream, Journal(state, None, found) as journal:
        source, dates = Source(stream), Dates()
        bar = Bar(console, options, "Checking")
        with bar.progress:
            for one in open_lists(options, source, state):
                assert one.end is not None, "a list that is given out has ended"
                journal.take([], [], one.faults, one.end)
                state.counts["well-formed"] = state.counts.get("well-formed", 0) + len(one.items)
                dates.note(one.items)
                bar.at(state, one.faults)
        journal.save()
    report = tell(console, state, found)
    return report | dates.tell(console), state.is_all_well


class _Importer:
    """One run: the lists in flight, oldest first."""

    def __init__(self, console: Console, options: Options, journal: Journal, source: Source, client: Client) -> None:
        self._options = options
        self._journal = journal
        self._source = source
        self._client = client
        self._bar = Bar(console, options, "Importing")
        self._flying: deque[tuple[TransferList, asyncio.Task[Landed | Refusal]]] = deque()
        self._saved_s = 0.0

    async def run(self) -> None:
        """Sends what is left of the file."""
        async with AsyncExitStack() as at_the_end:
            at_the_end.enter_context(self._bar.progress)
            at_the_end.push_async_callback(self._stop)
            lists = open_lists(self._options, self._source, self._journal.state)
            while (one := await asyncio.to_thread(next, lists, None)) is not None:  # while others are in flight
                while self._flying and self._must_wait(one):
                    await self._land()
                self._flying.append((one, asyncio.create_task(send(self._client.move, one.items))))
            while self._flying:
                await self._land()
            self._journal.state.is_done = True
            self._journal.save()

    def _must_wait(self, one: TransferList) -> bool:
        if len(self._flying) >= self._options.in_flight:
            return True
        return any(not one.names.isdisjoint(other.names) for other, _ in self._flying)

    async def _land(self) -> None:
        """Takes down what came of the oldest list in flight."""
        one, sent = self._flying[0]
        landed = await sent
        if isinstance(landed, Refusal):
            raise CannotImport(_stopped(landed, one, self._options.url))
        assert one.end is not None, "a list that is given out has ended"
        self._flying.popleft()
        faults = sorted(one.faults + landed.faults, key=lambda fault: fault.line)
        self._journal.take(landed.items, landed.results, faults, one.end)
        self._bar.at(self._journal.state, faults)
        if time.monotonic() - self._saved_s >= SAVE_EVERY_S:
            self._journal.save()
            self._saved_s = time.monotonic()

    async def _stop(self) -> None:
        """Whatever ended the run: what was taken down is kept, and nothing more is sent."""
        for _, sent in self._flying:
            sent.cancel()
        await asyncio.gather(*(sent for _, sent in self._flying), return_exceptions=True)
        self._journal.save()


def _stopped(answer: Refusal, one: TransferList, url: str) -> str:
    if answer.status == NOBODY:
        return f"{url} does not answer: {answer.body}; run the same command again to go on"
    where = f"in the list of lines {one.items[0].line:,} to {one.items[-1].line:,}"
    return f"the service refused to go on, {where}: {answer.status} {answer.code} {answer.body}"
