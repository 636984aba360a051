"""What an import has done so far: the state file, and beside it a line for each line that was not posted.

Both go on together. The state says how long the other file was when it was written; a run that goes on cuts what came
after, so that each refusal is reported once. The state is replaced as a whole: a kill leaves the old one or the new.
"""

import fcntl
import os
from pathlib import Path
from typing import Any, BinaryIO, Self

import msgspec

from amana.operate.imports.lines import CannotImport, Mark
from amana.operate.imports.lists import End, Fault, Item, reason_of
from amana.tape.client import Moved

REFUSED = "refused"
REPLAYED = "replayed"
MALFORMED = "malformed"


class State(msgspec.Struct, kw_only=True):
    """How far an import is. `counts` are lines by what came of them, `refused` those refused by reason."""

    import_id: str
    url: str
    mark: Mark = Mark(0, 0, "")
    broken_at: int | None = None
    refused_bytes: int = 0
    counts: dict[str, int] = {}
    refused: dict[str, int] = {}
    is_done: bool = False

    @property
    def is_all_well(self) -> bool:
        """Whether every line was posted, now or before."""
        return not self.refused and not self.counts.get(MALFORMED)


def read_state(file: Path) -> State | None:
    """The state of an import that was begun. `CannotImport` where the file is something else."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=State)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise CannotImport(f"{file} is not the state of an import: {error}") from error


class Journal:
    """Takes down what came of each list, in the order of the file. Without `state_file` nothing is kept to go on from.

    One import at a time: `CannotImport` where another one has the file of refused lines open.
    """

    def __init__(self, state: State, state_file: Path | None, refused_file: Path) -> None:
        self.state = state
        self._state_file = state_file
        try:
            self._refused: BinaryIO = refused_file.open("ab")
            fcntl.flock(self._refused, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CannotImport(f"another import writes {refused_file}") from error
        except OSError as error:
            raise CannotImport(f"{refused_file} can't be written: {error.strerror}") from error
        self._refused.truncate(state.refused_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._refused.close()

    def take(self, items: list[Item], results: list[Moved], faults: list[Fault], end: End) -> None:
        """One list is done: its results, and the lines that were not tried."""
        lines = [_untried_line(fault) for fault in faults]
        for item, moved in zip(items, results, strict=True):
            if moved.reason is None:
                self._count(REPLAYED if moved.replayed else moved.status)
            else:
                self._count_refused(moved.reason)
                lines.append(_refused_line(item, moved))
        for fault in faults:
            if fault.reason:
                self._count_refused(fault.reason)
            else:
                self._count(MALFORMED)
        lines.sort(key=lambda line: int(line["line"]))
        self._refused.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        self.state.mark, self.state.broken_at = end

    def save(self) -> None:
        """Makes all that was taken down so far survive a kill and a loss of power."""
        if self._state_file is None:
            self._refused.flush()
            return
        self._refused.flush()
        os.fsync(self._refused.fileno())
        self.state.refused_bytes = self._refused.tell()
        half = self._state_file.with_name(self._state_file.name + ".new")
        with half.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(self.state), indent=2))
            file.flush()
            os.fsync(file.fileno())
        half.replace(self._state_file)

    def _count(self, outcome: str) -> None:
        self.state.counts[outcome] = self.state.counts.get(outcome, 0) + 1

    def _count_refused(self, reason: str) -> None:
        self.state.refused[reason] = self.state.refused.get(reason, 0) + 1


def _refused_line(item: Item, moved: Moved) -> dict[str, Any]:
    return {"line": item.line, "id": item.id, "sent": True, "reason": moved.reason, "figures": moved.figures}


def _untried_line(fault: Fault) -> dict[str, Any]:
    figures = {"line": fault.because_of} if fault.because_of is not None else {}
    found = {"line": fault.line, "id": fault.id, "sent": False, "reason": reason_of(fault), "figures": figures}
    return found | {"errors": fault.errors}
