"""What every command shares: running its work, saying what came of it, and the exit codes.

Light to import: `amana --help` loads no driver, no event loop and no console.
"""

import sys
from collections.abc import Coroutine
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import msgspec
import typer

from amana.infra.mendable import Mendable

if TYPE_CHECKING:
    from rich.console import Console

EXIT_NOT_OK, EXIT_CANNOT, EXIT_INTERRUPTED = 1, 2, 130
DATA_DIR = Path(".amana")
DataDir = Annotated[Path, typer.Option("--data-dir", help="Where the stack keeps its data.")]
T = TypeVar("T")


@cache
def console() -> "Console":
    """Where everything is told but what went wrong."""
    from rich.console import Console

    return Console(highlight=False, emoji=False)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs `work`; what a person at the keyboard can mend is said in one line, with exit code 2."""
    import uvloop

    try:
        return uvloop.run(work)
    except KeyboardInterrupt as error:
        raise typer.Exit(EXIT_INTERRUPTED) from error
    except Mendable as error:
        cannot(str(error), error)


def run_lines(work: Coroutine[Any, Any, list[str]]) -> None:
    """Says the lines that `work` gives; its ValueError is about what was typed."""
    try:
        for line in run(work):
            say(line)
    except ValueError as error:
        cannot(str(error), error)


def finish(result: tuple[dict[str, Any], bool], report: Path | None) -> None:
    """Writes the result where a report was asked for; exit code 1 when it is not all well."""
    content, ok = result
    if report is not None:
        try:
            report.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2))
        except OSError as error:
            cannot(f"the report {report} can't be written: {error.strerror}", error)
        say(f"Report: {report}")
    if not ok:
        raise typer.Exit(EXIT_NOT_OK)


def report_place(report: Path | None) -> Path | None:
    """Makes sure that a report can be written, before the work that it tells of; makes its folder."""
    if report is None:
        return None
    try:
        report.parent.mkdir(parents=True, exist_ok=True)
        if not report.exists():
            report.touch(exist_ok=False)
            report.unlink()
        elif not report.is_fifo():  # opening one waits for its reader
            report.open("ab").close()
    except OSError as error:
        cannot(f"the report {report} can't be written: {error.strerror}", error)
    return report


def folder_place(folder: Path) -> Path:
    """Makes sure that the folder to read is there."""
    if not folder.is_dir():
        complain(f"the folder {folder} {'is a file' if folder.exists() else 'does not exist'}")
        raise typer.Exit(EXIT_CANNOT)
    return folder


def say(line: str) -> None:
    """One plain line, never wrapped: keys and commands are copied from here."""
    console().print(line, markup=False, soft_wrap=True)


def complain(line: str) -> None:
    """One line about what went wrong, on stderr."""
    print(f"amana: {line}", file=sys.stderr)  # noqa: T201 - plain, also where the console is a pipe


def cannot(line: str, error: Exception) -> NoReturn:
    """Complains and ends the command with exit code 2."""
    complain(line)
    raise typer.Exit(EXIT_CANNOT) from error
