"""The command group `amana policy`. Light to import: what does the work is imported when it is asked for.

`validate` and `schema` need no service. The others ask the one at AMANA_ELIGIBILITY_URL with the key AMANA_API_KEY.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import msgspec
import typer

from amana.infra.settings import Settings
from amana.operate.terminal import EXIT_CANNOT, EXIT_NOT_OK, cannot, complain, run, say

if TYPE_CHECKING:
    from amana.operate.policy_client import PolicyApi

File = Annotated[str, typer.Argument(metavar="FILE", help="A policy document, in JSON.")]
AsJson = Annotated[bool, typer.Option("--json", help="Say it as one JSON object.")]
Product = Annotated[str, typer.Argument(metavar="PRODUCT", help="What the policy decides: nano, airtime, ...")]
Number = Annotated[int, typer.Argument(min=1, help="A version's number.")]
Id = Annotated[UUID | None, typer.Option("--id", help="The step's id; a new one without it.")]


def group(given: Callable[[], Settings]) -> typer.Typer:
    """The group; `given` reads the AMANA_* settings."""
    policy = typer.Typer(
        no_args_is_help=True, help="Policies: documents that say who may borrow how much at what price."
    )
    policy.command("validate")(validate_file)
    policy.command("schema")(print_schema)
    _add_steps(policy, given)
    _add_reads(policy, given)
    return policy


def _add_steps(policy: typer.Typer, given: Callable[[], Settings]) -> None:
    @policy.command("draft")
    def draft(file: File, id_: Id = None) -> None:
        """Draft a document as its product's newest version, for another key to approve (scope policies:write)."""
        from amana.operate import policy_client as client

        _ask(given(), lambda api: client.draft(api, file, id_))

    @policy.command("approve")
    def approve(
        product: Product,
        version: Number,
        start: Annotated[str | None, typer.Option("--from", help="When it starts, in RFC 3339; else now.")] = None,
        id_: Id = None,
    ) -> None:
        """Approve a version that another key drafted (scope policies:approve)."""
        from amana.operate import policy_client as client

        _ask(given(), lambda api: client.approve(api, product, version, start, id_))

    @policy.command("withdraw")
    def withdraw(product: Product, version: Number, id_: Id = None) -> None:
        """Take back a draft, or a version that starts later."""
        from amana.operate import policy_client as client

        _ask(given(), lambda api: client.withdraw(api, product, version, id_))

    @policy.command("rollback")
    def rollback(
        product: Product,
        digest: Annotated[str, typer.Argument(metavar="HASH", help="The hash of a version that was live.")],
        id_: Id = None,
    ) -> None:
        """Draft again what was live before, by its hash; another key approves it (scope policies:write)."""
        from amana.operate import policy_client as client

        _ask(given(), lambda api: client.roll_back(api, product, digest, id_))


def _add_reads(policy: typer.Typer, given: Callable[[], Settings]) -> None:
    @policy.command("list")
    def list_versions(product: Product) -> None:
        """List the newest versions: state, hash, who took which step."""
        from amana.operate import policy_client as client

        _ask(given(), lambda api: client.versions(api, product))

    @policy.command("show")
    def show(
        product: Product,
        version: Annotated[int | None, typer.Option(min=1, help="Its number; else the live one.")] = None,
    ) -> None:
        """Print the document of a version."""
        from amana.operate import policy_client as client

        _ask(given(), lambda api: client.show(api, product, version))

    @policy.command("diff")
    def diff(product: Product, before: Number, after: Number) -> None:
        """Say what differs between two versions, a line for each value."""
        from amana.operate import policy_client as client

        _ask(given(), lambda api: client.diff(api, product, before, after))


def _ask(settings: Settings, work: "Callable[[PolicyApi], Awaitable[list[str]]]") -> None:
    """Says the lines of the answer. Exit code 1: it was refused; 2: the service or a file could not be read."""
    from amana.operate.policy_client import PolicyRefused, PolicyUnanswered, asking

    if not settings.api_key:
        complain("AMANA_API_KEY is not set: it is the key that this command acts with")
        raise typer.Exit(EXIT_CANNOT)
    try:
        for line in run(asking(settings, work)):
            say(line)
    except PolicyRefused as error:
        complain(str(error))
        raise typer.Exit(EXIT_NOT_OK) from error
    except (PolicyUnanswered, OSError) as error:
        cannot(str(error), error)


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


def print_schema() -> None:
    """Print the JSON Schema of a document (draft 2020-12)."""
    from amana.domain.policy_schema import policy_schema

    say(policy_schema().rstrip())
