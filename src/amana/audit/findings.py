"""What a verification finds: the first fault of each stream, and how much of it holds. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from amana.audit.dropped import Dropped

AT_MAX = 253_402_300_799
"""The last second that has a date."""
Progress = Callable[[str, int, int], None]
"""Told (stream, leaves verified, leaves in all) after every checkpoint."""


class Kind(StrEnum):
    """What is wrong."""

    ALTERED = "altered"
    REORDERED = "reordered"
    MISSING = "missing"
    TRUNCATED = "truncated"
    MALFORMED = "malformed"
    COLUMNS = "columns"
    CHECKPOINT = "checkpoint"
    NODE = "node"
    COSIGNATURE = "cosignature"


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing wrong in a stream: at which leaf, and what in words."""

    stream: str
    position: int
    kind: Kind
    detail: str


class Bad(Exception):
    """Ends the check of a stream at its first fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


class CannotVerify(ValueError):
    """What was given can't be used: no export, no key, a file without checkpoints. The message names it."""


@dataclass(slots=True)
class Scan:
    """What was read of a run of leaves: their hashes up to the first gap, and the first leaf that is odd in itself."""

    hashes: list[bytes]
    odd: Fault | None = None
    gap: Fault | None = None

    def add(self, other: "Scan") -> None:
        """Takes in the run that follows."""
        self.hashes += other.hashes
        self.odd = self.odd or other.odd
        self.gap = self.gap or other.gap


@dataclass(frozen=True, slots=True)
class Witnessed:
    """A witness vouches for so many leaves: at `at`, in POSIX seconds, they were the most that it had seen."""

    witness: str
    size: int
    at: int

    def told(self) -> str:
        """In words."""
        at = datetime.fromtimestamp(min(self.at, AT_MAX), UTC)
        return f"{self.witness} vouches for {self.size:,} leaves at {at:%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True, slots=True)
class StreamReport:
    """What was found of a stream: leaves and checkpoints that hold, how many are sealed, the root over all, hex, and
    that over the sealed ones. `older` counts the checkpoints kept elsewhere that it was held to.
    """

    stream: str
    leaves: int
    sealed: int
    checkpoints: int
    older: int
    root: str
    sealed_root: str
    fault: Fault | None
    dropped: Dropped | None = None
    """What retention dropped of it, of which the hashes are checked."""
    witnessed: tuple[Witnessed, ...] = ()
    """What the witnesses that were asked for vouch for."""

    def dropped_told(self) -> str:
        """What was dropped, in words; nothing where nothing was."""
        if self.dropped is None:
            return ""
        holds = self.fault is None or self.fault.position >= self.dropped.below
        return self.dropped.told() + (", hashes verify" if holds else "")


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was found of the whole log."""

    streams: tuple[StreamReport, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.first_bad is None

    @property
    def first_bad(self) -> Fault | None:
        """The first stream's first fault."""
        return next((report.fault for report in self.streams if report.fault), None)

    @property
    def leaves(self) -> int:
        """Leaves that hold, in all streams."""
        return sum(report.leaves for report in self.streams)

    def told(self) -> str:
        """The report in words, a line for each stream and for each fault."""
        lines = [
            f"{report.stream}: {report.leaves:,} leaves hold, {report.sealed:,} of them sealed by"
            f" {report.checkpoints:,} checkpoints, held to {report.older:,} kept elsewhere; root {report.root}"
            for report in self.streams
        ]
        lines += [f"{report.stream}: {report.dropped_told()}" for report in self.streams if report.dropped]
        lines += [f"{report.stream}: {each.told()}" for report in self.streams for each in report.witnessed]
        faults = [report.fault for report in self.streams if report.fault]
        lines += [f"BAD: {fault.stream}, leaf {fault.position}, {fault.kind}: {fault.detail}" for fault in faults]
        return "\n".join(lines if faults else [*lines, "Nothing is wrong."])
