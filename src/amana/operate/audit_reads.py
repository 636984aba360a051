"""Commands of `amana audit` for who looks things up: search, report, register, who read what, retention, the index.

Those that show a lender's records ask the service at AMANA_AUDIT_URL with the key AMANA_API_KEY, like any client, so
that they are recorded like any read; `retention` and `reindex` work on the database, with the owner's rights.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import msgspec
import typer

from amana.infra.settings import Settings
from amana.operate.terminal import DATA_DIR, EXIT_CANNOT, DataDir, cannot, complain, run, say

if TYPE_CHECKING:
    from amana.audit.retaining import Bodies

_WHO = re.compile(r"[A-Za-z0-9._-]{1,64}")
Running = Callable[[Path], Settings]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Out = Annotated[Path, typer.Option("--out", help="Where it is written.", dir_okay=False)]
Limit = Annotated[int, typer.Option(help="How many at most.", min=1, max=100_000)]
Id = Annotated[UUID | None, typer.Option(help="That name it.")]
Text = Annotated[str | None, typer.Option()]


def add_to(audit: typer.Typer, running: Running) -> None:
    """Adds the commands; `running` gives the settings of the stack on a folder."""
    _add_search(audit, running)
    _add_accesses(audit, running)
    _add_documents(audit, running)
    _add_upkeep(audit, running)
    _add_reindex(audit, running)


def _add_search(audit: typer.Typer, running: Running) -> None:
    @audit.command("search")
    def find(
        customer: Id = None,
        account: Id = None,
        decision: Id = None,
        loan: Id = None,
        transfer: Id = None,
        hold: Id = None,
        type_: Annotated[list[str] | None, typer.Option("--type", help="Event type; repeat it for several.")] = None,
        actor: Annotated[str | None, typer.Option(help="The id of the key that did it.")] = None,
        trace: Annotated[str | None, typer.Option(help="The trace id of the request.")] = None,
        since: Annotated[str | None, typer.Option("--from", help="At this instant or later, in RFC 3339.")] = None,
        until: Annotated[str | None, typer.Option("--to", help="Before this instant.")] = None,
        stream: Annotated[str | None, typer.Option(help="eligibility or transactions.")] = None,
        newest: Annotated[bool, typer.Option("--newest", help="Newest first.")] = False,
        limit: Limit = 100,
        as_json: AsJson = False,
        data_dir: DataDir = DATA_DIR,
    ) -> None:
        """Find events by what they name and when they were, each with its place in the log (scope audit:read)."""
        from amana.operate import audit_client as client

        ids = {"customer": customer, "account": account, "decision": decision, "loan": loan, "transfer": transfer}
        asked: dict[str, Any] = {**ids, "hold": hold, "type": type_, "actor": actor, "trace": trace, "stream": stream}
        asked |= {"from": since, "to": until, "order": "newest" if newest else None}
        _asking(running(data_dir), lambda api: client.search(api, asked, limit, as_json, say))


def _add_accesses(audit: typer.Typer, running: Running) -> None:
    @audit.command("accesses")
    def accesses(
        customer: Id = None,
        actor: Annotated[str | None, typer.Option(help="The id of the key that read.")] = None,
        limit: Limit = 100,
        as_json: AsJson = False,
        data_dir: DataDir = DATA_DIR,
    ) -> None:
        """Who read what of whom, at each service and of the audit log itself, newest first (scope audit:accesses)."""
        from amana.operate import audit_client as client

        asked = {"customer": customer, "actor": actor}
        _asking(running(data_dir), lambda api: client.accesses(api, asked, limit, as_json, say))


def _add_documents(audit: typer.Typer, running: Running) -> None:
    @audit.command("report")
    def report(
        customer: Annotated[UUID, typer.Argument(metavar="CUSTOMER", help="The customer's id.")],
        out: Out,
        data_dir: DataDir = DATA_DIR,
    ) -> None:
        """What was decided about a customer and why: a page where the file ends in .html, else JSON."""
        from amana.operate import audit_client as client

        page = out.suffix.lower() in (".html", ".htm")
        _asking(running(data_dir), lambda api: client.report(api, customer, out, page, say))

    @audit.command("register")
    def register(
        month: Annotated[str, typer.Argument(metavar="MONTH", help="Of Lagos, such as 2026-11.")],
        out: Out,
        data_dir: DataDir = DATA_DIR,
    ) -> None:
        """A month's decisions, overrides, appeals and reversals: CSV where the file ends in .csv, else JSON Lines."""
        from amana.operate import audit_client as client

        form = "csv" if out.suffix.lower() == ".csv" else "jsonl"
        _asking(running(data_dir), lambda api: client.register(api, month, out, form, say))


