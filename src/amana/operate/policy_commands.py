"""The command group `amana policy`. Light to import: what checks a document is imported when it is asked for."""

from typing import Annotated

import msgspec
import typer

from amana.operate.terminal import EXIT_NOT_OK, cannot, say

policy = typer.Typer(no_args_is_help=True, help="Policies: documents that say who may borrow how much at what price.")

File = Annotated[str, typer.Argument(metavar="FILE", help="A policy document, in JSON.")]
AsJson = Annotated[bool, typer.Option("--json", help="Say it as one JSON object.")]


@policy.command("validate")
def validate_file(file: File, as_json: AsJson = False) -> None:
    """Check a document as publishing does: each fault with its JSON pointer, code and sentence.

    Exit code 0: it may be published; 1: it has faults; 2: the file can't be read.
    """
    from amana.operate.policy_file import read_document, validate

    try:
        found = validate(read_document(file))
    except OSError as error:
        cannot(f"the policy {file} can't be read: {error.strerror}", error)
    if as_json:
        say(msgspec.json.encode(found.to_json()).decode())
    elif found.faults:
        for fault in found.faults:
            say(f"{fault.pointer or '(document)'}  {fault.code}  {fault.detail}")
    else:
        say(f"{file} has no fault: product {found.product}, hash {found.hash}")
    if found.faults:
        raise typer.Exit(EXIT_NOT_OK)


@policy.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of a document (draft 2020-12)."""
    from amana.domain.policy_schema import policy_schema

    say(policy_schema().rstrip())
