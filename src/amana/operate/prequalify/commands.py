"""The command `amana eligibility prequalify`. Light to import: no polars until it is asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from amana.infra.settings import Settings
from amana.operate.terminal import DATA_DIR, DataDir, cannot, console, finish, report_place, run

WARM_DEFAULT = 200
WARM_MAX = 20_000

Tenant = Annotated[str, typer.Option(help="A lender: its slug or its number.")]
Product = Annotated[str, typer.Option(help="Whose live policy decides: nano, airtime, ...")]
Out = Annotated[Path | None, typer.Option(help="FILE.csv, .jsonl or .parquet; else PRODUCT.offers.csv.")]
Network = Annotated[str | None, typer.Option(help="Which network, where the policy lists any.")]
Limit = Annotated[int | None, typer.Option(help="At most so many customers, the first by id.", min=1)]
Warm = Annotated[bool, typer.Option("--warm", help="Then ask about who is approved, with AMANA_API_KEY.")]
WarmPerSecond = Annotated[int, typer.Option(help="Checks a second of --warm.", min=1, max=WARM_MAX)]
Report = Annotated[Path | None, typer.Option("--report", callback=report_place, help="Write the result as JSON too.")]


def command(running: Callable[[Path], Settings]) -> Callable[..., None]:
    """The command; `running` gives the settings of the stack that runs on a data directory, or the AMANA_* ones."""

    def prequalify(
        tenant: Tenant,
        product: Product,
        out: Out = None,
        network: Network = None,
        limit: Limit = None,
        warm: Warm = False,
        warm_per_second: WarmPerSecond = WARM_DEFAULT,
        report: Report = None,
        data_dir: DataDir = DATA_DIR,
    ) -> None:
        """Decide for every customer of a lender, and write what each could be offered. Nothing can be booked from it.

        Exit code 0: the file is whole; 1: it is, but some checks of --warm were refused; 2: it could not be made.
        """
        from amana.infra.http import UpstreamUnavailable
        from amana.operate.prequalify.options import CannotPrequalify, Options
        from amana.operate.prequalify.run import run_prequalify

        place = out or Path(f"{product}.offers.csv")
        options = Options(tenant, product, place, network, limit, warm_per_second if warm else 0)
        try:
            finish(run(run_prequalify(console(), running(data_dir), options)), report)
        except UpstreamUnavailable as error:
            cannot(f"the ledger can't be asked how customers stand: {error}; nothing was written", error)
        except (CannotPrequalify, OSError) as error:
            cannot(str(error), error)

    return prequalify
