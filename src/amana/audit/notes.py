"""Files of signed notes: each note is a block that an empty line ends (a note itself has one inside, between text and
signatures)."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from amana.audit.findings import CannotVerify

NOTES_KEPT_MAX = 1_000_000
"""Notes read from files that somebody kept: they are sorted in memory."""


def read_notes(file: Path) -> Iterator[str]:
    """The whole notes in a file, in its order. Raises `OSError` when it can't be read."""
    with file.open(encoding="utf-8", errors="replace", newline="\n") as stream:
        yield from notes_in(line.removesuffix("\n") for line in stream)


def notes_in(lines: Iterable[str]) -> Iterator[str]:
    """Notes from lines: text, an empty line, signatures, an empty line. What is not whole is left out."""
    block: list[str] = []
    signed = False
    for line in lines:
        if line:
            block.append(line)
            signed = line.startswith("— ")
        elif signed:
            yield "\n".join(block) + "\n"
            block, signed = [], False
        elif block:
            block.append("")


def kept_notes(files: Iterable[Path]) -> list[str]:
    """Notes of any streams from files that somebody kept, in order of the size that they claim.

    A file may also be one note alone. Raises `OSError` when one can't be read and `CannotVerify` for one without notes.
    """
    kept: list[str] = []
    for file in files:
        lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
        found = list(notes_in([*lines, ""]))
        if not found:
            raise CannotVerify(f"{file} holds no checkpoint")
        kept += found
        if len(kept) > NOTES_KEPT_MAX:
            raise CannotVerify(f"more than {NOTES_KEPT_MAX} checkpoints were given")
    return sorted(kept, key=claimed_size)


def notes_of(notes: Iterable[str], origin: str) -> list[str]:
    """Those that say that they are of one log."""
    return [note for note in notes if note.startswith(f"{origin}\n")]


def claimed_size(note: str) -> int:
    """The size in a note's second line, before the note is opened; 0 for what is no size."""
    _, size, *_ = f"{note}\n\n".split("\n")
    return int(size) if size.isascii() and size.isdecimal() and len(size) < 20 else 0
