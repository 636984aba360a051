"""What a killed run may have left running, recognised without doubt before anything is done to it."""

import asyncio
import os
import subprocess
import time
from pathlib import Path

POLL_S = 0.05
PS_TIMEOUT_S = 5


def started_at(pid: int) -> str:
    """When the kernel says that this process started; empty when there is none. With the id, its identity."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return fields[19] if fields[0] != "Z" else ""


def command_of(pid: int) -> list[str]:
    """The process's command line as a list; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return []
    except OSError:
        return []
    ps = ["ps", "-p", str(pid), "-o", "command="]
    return subprocess.run(ps, capture_output=True, text=True, timeout=PS_TIMEOUT_S, check=False).stdout.split()


def working_in(folder: Path) -> list[int]:
    """Processes whose working directory is `folder`, as far as we may see (Linux)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(entry / "cwd") == str(folder):  # noqa: PTH115  a plain string comparison, per process
                found.append(int(entry.name))
        except OSError:
            continue
    return found


async def until_gone(pids: list[int], timeout_s: float) -> bool:
    """Wait until none of these runs; False when the time is over first."""
    deadline = time.monotonic() + timeout_s
    while any(started_at(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True
