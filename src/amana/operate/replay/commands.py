"""The command `amana replay`. Light to import: no driver until it is asked for."""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from amana.infra.settings import Settings
from amana.operate.audit_commands import Checkpoints, KeyFile, Keys, all_keys
from amana.operate.terminal import DATA_DIR, DataDir, cannot, console, finish, report_place, run, say

LOGS = ("audit", "outbox")
LogName = Annotated[str | None, typer.Option(help="Where events come from: audit, or outbox (the sources').")]
Only = Annotated[str, typer.Option(help="Tables to rebuild, with commas between them; else all.")]
Until = Annotated[str | None, typer.Option(help="As it stood just before an instant, in RFC 3339.")]
FromSnapshot = Annotated[Path | None, typer.Option(help="Begin with what --write-snapshot wrote.")]
WriteSnapshot = Annotated[Path | None, typer.Option(help="Write what stands to a file, to begin with next time.")]
Scratch = Annotated[str, typer.Option("--scratch-url", help="A database for the scratch schema; else the main one.")]
Keep = Annotated[bool, typer.Option("--keep", help="Keep the scratch schema, to look at or to build from.")]
Export = Annotated[Path | None, typer.Option(help="A folder for the rebuilt rows, a CSV file for each table.")]
Memory = Annotated[int, typer.Option("--rows-in-memory", help="Rows in hand, each below 1 KiB.", min=1_000)]
Customer = Annotated[UUID | None, typer.Option(help="Tell what happened to a customer, event by event.")]
AccountId = Annotated[UUID | None, typer.Option("--account", help="... to an account.")]
Loan = Annotated[UUID | None, typer.Option(help="... to a loan and its accounts.")]
Decision = Annotated[UUID | None, typer.Option(help="... to a decision.")]
FromExport = Annotated[Path | None, typer.Option(help="... or an export of the log, verified with the keys given.")]
FromAudit = Annotated[str, typer.Option(help="... or the audit service at an address, held to the keys given.")]
NoCompare = Annotated[bool, typer.Option("--no-compare", help="Rebuild only: no live tables are needed.")]
Report = Annotated[Path | None, typer.Option("--report", callback=report_place, help="Write the result as JSON too.")]


def command(given: Callable[[], Settings], running: Callable[[Path], Settings]) -> Callable[..., None]:
    """The command. `given` reads the AMANA_* settings, `running` also looks for a stack on a data directory."""

    def replay(
        log: LogName = None,
        from_export: FromExport = None,
        from_audit: FromAudit = "",
        key: Keys = None,
        keys: KeyFile = None,
        checkpoints: Checkpoints = None,
        no_compare: NoCompare = False,
        only: Only = "",
        until: Until = None,
        from_snapshot: FromSnapshot = None,
        write_snapshot: WriteSnapshot = None,
        scratch_url: Scratch = "",
        keep: Keep = False,
        export: Export = None,
        rows_in_memory: Memory = 1_000_000,
        customer: Customer = None,
        account: AccountId = None,
        loan: Loan = None,
        decision: Decision = None,
        report: Report = None,
        data_dir: DataDir = DATA_DIR,
    ) -> None:
        """Rebuild what stands from the log alone, and compare it with the live tables; or tell one thing's story.

        Exit code 0: nothing differs; 1: something does; 2: it could not be done.
        """
        asked: dict[str, Any] = {"log": log, "only": only, "until": until, "keep": keep, "export": export}
        asked |= {"from_snapshot": from_snapshot, "write_snapshot": write_snapshot, "compare": not no_compare}
        asked |= {"from_export": from_export, "from_audit": from_audit, "rows_in_memory": rows_in_memory}
        asked |= {"keys": all_keys(key, keys), "checkpoints": checkpoints or (), "scratch_url": scratch_url}
        subjects = [id_ for id_ in (customer, account, loan, decision) if id_ is not None]
        _do(lambda: _work(*_made(asked, given, lambda: running(data_dir), subjects), subjects), report)

    return replay


def _made(
    asked: dict[str, Any], given: Callable[[], Settings], running: Callable[[], Settings], subjects: list[UUID]
) -> tuple[Settings, Any]:
    """The settings and the `Options` that the words come to. Raises `CannotReplay` and `ValueError`."""
    from amana.operate.replay.options import Options, named_tables

    log = _log(asked["log"], asked["from_export"], asked["from_audit"])
    until = None if asked["until"] is None else _instant(asked["until"])
    options = Options(**asked | {"log": log, "only": named_tables(asked["only"]), "until": until})
    options.require_sense()
    found = given()
    return (found if options.needs_no_stack(found, story=bool(subjects)) else running()), options


def _do(work: Callable[[], Coroutine[Any, Any, tuple[dict[str, Any], bool]]], report: Path | None) -> None:
    from amana.infra.http import UpstreamUnavailable
    from amana.operate.replay.options import CannotReplay

    try:
        finish(run(work()), report)
    except (CannotReplay, UpstreamUnavailable, ValueError, OSError) as error:
        cannot(str(error), error)


async def _work(settings: Settings, options: Any, subjects: list[UUID]) -> tuple[dict[str, Any], bool]:
    import msgspec

    from amana.operate.replay.run import replay, tell_story
    from amana.operate.replay.telling import Telling, tell

    telling = Telling(console())
    if subjects:
        lines = [line for subject in subjects for line in await tell_story(settings, options, subject, telling)]
        for line in lines:
            say(line.told())
        say(f"{len(lines):,} events")
        return {"events": [msgspec.to_builtins(line._asdict()) for line in lines]}, bool(lines)
    result = await replay(settings, options, telling)
    tell(console(), result)
    return msgspec.to_builtins(result) | {"ok": result.ok}, result.ok


def _log(name: str | None, from_export: Path | None, from_audit: str) -> Any:
    """The log that was named. Raises `ValueError`."""
    from amana.operate.replay.options import Log

    if name is not None and name not in LOGS:
        raise ValueError(f"--log is audit or outbox, not {name}")
    if name is not None and (from_export is not None or from_audit):
        raise ValueError(f"--log {name} is a log of its own: it does not go with --from-export or --from-audit")
    return Log(name or "audit")


def _instant(text: str) -> datetime:
    """An instant with its offset. Raises `ValueError`."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"--until is an instant such as 2026-11-27T09:30:00Z, not {text}") from error
    if instant.tzinfo is None:
        raise ValueError(f"--until has no offset: {text}Z is UTC")
    return instant.astimezone(UTC)
