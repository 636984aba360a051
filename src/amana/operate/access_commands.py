"""The command groups `amana tenant` and `amana key`. Light to import: the work is imported when it is asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from amana.infra.settings import Settings
from amana.operate.terminal import DATA_DIR, DataDir, run_lines

Tenant = Annotated[str, typer.Argument(metavar="TENANT", help="A lender: its slug or its number.")]
KeyNamed = Annotated[str, typer.Argument(metavar="KEY", help="Its id (the part after `amana_`), or the whole key.")]
Rate = Annotated[
    int | None, typer.Option(help="Requests a second; 0 for no quota. Else the services' default holds.", min=0)
]
SharedRate = Annotated[
    int | None, typer.Option(help="Requests a second of all its keys together; else no bound.", min=0)
]
Burst = Annotated[int | None, typer.Option(help="Requests at once; else a second's worth.", min=0)]

Running = Callable[[Path], Settings]
"""The settings of the stack that runs on a data directory."""


def tenants(running: Running) -> typer.Typer:
    """The group `amana tenant`."""
    tenant = typer.Typer(no_args_is_help=True, help="Lenders.")

    @tenant.command("create")
    def create(
        slug: Annotated[str, typer.Argument(help="Its name in commands: 2 to 63 of a-z, 0-9 and -, a letter first.")],
        name: Annotated[str, typer.Argument(help="Its name for people.")],
        rate: SharedRate = None,
        burst: Burst = None,
        data_dir: DataDir = DATA_DIR,
    ) -> None:
        """Make a lender; an existing one is left as it is."""
        from amana.operate import access

        run_lines(access.make_tenant(running(data_dir).owner_database_url, slug, name, rate, burst))

    @tenant.command("list")
    def list_(data_dir: DataDir = DATA_DIR) -> None:
        """List the lenders: number, slug, name, and the quota of all keys, where there is one."""
        from amana.operate import access

        run_lines(access.tenants(running(data_dir).owner_database_url))

    @tenant.command("quota")
    def quota(tenant: Tenant, rate: SharedRate = None, burst: Burst = None, data_dir: DataDir = DATA_DIR) -> None:
        """Give a lender a quota that all its keys share, or none. It holds everywhere within 5 s."""
        from amana.operate import access

        run_lines(access.give_tenant_quota(running(data_dir).owner_database_url, tenant, rate, burst))

    return tenant


def keys(running: Running) -> typer.Typer:
    """The group `amana key`."""
    key = typer.Typer(no_args_is_help=True, help="API keys.")

    @key.command("create")
    def create(
        tenant: Tenant,
        scope: Annotated[list[str], typer.Option(help="What it may do, such as loans:read; repeat it.")],
        rate: Rate = None,
        burst: Burst = None,
        data_dir: DataDir = DATA_DIR,
    ) -> None:
        """Make an API key. Its text is shown now and never again."""
        from amana.operate import access

        run_lines(access.make_key(running(data_dir).owner_database_url, tenant, scope, rate, burst))

    @key.command("list")
    def list_(tenant: Tenant, data_dir: DataDir = DATA_DIR) -> None:
        """List a lender's API keys: id, when made and revoked, quota, scopes. Secrets are kept nowhere."""
        from amana.operate import access

        run_lines(access.keys(running(data_dir).owner_database_url, tenant))

    @key.command("quota")
    def quota(key: KeyNamed, rate: Rate = None, burst: Burst = None, data_dir: DataDir = DATA_DIR) -> None:
        """Give an API key a quota of its own, or the default again. It holds everywhere within 5 s."""
        from amana.operate import access

        run_lines(access.give_quota(running(data_dir).owner_database_url, key, rate, burst))

    @key.command("revoke")
    def revoke(key: KeyNamed, data_dir: DataDir = DATA_DIR) -> None:
        """Revoke an API key. It works everywhere within 5 s."""
        from amana.operate import access

        run_lines(access.revoke(running(data_dir).owner_database_url, key))

    return key
