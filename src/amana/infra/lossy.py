"""Where log lines go: past any buffer, and nowhere at all rather than in anybody's way."""

from typing import BinaryIO

from prometheus_client import Counter

LINES_DROPPED = Counter("amana_log_lines_dropped_total", "Log lines that could not be written.")


class Lossy:
    """Writes whole lines to `file` past its buffer; one that can't be written is dropped and counted.

    A buffer would keep what failed, and fail again with every later line and at exit.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._raw = getattr(file, "raw", file)
        self._torn = False

    def write(self, line: bytes) -> int:
        """Writes `line`, which ends in a newline. Never raises; gives its length, as files do."""
        rest = memoryview(b"\n" + line if self._torn else line)
        try:
            while rest:
                written = self._raw.write(rest)
                if written is None:
                    raise BlockingIOError
                self._torn = True
                rest = rest[written:]
            self._torn = False
        except (OSError, ValueError):  # ValueError: the file is closed
            LINES_DROPPED.inc()
        return len(line)

    def flush(self) -> None:
        """Nothing waits here."""
