"""The command group `amana events`. Light to import: the work is imported when it is asked for."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar
from uuid import UUID

import msgspec
import typer

from amana.infra.settings import Settings
from amana.operate.streams.prune_command import add_prune
from amana.operate.streams.retire_command import add_retire
from amana.operate.terminal import DATA_DIR, EXIT_CANNOT, EXIT_NOT_OK, DataDir, cannot, complain, run, say

if TYPE_CHECKING:
    from amana.operate.streams.client import Services

POSITION_DIGITS_MAX = 15
LISTED_DEFAULT, LISTED_MAX = 100, 10_000

T = TypeVar("T")
Running = Callable[[Path], Settings]
"""The settings of the stack that runs on a data directory."""

AsJson = Annotated[bool, typer.Option("--json", help="One JSON value a line.")]


class Stream(StrEnum):
    """A stream of events."""

    ELIGIBILITY = "eligibility"
    TRANSACTIONS = "transactions"
    NOTIFICATIONS = "notifications"


class LetterState(StrEnum):
    """Of what is kept."""

    DEAD = "dead"
    PARKED = "parked"
    WAITING = "waiting"
    DONE = "done"
    DISCARDED = "discarded"
    ALL = "all"


def _start(text: str) -> str:
    if text in ("now", "start") or (text.isascii() and text.isdecimal() and len(text) <= POSITION_DIGITS_MAX):
        return text
    raise typer.BadParameter("now, start, or a position such as 1200")


def group(running: Running) -> typer.Typer:
    """The group; `running` gives the settings."""
    events = typer.Typer(
        no_args_is_help=True, help="Events: watch them, see who lags, redrive what failed, prune what is old."
    )
    for add in (_add_tail, _add_lag, _add_dead, _add_redrive, add_prune, add_retire):
        add(events, running)
    return events


def _add_tail(events: typer.Typer, running: Running) -> None:
    @events.command("tail")
    def tail(
        stream: Annotated[Stream | None, typer.Option(help="One stream; else eligibility and transactions.")] = None,
        start: Annotated[
            str, typer.Option("--from", callback=_start, help="now, start, or a position (with --stream).")
        ] = "now",
        type_: Annotated[list[str] | None, typer.Option("--type", help="Only this type; repeat it.")] = None,
        aggregate: Annotated[UUID | None, typer.Option(help="Only of this loan, decision, account, ...")] = None,
        customer: Annotated[UUID | None, typer.Option(help="Only of this customer.")] = None,
        tenant: Annotated[int | None, typer.Option(help="Only of this lender, by number.", min=0)] = None,
        count: Annotated[int | None, typer.Option(help="Stop after so many; else on Ctrl-C.", min=1)] = None,
        as_json: AsJson = False,
        data_dir: DataDir = DATA_DIR,
    ) -> None:
        """Show events as they get their positions, until Ctrl-C."""
        from amana.operate.streams.client import STREAMS
        from amana.operate.streams.tailing import Wanted, follow

        if start.isdecimal() and stream is None:
            raise typer.BadParameter("a position is of one stream: name it with --stream", param_hint="--from")
        streams = (stream.value,) if stream else STREAMS
        wanted = Wanted(tuple(type_ or ()), aggregate, customer, tenant)
        _ask(running(data_dir), follow(streams, start, wanted, count, as_json=as_json, say=say, complain=complain))


def _add_lag(events: typer.Typer, running: Running) -> None:
    @events.command("lag")
    def lag(
        as_json: AsJson = False,
        max_seconds: Annotated[
            float | None, typer.Option(help="Exit code 1 when anybody is further behind.", min=0)
        ] = None,
        data_dir: DataDir = DATA_DIR,
    ) -> None:
        """Say how far each stream is, and how far behind the relay and each consumer stand.

        Exit code 0: everybody was asked; 1: somebody could not be, or is behind by more than --max-seconds; 2: a
        source could not be asked.
        """
        from amana.operate.streams import lagging

        found, away = _ask(running(data_dir), lagging.lags)
        lines = [msgspec.json.encode(one.to_json()).decode() for one in found] if as_json else lagging.table(found)
        for line in lines:
            say(line)
        for line in away:
            complain(line)
        late = max_seconds is not None and any(one.seconds > max_seconds for one in found)
        if away or late:
            raise typer.Exit(EXIT_NOT_OK)


def _add_dead(events: typer.Typer, running: Running) -> None:
    @events.command("dead")
    def dead(
        letter: Annotated[int | None, typer.Argument(help="Show this one whole; else list.", min=1)] = None,
        state: Annotated[LetterState, typer.Option(help="Which ones.")] = LetterState.DEAD,
        key: Annotated[str | None, typer.Option(help="Only of this key: an aggregate's id.")] = None,
        limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=LISTED_MAX)] = LISTED_DEFAULT,
        as_json: AsJson = False,
        data_dir: DataDir = DATA_DIR,
    ) -> None:
        """List what could not be handled, with the reason; or what is parked behind it."""
        from amana.operate.streams import letters

        settings = running(data_dir)
        if letter is not None:
            _show(settings, letter, as_json=as_json)
            return
        wanted = {"state": None if state is LetterState.ALL else state.value, "key": key}
        listed = _ask(settings, lambda services: letters.listed(services, limit, wanted))
        for view in listed:
            say(msgspec.json.encode(view).decode() if as_json else letters.row(view))
        if not listed and not as_json:
            say("none")


def _show(settings: Settings, letter: int, *, as_json: bool) -> None:
    from amana.operate.streams import letters

    found = _ask(settings, lambda services: letters.one(services, letter))
    if found is None:
        complain(f"there is no letter {letter}")
        raise typer.Exit(EXIT_NOT_OK)
    for line in [msgspec.json.encode(found).decode()] if as_json else letters.whole(found):
        say(line)


def _add_redrive(events: typer.Typer, running: Running) -> None:
    @events.command("redrive")
    def redrive(
        letter: Annotated[int | None, typer.Argument(help="One letter, and what is parked behind it.", min=1)] = None,
        key: Annotated[str | None, typer.Option(help="All of a key: an aggregate's id.")] = None,
        everything: Annotated[bool, typer.Option("--all", help="All of every key.")] = False,
        discard: Annotated[bool, typer.Option(help="Give the letter up; what is behind it is redriven.")] = False,
        data_dir: DataDir = DATA_DIR,
    ) -> None:
        """Handle again what failed, in order; once done, nothing is done twice.

        Exit code 0: all of it is done; 1: some of it failed again, or was refused; 2: the service can't be asked.
        """
        from amana.operate.streams import letters

        given = {"letter": letter, "key": key, "all": everything or None}
        asked = {name: value for name, value in given.items() if value is not None}
        if len(asked) != 1 or (discard and letter is None):
            complain("--discard gives up one LETTER" if discard else "name exactly one of a LETTER, --key and --all")
            raise typer.Exit(EXIT_CANNOT)
        if discard:
            asked["discard"] = True
        result = _ask(running(data_dir), lambda services: letters.redriven(services, asked))
        for line in letters.told(result, discarded=discard):
            say(line)
        if result.failed or result.more:
            raise typer.Exit(EXIT_NOT_OK)


def _ask(settings: Settings, work: "Callable[[Services], Awaitable[T]]") -> T:
    """What `work` gives. Exit code 1: it was refused; 2: a service can't be asked."""
    from amana.infra.http import UpstreamUnavailable
    from amana.operate.streams.client import Refused, asking

    try:
        return run(asking(settings, work))
    except Refused as error:
        complain(str(error))
        raise typer.Exit(EXIT_NOT_OK) from error
    except UpstreamUnavailable as error:
        cannot(str(error), error)
