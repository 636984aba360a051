"""The command line in this process, where one of its own would prove nothing more and cost a second."""

import asyncio
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path

from typer.testing import CliRunner, Result

from amana.cli import app


async def command(*words: object, environ: Mapping[str, str], folder: Path) -> Result:
    """What came of `amana` with these words, run in `folder`; a bug in it is raised.

    In a thread, because it has an event loop of its own.
    """
    with chdir(folder):
        return await asyncio.to_thread(CliRunner().invoke, app, [*map(str, words)], env=environ, catch_exceptions=False)