def _add_upkeep(audit: typer.Typer, running: Running) -> None:
    @audit.command("retention")
    def retention(
        drop_index: Annotated[
            bool, typer.Option("--drop-index", help="Drop the part of the search index that is wholly past.")
        ] = False,
        drop_bodies: Annotated[
            bool, typer.Option("--drop-bodies", help="Drop the bodies that may go; their hashes stay. Needs --by.")
        ] = False,
        by: Annotated[str | None, typer.Option(help="Who does it, for the log: a name without spaces.")] = None,
        as_json: AsJson = False,
        data_dir: DataDir = DATA_DIR,
    ) -> None:
        """How long each kind of record is kept, by which rule, and what is past that. Drops only what is asked for."""
        from amana.audit.retention import report_retention
        from amana.infra import clock

        if drop_bodies and not (by and _WHO.fullmatch(by)):
            complain("--drop-bodies needs --by: letters, digits, '.', '_' and '-', 64 at most")
            raise typer.Exit(EXIT_CANNOT)
        settings = running(data_dir)
        bodies = _bodies(settings, by if drop_bodies else None)
        found = run(report_retention(settings, clock.now(), drop=drop_index))
        if as_json:
            say(msgspec.json.encode({**msgspec.to_builtins(found), "bodies": bodies}).decode())
            return
        for each in bodies:
            kept = f"bodies from {each.lowest:,} on are there"
            say(f"{each.stream:<13} {kept}; {each.left:,} of them, below {each.below:,}, may be dropped")
        for record in found.records:
            past = f"{record.events:,} past it ({record.bytes:,} bytes)" if record.events else "none past it"
            say(f"{record.stream:<13} {record.kind}: {record.years} years, {past}; {record.source}")
        for index in found.index:
            verb = "dropped" if index.dropped else "may be dropped"
            say(f"{index.stream:<13} search index: {index.partitions} partitions {verb}, below {index.position:,}")


def _add_reindex(audit: typer.Typer, running: Running) -> None:
    @audit.command("reindex")
    def rebuild(data_dir: DataDir = DATA_DIR) -> None:
        """Build the search index anew from the log. Searches find less until it is done; nothing else notices."""
        from amana.audit.rebuild import reindex

        for stream, size in run(reindex(running(data_dir), say)).items():
            say(f"{stream}: {size:,} leaves indexed")


def _bodies(settings: Settings, by: str | None) -> "list[Bodies]":
    """What may go; with `by` after it went. Where that can't be known it is said why, and nothing goes."""
    from amana.audit.announcing import HeldBack
    from amana.audit.retaining import drop_bodies, plan_bodies
    from amana.infra import clock

    try:
        return run(plan_bodies(settings, clock.now()) if by is None else drop_bodies(settings, clock.now(), by))
    except HeldBack as error:
        if by is not None:
            cannot(str(error), error)
        complain(f"which bodies may go is not known: {error}")
        return []


def _asking(settings: Settings, work: Callable[[Any], Any]) -> None:
    """Runs `work` with the service of the settings; what it refuses is said, with the exit code for "can't"."""
    from amana.infra.http import UpstreamUnavailable
    from amana.operate.audit_client import AuditApi, AuditRefused

    try:
        run(AuditApi.asked(settings, work))
    except (AuditRefused, UpstreamUnavailable, OSError) as error:
        cannot(str(error), error)
