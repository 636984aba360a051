"""What every random history has: an author, the model, and a record that a person can read when something differs."""

from collections.abc import Callable, Sequence
from datetime import datetime
from random import Random
from typing import Any, TypeVar

from hypothesis import Phase, Verbosity, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine
from tests.property.author import Author
from tests.property.model import Model, Request, Said

from amana.domain.book import Answer

Step = TypeVar("Step")
SEEDS = st.integers(0, 2**64 - 1)
QUIETLY = settings(
    # A history is shortened here, by leaving out steps, and told in words.
    phases=(Phase.generate,),
    verbosity=Verbosity.quiet,
    print_blob=False,
    report_multiple_bugs=False,
)


class History(RuleBasedStateMachine):
    """A machine whose steps send what the author writes; subclasses say to whom."""

    def __init__(self, prefix: int, shards: int, now: datetime) -> None:
        super().__init__()
        self.author = Author(prefix)
        self.model = Model(shards, now)
        self.random = Random(0)
        self.record: list[str | tuple[str, Request, Said]] = []

    def remember(self, group: Sequence[Request], said: Sequence[Said]) -> None:
        """Writes down what was sent and what the model says of it."""
        for request, answer in zip(group, said, strict=True):
            if answer.reason and not answer.replayed:
                self.author.refused.add(request["id"])
            link = "  " if request is group[-1] else " +"
            self.record.append((link, request, answer))

    def check(self, what: str, expected: Any, found: Any) -> None:
        """Fails with the whole history unless both are equal."""
        if expected != found:
            if isinstance(expected, dict) and isinstance(found, dict):
                differing = [n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n)]
                expected, found = ({name: both.get(name) for name in differing} for both in (expected, found))
            told = "\n".join([*map(self._told, self.record), f"{what}:", f"  model   {expected}", f"  service {found}"])
            raise AssertionError(f"the history up to where they part:\n{told}")

    def _told(self, line: str | tuple[str, Request, Said]) -> str:
        if isinstance(line, str):
            return line
        link, request, answer = line
        return f"{link} {self.author.told(request)}  =>  {self.author.told_answer(answer)}"


def shortest(steps: Sequence[Step], play: Callable[[Sequence[Step]], None]) -> Exception | None:
    """The failure of the shortest history that still fails, found by leaving out runs of steps; None if all passes."""
    failure = _failure(steps, play)
    length = len(steps) // 2
    while failure is not None and length:
        at = 0
        while at < len(steps):
            fewer = [*steps[:at], *steps[at + length :]]
            if (other := _failure(fewer, play)) is not None:
                steps, failure = fewer, other
            else:
                at += length
        length //= 2
    return failure


def _failure(steps: Sequence[Step], play: Callable[[Sequence[Step]], None]) -> Exception | None:
    try:
        play(steps)
    except Exception as failure:
        return failure
    return None


def heard(answer: Answer) -> Said:
    """A service's answer as the model spells it."""
    return Said(answer.reason, answer.result, answer.replayed)
