"""What an import was asked for, and where it stands: the file, its name for ids, and the state of an earlier run."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from amana.operate.imports.journal import State, read_state
from amana.operate.imports.lines import FORMATS, CannotImport, Source, fingerprint, read_lines
from amana.operate.imports.lists import TransferList, lists_of

STDIN = "-"


class Options(NamedTuple):
    """What was asked for. `file` is `-` for stdin; `format` and `import_id` are empty where they were not given."""

    file: str
    url: str
    key: str
    format: str = ""
    import_id: str = ""
    state: Path | None = None
    in_flight: int = 1
    strict: bool = False


def begun(options: Options) -> tuple[State, Path | None]:
    """The state to go on from, new or of an earlier run, and where it is kept."""
    new = State(import_id=import_id(options), url=options.url)
    if options.file == STDIN:
        return new, None
    file = options.state or Path(f"{options.file}.import.json")
    found = read_state(file)
    if found is None:
        return new, file
    if found.import_id != new.import_id:
        raise CannotImport(
            f"{options.file} was changed, or given another --import-id, since {file} was begun: with new ids what was "
            "posted would be posted again. Correct lines in a file of their own"
        )
    if found.url != new.url:
        raise CannotImport(f"{file} was begun at {found.url}: go on there, or give another --state")
    return found, file


def import_id(options: Options) -> str:
    """What ids are derived from: the given name, else what the file holds."""
    if options.import_id:
        return options.import_id
    if options.file == STDIN:
        raise CannotImport("stdin needs an --import-id, so that sending it again has no second effect")
    _require_file(options.file)
    return fingerprint(Path(options.file))


def _require_file(file: str) -> None:
    if not Path(file).is_file():
        raise CannotImport(f"there is no file {file}")


def opened(options: Options) -> BinaryIO:
    """The file, or stdin, to be read from its beginning."""
    if options.file == STDIN:
        return sys.stdin.buffer
    _require_file(options.file)
    return Path(options.file).open("rb")


def open_lists(options: Options, source: Source, state: State) -> Iterator[TransferList]:
    """The lists of the file, from where `state` stands."""
    format_ = options.format or FORMATS.get(Path(options.file).suffix.lower(), "")
    if format_ not in FORMATS.values():
        raise CannotImport(f"say what {options.file} is with --format: {' or '.join(sorted(set(FORMATS.values())))}")
    lines = read_lines(source, format_, options.file, state.mark if state.mark.bytes else None)
    return lists_of(lines, source, state.import_id, state.broken_at)


def beside(options: Options, suffix: str) -> Path:
    """A file beside the input."""
    return Path(f"{'stdin' if options.file == STDIN else options.file}.{suffix}")
