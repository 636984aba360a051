"""Programs of others that a bench runs: they die with us, and are killed when late."""

import asyncio
import os
import sys
from collections.abc import Mapping

from amana.bench.connection import LoadFailed
from amana.infra.embedded.process import LEASH

SIGKILL = 9


def leashed(*command: str) -> list[str]:
    """The command, killed when this process dies."""
    return [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), str(SIGKILL), "-1", "-1", *command]


async def run_program(name: str, *command: str, limit_s: float, environ: Mapping[str, str] | None = None) -> str:
    """What the program says on either output. Raises `LoadFailed` when it fails or takes longer than `limit_s`."""
    process = await asyncio.create_subprocess_exec(
        *leashed(*command),
        env={"LC_ALL": "C", "PATH": os.defpath, **(environ or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C in the terminal is ours to handle
    )
    try:
        async with asyncio.timeout(limit_s):
            said = (await process.communicate())[0].decode("utf-8", "replace")
    except TimeoutError as error:
        raise LoadFailed(f"{name} did not end within {limit_s:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise LoadFailed(f"{name} failed: {said[-200:]}")
    return said
